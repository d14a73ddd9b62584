"""Weight files: the files of ImageNet weights that `keras.applications` downloads.

Owns, per network, the name that Keras keeps a file under, its address and its checksum,
so that a machine without a network can be given what it needs. Nothing is downloaded or
read here. This module imports no framework.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_SERVER = "https://storage.googleapis.com/"
_FOLDER = "tensorflow/keras-applications/"
_KERNELS = "_weights_tf_dim_ordering_tf_kernels"

_SIZES_PIXELS: Mapping[str, tuple[int, ...]] = {
    "mobilenet": (128, 160, 192, 224),
    "mobilenet_v2": (96, 128, 160, 192, 224),
}
"""Families with weights of their own for square images of several sizes.

Any other image gets the weights of 224 pixels.
"""


@dataclass(frozen=True)
class WeightFile:
    """A file of ImageNet weights.

    Attributes:
        name: of the file in the folder that Keras keeps weights in.
        url: the address that Keras downloads it from.
        checksum: md5 (32 hex digits) or sha256 (64) that Keras checks, None where it
            checks none.
    """

    name: str
    url: str
    checksum: str | None

    @property
    def algorithm(self) -> str | None:
        """Return the name of the checksum's algorithm, as `hashlib` has it.

        Example:
            >>> weight_file("vgg16").algorithm, weight_file("convnext_tiny").algorithm
            ('md5', 'sha256')
        """
        if self.checksum is None:
            return None
        return "md5" if len(self.checksum) == 32 else "sha256"


def _pair(
    folder: str,
    stem: str,
    checksums: tuple[str, str] | None,
    *,
    ending: str = "_notop",
    served: str | None = None,
) -> tuple[WeightFile, WeightFile]:
    """Return the files without and with top."""
    place = (
        f"{_SERVER}{_FOLDER}{folder}/" if folder else f"{_SERVER}keras-applications/"
    )
    remote = served or stem
    # NASNet's files have other names on the server.
    remote_ending = ending.replace("_", "-") if served else ending
    without, whole = checksums or (None, None)
    return (
        WeightFile(f"{stem}{ending}.h5", f"{place}{remote}{remote_ending}.h5", without),
        WeightFile(f"{stem}.h5", f"{place}{remote}.h5", whole),
    )


WEIGHT_FILES: Mapping[str, tuple[WeightFile, WeightFile]] = MappingProxyType(
    {
        "efficientnet_b0": _pair(
            "",
            "efficientnetb0",
            ("50bc09e76180e00e4465e1a485ddc09d", "902e53a9f72be733fc0bcb005b3ebbac"),
        ),
        "efficientnet_b1": _pair(
            "",
            "efficientnetb1",
            ("74c4e6b3e1f6a1eea24c589628592432", "1d254153d4ab51201f1646940f018540"),
        ),
        "efficientnet_b2": _pair(
            "",
            "efficientnetb2",
            ("111f8e2ac8aa800a7a99e3239f7bfb39", "b15cce36ff4dcbd00b6dd88e7857a6ad"),
        ),
        "efficientnet_b3": _pair(
            "",
            "efficientnetb3",
            ("af6d107764bb5b1abb91932881670226", "ffd1fdc53d0ce67064dc6a9c7960ede0"),
        ),
        "efficientnet_b4": _pair(
            "",
            "efficientnetb4",
            ("ebc24e6d6c33eaebbd558eafbeedf1ba", "18c95ad55216b8f92d7e70b3a046e2fc"),
        ),
        "efficientnet_b5": _pair(
            "",
            "efficientnetb5",
            ("38879255a25d3c92d5e44e04ae6cec6f", "ace28f2a6363774853a83a0b21b9421a"),
        ),
        "efficientnet_b6": _pair(
            "",
            "efficientnetb6",
            ("9ecce42647a20130c1f39a5d4cb75743", "165f6e37dce68623721b423839de8be5"),
        ),
        "efficientnet_b7": _pair(
            "",
            "efficientnetb7",
            ("cbcfe4450ddf6f3ad90b1b398090fe4a", "8c03f828fec3ef71311cd463b6759d99"),
        ),
        "efficientnet_v2_b0": _pair(
            "efficientnet_v2",
            "efficientnetv2-b0",
            ("893217f2bb855e2983157299931e43ff", "21ecbf6da12460d5c40bb2f29ceb2188"),
        ),
        "efficientnet_v2_b1": _pair(
            "efficientnet_v2",
            "efficientnetv2-b1",
            ("0e80663031ca32d657f9caa404b6ec37", "069f0534ff22adf035c89e2d9547a9dc"),
        ),
        "efficientnet_v2_b2": _pair(
            "efficientnet_v2",
            "efficientnetv2-b2",
            ("1dfe2e7a5d45b6632553a8961ea609eb", "424e49f28180edbde1e94797771950a7"),
        ),
        "efficientnet_v2_b3": _pair(
            "efficientnet_v2",
            "efficientnetv2-b3",
            ("f6abf7b5849ac99a89b50dd3fd532856", "1f1fc43bd98a6e4fd8fdfd551e02c7a0"),
        ),
        "efficientnet_v2_s": _pair(
            "efficientnet_v2",
            "efficientnetv2-s",
            ("af0682fb74e8c54910f2d4393339c070", "e1d88a8495beba45748fedd0cecbe016"),
        ),
        "efficientnet_v2_m": _pair(
            "efficientnet_v2",
            "efficientnetv2-m",
            ("1b8dc055df72dde80d614482840fe342", "a3bf6aa3276309f4fc6a34aa114c95cd"),
        ),
        "efficientnet_v2_l": _pair(
            "efficientnet_v2",
            "efficientnetv2-l",
            ("b0b66b5c863aef5b46e8608fe1711615", "27e6d408b53c7ebc868fefa357689935"),
        ),
        "resnet50": _pair(
            "resnet",
            "resnet50" + _KERNELS,
            ("4d473c1dd8becc155b73f8504c6f6626", "2cb95161c43110f7111970584f804107"),
        ),
        "resnet101": _pair(
            "resnet",
            "resnet101" + _KERNELS,
            ("88cf7a10940856eca736dc7b7e228a21", "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
        ),
        "resnet152": _pair(
            "resnet",
            "resnet152" + _KERNELS,
            ("ee4c566cf9a93f14d82f913c2dc6dd0c", "100835be76be38e30d865e96f2aaae62"),
        ),
        "resnet50_v2": _pair(
            "resnet",
            "resnet50v2" + _KERNELS,
            ("fac2f116257151a9d068a22e544a4917", "3ef43a0b657b3be2300d5770ece849e0"),
        ),
        "resnet101_v2": _pair(
            "resnet",
            "resnet101v2" + _KERNELS,
            ("c0ed64b8031c3730f411d2eb4eea35b5", "6343647c601c52e1368623803854d971"),
        ),
        "resnet152_v2": _pair(
            "resnet",
            "resnet152v2" + _KERNELS,
            ("ed17cf2e0169df9d443503ef94b23b33", "a49b44d1979771252814e80f8ec446f9"),
        ),
        "vgg16": _pair(
            "vgg16",
            "vgg16" + _KERNELS,
            ("6d6bbae143d832006294945121d1f1fc", "64373286793e3c8b2b4e3219cbf3544b"),
        ),
        "vgg19": _pair(
            "vgg19",
            "vgg19" + _KERNELS,
            ("253f8cb515780f3b799900260a226db6", "cbe5617147190e668d6c5d5026f83318"),
        ),
        "xception": _pair(
            "xception",
            "xception" + _KERNELS,
            ("b0042744bf5b25fce3cb969f33bebb97", "0a58e3b7378bc2990ea3b43d5981f1f6"),
        ),
        "inception_v3": _pair(
            "inception_v3",
            "inception_v3" + _KERNELS,
            ("bcbd6486424b2319ff4ef7d526e38f63", "9a0d58056eeedaa3f26cb7ebd46da564"),
        ),
        "inception_resnet_v2": _pair(
            "inception_resnet_v2",
            "inception_resnet_v2" + _KERNELS,
            ("d19885ff4a710c122648d3b5c3b684e4", "e693bd0210a403b3192acc6073ad2e96"),
        ),
        "mobilenet": _pair("mobilenet", "mobilenet_1_0_224_tf", None, ending="_no_top"),
        "mobilenet_v2": _pair(
            "mobilenet_v2",
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224",
            None,
            ending="_no_top",
        ),
        "mobilenet_v2_035": _pair(
            "mobilenet_v2",
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224",
            None,
            ending="_no_top",
        ),
        "mobilenet_v3_small": _pair(
            "mobilenet_v3",
            "weights_mobilenet_v3_small_224_1.0_float",
            ("d3e8ec802a04aa4fc771ee12a9a9b836", "8768d4c2e7dee89b9d02b2d03d65d862"),
            ending="_no_top_v2",
        ),
        "mobilenet_v3_large": _pair(
            "mobilenet_v3",
            "weights_mobilenet_v3_large_224_1.0_float",
            ("07fb09a5933dd0c8eaafa16978110389", "59e551e166be033d707958cf9e29a6a7"),
            ending="_no_top_v2",
        ),
        "densenet121": _pair(
            "densenet",
            "densenet121" + _KERNELS,
            ("30ee3e1110167f948a6b9946edeeb738", "9d60b8095a5708f2dcce2bca79d332c7"),
        ),
        "densenet169": _pair(
            "densenet",
            "densenet169" + _KERNELS,
            ("b8c4d4c20dd625c148057b9ff1c1176b", "d699b8f76981ab1b30698df4c175e90b"),
        ),
        "densenet201": _pair(
            "densenet",
            "densenet201" + _KERNELS,
            ("c13680b51ded0fb44dff2d8f86ac8bb1", "1ceb130c1ea1b78c3bf6114dbdfd8807"),
        ),
        "nasnet_mobile": _pair(
            "nasnet",
            "nasnet_mobile",
            ("1ed92395b5b598bdda52abe5c0dbfd63", "020fb642bf7360b370c678b08e0adf61"),
            ending="_no_top",
            served="NASNet-mobile",
        ),
        "nasnet_large": _pair(
            "nasnet",
            "nasnet_large",
            ("d81d89dc07e6e56530c4e77faddd61b5", "11577c9a518f0070763c2b964a382f17"),
            ending="_no_top",
            served="NASNet-large",
        ),
        "convnext_tiny": _pair(
            "convnext",
            "convnext_tiny",
            (
                "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
                "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
            ),
        ),
        "convnext_small": _pair(
            "convnext",
            "convnext_small",
            (
                "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
                "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
            ),
        ),
        "convnext_base": _pair(
            "convnext",
            "convnext_base",
            (
                "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
                "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
            ),
        ),
        "convnext_large": _pair(
            "convnext",
            "convnext_large",
            (
                "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
                "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
            ),
        ),
        "convnext_xlarge": _pair(
            "convnext",
            "convnext_xlarge",
            (
                "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
                "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
            ),
        ),
    }
)
"""The files without and with top, for 224 pixels, by name of the catalogue.

Source: the modules of `keras.applications` in Keras 3.12 to 3.15, which agree.
"""


def weight_file(
    name: str, *, input_shape: tuple[int, int, int] = (224, 224, 3), top: bool = False
) -> WeightFile:
    """Return the file that `weights="imagenet"` stands for.

    Args:
        name: one of `WEIGHT_FILES`.
        input_shape: (height, width, channels) of the images; only MobileNet and
            MobileNetV2 have other files for other sizes.
        top: whether it is that of the classifier of 1,000 classes.

    Example:
        >>> weight_file("nasnet_mobile").name
        'nasnet_mobile_no_top.h5'
        >>> weight_file("mobilenet_v2", input_shape=(96, 96, 3)).name
        'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5'
    """
    file = WEIGHT_FILES[name][int(top)]
    sizes = _SIZES_PIXELS.get(name.removesuffix("_035"), ())
    height, width, _ = input_shape
    if height != width or height not in sizes:
        return file
    size = f"_{height}"
    return WeightFile(
        file.name.replace("_224", size), file.url.replace("_224", size), file.checksum
    )


def weights_kept_by_keras() -> Path:
    """Return the folder in which Keras keeps the weights that it downloads."""
    # By Keras's own rule, for which it has no public name.
    home = os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()
    return Path(home) / "models"
