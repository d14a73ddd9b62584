"""Catalogue: what each backbone is, known without loading a framework.

Owns, per name, the place of its constructor, the input contract its weights were
trained under, the smallest image it accepts and the manifest of its counts. `loading`
builds the networks. This module imports neither Keras nor TensorFlow, so that names are
listed and checked at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tlcore.arguments import did_you_mean
from tlcore.backbones.preset_names import is_preset


@dataclass(frozen=True)
class InputContract:
    """The range, channel order and size of images that a backbone expects.

    Attributes:
        scheme: "raw" ([0, 255] RGB; the network rescales it), "signed" ([-1, 1] RGB),
            "unit" ([0, 1] RGB), "caffe" ([0, 255] BGR minus ImageNet's mean) or
            "torch" ([0, 1] RGB minus ImageNet's mean, divided by its deviation).
        size: the height and width the weights were trained at, in pixels.
        min_size: the smallest height and width the network can be built for, in pixels.
    """

    scheme: str
    size: int
    min_size: int = 32


@dataclass(frozen=True)
class Manifest:
    """The exact counts of a backbone without its top, the same on every machine.

    Attributes:
        params: numbers in all weights.
        trainable_params: numbers in the weights that training may change.
        tensors: number of weight tensors.
        trainable_tensors: number of weight tensors that training may change.
        layers: number of layers in `Model.layers`, including the input layer. With
            EfficientNet's ImageNet weights it is one more, a second `Rescaling`.
        channels: the last dimension of the output.
    """

    params: int
    trainable_params: int
    tensors: int
    trainable_tensors: int
    layers: int
    channels: int


@dataclass(frozen=True)
class CatalogueEntry:
    """One backbone of the catalogue.

    Attributes:
        name: the name that `load_backbone` takes.
        constructor: `module:function` of the function that builds it.
        contract: its input contract.
        manifest: its counts without top, at any image size.
        arguments: further arguments of the constructor, in addition to weights and
            shape.
        pretrained: what `weights="imagenet"` means. Only `sample_net` was not trained
            on ImageNet; it has weights of its own.
    """

    name: str
    constructor: str
    contract: InputContract
    manifest: Manifest
    arguments: Mapping[str, object] = field(default_factory=dict)
    pretrained: str = "ImageNet weights of keras.applications"


def _keras(
    name: str,
    function: str,
    contract: InputContract,
    manifest: Manifest,
    **arguments: object,
) -> CatalogueEntry:
    return CatalogueEntry(
        name,
        f"keras.applications:{function}",
        contract,
        manifest,
        MappingProxyType(arguments),
    )


def _raw(size: int) -> InputContract:
    return InputContract("raw", size)


_CAFFE = InputContract("caffe", 224)
_SIGNED = InputContract("signed", 224)
_TORCH = InputContract("torch", 224)

_ENTRIES = (
    *(
        _keras(
            f"efficientnet_b{i}",
            f"EfficientNetB{i}",
            _raw(size),
            manifest,
        )
        for i, (size, manifest) in enumerate(
            (
                (224, Manifest(4_049_571, 4_007_548, 312, 211, 237, 1280)),
                (240, Manifest(6_575_239, 6_513_184, 440, 299, 339, 1280)),
                (260, Manifest(7_768_569, 7_700_994, 440, 299, 339, 1408)),
                (300, Manifest(10_783_535, 10_696_232, 497, 338, 384, 1536)),
                (380, Manifest(17_673_823, 17_548_616, 611, 416, 474, 1792)),
                (456, Manifest(28_513_527, 28_340_784, 739, 504, 576, 2048)),
                (528, Manifest(40_960_143, 40_735_704, 853, 582, 666, 2304)),
                (600, Manifest(64_097_687, 63_786_960, 1038, 709, 813, 2560)),
            )
        )
    ),
    _keras(
        "efficientnet_v2_b0",
        "EfficientNetV2B0",
        _raw(224),
        Manifest(5_919_312, 5_858_704, 359, 241, 270, 1280),
    ),
    _keras(
        "efficientnet_v2_b1",
        "EfficientNetV2B1",
        _raw(240),
        Manifest(6_931_124, 6_860_052, 441, 295, 334, 1280),
    ),
    _keras(
        "efficientnet_v2_b2",
        "EfficientNetV2B2",
        _raw(260),
        Manifest(8_769_374, 8_687_086, 460, 308, 349, 1408),
    ),
    _keras(
        "efficientnet_v2_b3",
        "EfficientNetV2B3",
        _raw(300),
        Manifest(12_930_622, 12_821_406, 536, 360, 409, 1536),
    ),
    _keras(
        "efficientnet_v2_s",
        "EfficientNetV2S",
        _raw(384),
        Manifest(20_331_360, 20_177_488, 670, 450, 513, 1280),
    ),
    _keras(
        "efficientnet_v2_m",
        "EfficientNetV2M",
        _raw(480),
        Manifest(53_150_388, 52_858_356, 961, 647, 740, 1280),
    ),
    _keras(
        "efficientnet_v2_l",
        "EfficientNetV2L",
        _raw(480),
        Manifest(117_746_848, 117_234_272, 1329, 895, 1028, 1280),
    ),
    _keras(
        "resnet50",
        "ResNet50",
        _CAFFE,
        Manifest(23_587_712, 23_534_592, 318, 212, 175, 2048),
    ),
    _keras(
        "resnet101",
        "ResNet101",
        _CAFFE,
        Manifest(42_658_176, 42_552_832, 624, 416, 345, 2048),
    ),
    _keras(
        "resnet152",
        "ResNet152",
        _CAFFE,
        Manifest(58_370_944, 58_219_520, 930, 620, 515, 2048),
    ),
    _keras(
        "resnet50_v2",
        "ResNet50V2",
        _SIGNED,
        Manifest(23_564_800, 23_519_360, 270, 172, 190, 2048),
    ),
    _keras(
        "resnet101_v2",
        "ResNet101V2",
        _SIGNED,
        Manifest(42_626_560, 42_528_896, 542, 342, 377, 2048),
    ),
    _keras(
        "resnet152_v2",
        "ResNet152V2",
        _SIGNED,
        Manifest(58_331_648, 58_187_904, 814, 512, 564, 2048),
    ),
    _keras(
        "vgg16",
        "VGG16",
        _CAFFE,
        Manifest(14_714_688, 14_714_688, 26, 26, 19, 512),
    ),
    _keras(
        "vgg19",
        "VGG19",
        _CAFFE,
        Manifest(20_024_384, 20_024_384, 32, 32, 22, 512),
    ),
    _keras(
        "xception",
        "Xception",
        InputContract("signed", 299, min_size=71),
        Manifest(20_861_480, 20_806_952, 234, 154, 132, 2048),
    ),
    _keras(
        "inception_v3",
        "InceptionV3",
        InputContract("signed", 299, min_size=75),
        Manifest(21_802_784, 21_768_352, 376, 188, 311, 2048),
    ),
    _keras(
        "inception_resnet_v2",
        "InceptionResNetV2",
        InputContract("signed", 299, min_size=75),
        Manifest(54_336_736, 54_276_192, 896, 488, 780, 1536),
    ),
    _keras(
        "mobilenet",
        "MobileNet",
        _SIGNED,
        Manifest(3_228_864, 3_206_976, 135, 81, 86, 1024),
    ),
    _keras(
        "mobilenet_v2",
        "MobileNetV2",
        _SIGNED,
        Manifest(2_257_984, 2_223_872, 260, 156, 154, 1280),
        alpha=1.0,
    ),
    _keras(
        "mobilenet_v2_035",
        "MobileNetV2",
        _SIGNED,
        Manifest(410_208, 396_128, 260, 156, 154, 1280),
        alpha=0.35,
    ),
    _keras(
        "mobilenet_v3_small",
        "MobileNetV3Small",
        _raw(224),
        Manifest(939_120, 927_008, 206, 138, 157, 576),
    ),
    _keras(
        "mobilenet_v3_large",
        "MobileNetV3Large",
        _raw(224),
        Manifest(2_996_352, 2_971_952, 262, 170, 187, 960),
    ),
    _keras(
        "densenet121",
        "DenseNet121",
        _TORCH,
        Manifest(7_037_504, 6_953_856, 604, 362, 427, 1024),
    ),
    _keras(
        "densenet169",
        "DenseNet169",
        _TORCH,
        Manifest(12_642_880, 12_484_480, 844, 506, 595, 1664),
    ),
    _keras(
        "densenet201",
        "DenseNet201",
        _TORCH,
        Manifest(18_321_984, 18_092_928, 1004, 602, 707, 1920),
    ),
    _keras(
        "nasnet_mobile",
        "NASNetMobile",
        _SIGNED,
        Manifest(4_269_716, 4_232_978, 1124, 740, 769, 1056),
    ),
    _keras(
        "nasnet_large",
        "NASNetLarge",
        InputContract("signed", 331),
        Manifest(84_916_818, 84_720_150, 1544, 1016, 1039, 4032),
    ),
    _keras(
        "convnext_tiny",
        "ConvNeXtTiny",
        _raw(224),
        Manifest(27_820_128, 27_820_128, 180, 180, 133, 768),
    ),
    _keras(
        "convnext_small",
        "ConvNeXtSmall",
        _raw(224),
        Manifest(49_454_688, 49_454_688, 342, 342, 259, 768),
    ),
    _keras(
        "convnext_base",
        "ConvNeXtBase",
        _raw(224),
        Manifest(87_566_464, 87_566_464, 342, 342, 259, 1024),
    ),
    _keras(
        "convnext_large",
        "ConvNeXtLarge",
        _raw(224),
        Manifest(196_230_336, 196_230_336, 342, 342, 259, 1536),
    ),
    _keras(
        "convnext_xlarge",
        "ConvNeXtXLarge",
        _raw(224),
        Manifest(348_147_968, 348_147_968, 342, 342, 259, 2048),
    ),
    CatalogueEntry(
        "sample_net",
        "tlcore.backbones.sample_net:build_sample_net",
        InputContract("signed", 96),
        Manifest(110_128, 108_752, 52, 32, 31, 128),
        pretrained="the package's own weights, trained on generated images",
    ),
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {entry.name: entry for entry in _ENTRIES}
)
"""Every backbone by name, in the order they are listed."""


def list_backbones() -> tuple[str, ...]:
    """Return the names that `load_backbone` and `create_model` take.

    Example:
        >>> names = tl.list_backbones()
        >>> names[0], names[-1], len(names)
        ('efficientnet_b0', 'sample_net', 42)
    """
    return tuple(CATALOGUE)


def is_hub_handle(backbone: str) -> bool:
    """Return whether a backbone is a handle of TF Hub, not a name of the catalogue.

    A name of the catalogue stays one where a folder of that name exists.

    Example:
        >>> is_hub_handle("https://tfhub.dev/google/x/1"), is_hub_handle("vgg16")
        (True, False)
    """
    # Late: it loads what downloads archives, which a list of names does not need.
    from tlcore.hub.handles import is_handle

    if backbone in CATALOGUE or is_preset(backbone):
        return False
    return is_handle(backbone)


def is_preset_handle(backbone: str) -> bool:
    """Return whether a backbone is a preset of KerasHub, not a name of the catalogue.

    Example:
        >>> is_preset_handle("kerashub:dinov2_small"), is_preset_handle("vgg16")
        (True, False)
    """
    return backbone not in CATALOGUE and is_preset(backbone)


def find_entry(name: str) -> CatalogueEntry:
    """Return the entry of a backbone.

    Raises:
        ValueError: no backbone has this name; the message lists the valid ones.

    Example:
        >>> find_entry("resnet50").contract
        InputContract(scheme='caffe', size=224, min_size=32)
    """
    if isinstance(name, str) and name in CATALOGUE:
        return CATALOGUE[name]
    raise ValueError(
        f"A backbone must be one of the catalogue: {', '.join(CATALOGUE)}. "
        f"Received: backbone={name!r}.{did_you_mean(name, CATALOGUE)}"
    )
