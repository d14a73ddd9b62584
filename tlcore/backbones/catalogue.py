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
        "resnet50",
        "ResNet50",
        _CAFFE,
        Manifest(23_587_712, 23_534_592, 318, 212, 175, 2048),
    ),
    _keras(
        "resnet50_v2",
        "ResNet50V2",
        _SIGNED,
        Manifest(23_564_800, 23_519_360, 270, 172, 190, 2048),
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
        ('efficientnet_b0', 'sample_net', 19)
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

    return backbone not in CATALOGUE and is_handle(backbone)


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
