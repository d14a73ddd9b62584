"""Measured backbones: those of the catalogue that every suite builds.

Not all of it: building the others takes a minute more, and tracing them an hour.
"""

MEASURED = (
    *(f"efficientnet_b{i}" for i in range(8)),
    "efficientnet_v2_b0",
    "resnet50",
    "resnet50_v2",
    "vgg16",
    "vgg19",
    "xception",
    "inception_v3",
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v2_035",
    "sample_net",
)
