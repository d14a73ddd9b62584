"""Loading: counts of the manifest, image shapes, and ImageNet weights."""

import math
import re

import h5py
import keras
import numpy as np
import pytest

from tlcore.backbones.catalogue import CATALOGUE
from tlcore.backbones.loading import load_backbone, load_classifier

QUICK_TO_BUILD = ("efficientnet_b0", "vgg16", "sample_net")


MATRIX = (
    "efficientnet_b4",
    "efficientnet_v2_b0",
    "resnet50_v2",
    "mobilenet_v2_035",
    "mobilenet_v3_small",
    "densenet121",
    "nasnet_mobile",
    "convnext_tiny",
)


def marked(name):
    """Return a case of the kind; building all of the others takes 70 s of CPU."""
    if name in QUICK_TO_BUILD:
        return name
    return pytest.param(
        name, marks=pytest.mark.matrix if name in MATRIX else pytest.mark.slow
    )


@pytest.mark.parametrize("name", [marked(name) for name in CATALOGUE])
def test_a_backbone_has_the_counts_of_its_manifest(name):
    network = load_backbone(name, weights=None, input_shape=(96, 96, 3))
    manifest = CATALOGUE[name].manifest
    numbers = sum(math.prod(v.shape) for v in network.trainable_variables)
    assert network.count_params() == manifest.params
    assert numbers == manifest.trainable_params
    assert len(network.weights) == manifest.tensors
    assert len(network.trainable_variables) == manifest.trainable_tensors
    assert len(network.layers) == manifest.layers
    assert network.output_shape[-1] == manifest.channels
    assert network.name == name


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_backbone_is_built_for_its_smallest_images_and_no_smaller_ones(name):
    entry = CATALOGUE[name]
    least = entry.contract.min_size
    network = load_backbone(name, weights=None, input_shape=(least, least, 3))
    features = network(np.zeros((1, least, least, 3), "float32"))
    assert min(features.shape) > 0
    assert features.shape[-1] == entry.manifest.channels
    if name != "sample_net":
        function = getattr(keras.applications, entry.constructor.partition(":")[2])
        with pytest.raises(ValueError, match=f"at least {least}"):
            function(
                include_top=False, weights=None, input_shape=(least - 1, least - 1, 3)
            )
    keras.backend.clear_session()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vgg16", (224, 224), r"must be \(height, width, 3\)"),
        ("vgg16", (0, 224, 3), r"must be \(height, width, 3\)"),
        ("vgg16", (224.0, 224, 3), r"must be \(height, width, 3\)"),
        ("vgg16", (224, 224, 1), r"image folders convert grey.*\(224, 224, 3\)"),
        ("vgg16", (224, 224, 4), "must have 3 channels"),
        ("xception", (70, 96, 3), r"at least 71 x 71 pixels. Received"),
        ("inception_v3", (74, 74, 3), "at least 75 x 75 pixels"),
        ("sample_net", (16, 16, 3), "at least 32 x 32 pixels"),
    ],
)
def test_an_image_shape_the_backbone_cannot_take_is_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(name, weights=None, input_shape=shape)


def test_a_backbone_without_top_classifies_nothing():
    with pytest.raises(ValueError, match="top.*Received: backbone='sample_net'.*head"):
        load_classifier("sample_net")


@pytest.fixture(scope="module")
def plain():
    """Return an EfficientNet without a second rescaling, which no test changes."""
    return load_backbone("efficientnet_b0", weights=None, input_shape=(32, 32, 3))


class TestImagenetWeights:
    @pytest.mark.parametrize(
        ("load", "file"),
        [
            (load_backbone, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
            (load_classifier, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        ],
    )
    def test_a_download_without_a_network_names_the_way_out(
        self, monkeypatch, tmp_path, load, file
    ):
        def fail(**_):
            raise Exception("URL fetch failure on https://x: None -- unreachable")

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(keras.applications, "VGG16", fail)
        kept = re.escape(repr(str(tmp_path / "models" / file)))
        with pytest.raises(
            ConnectionError,
            match=f"imagenet.*save it as {kept}.*--files.*the path of a weights file",
        ):
            load("vgg16")

    @pytest.mark.parametrize("cut", [0, 100, 20_000, -1])
    def test_a_damaged_file_that_keras_keeps_is_named_with_the_way_out(
        self, tmp_path, monkeypatch, cut
    ):
        (tmp_path / "models").mkdir()
        kept = tmp_path / "models" / "vgg16_weights_notop.h5"
        network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(100)])
        network.save_weights(tmp_path / "whole.weights.h5")
        data = (tmp_path / "whole.weights.h5").read_bytes()
        kept.write_bytes(data)
        other = tmp_path / "models" / "other.h5"
        other.write_bytes(data)
        kept.write_bytes(data[:cut])

        def fail(**_):
            h5py.File(kept, "r")

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(keras.applications, "VGG16", fail)
        sentence = (
            r"weights of vgg16 must be whole files\. Received: weights=\"imagenet\", "
            rf"and Keras cannot read what it keeps in '{kept}': .* Delete it; the weigh"
        )
        for load in (load_backbone, load_classifier):
            with pytest.raises(ValueError, match=sentence):
                load("vgg16")

    def test_a_hash_that_does_not_match_names_where_to_look(
        self, tmp_path, monkeypatch
    ):
        def fail(**_):
            raise ValueError("Incomplete or corrupted file detected. The auto hash")

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(keras.applications, "VGG16", fail)
        where = f"the files of vgg16 in '{tmp_path / 'models'}': Incomplete"
        with pytest.raises(ValueError, match=f"{where}.*Delete them"):
            load_backbone("vgg16")

    def test_other_failures_of_keras_are_not_called_a_download(self, monkeypatch):
        def fail(**_):
            raise ZeroDivisionError("something else")

        monkeypatch.setattr(keras.applications, "VGG16", fail)
        with pytest.raises(ZeroDivisionError, match="something else"):
            load_backbone("vgg16")

    @pytest.mark.matrix
    def test_imagenet_weights_of_efficientnet_bring_their_second_rescaling(
        self, tmp_path, images, plain
    ):
        # tensorflow/tensorflow#49930: without it the file is silently wrong.
        mean, stddev = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        path = tmp_path / "imagenet.weights.h5"
        plain.save_weights(path)
        with h5py.File(path, "a") as file:
            kept = file["layers/normalization/vars"]
            kept["0"][:], kept["1"][:] = mean, stddev

        network = load_backbone(
            "efficientnet_b0", weights=path, input_shape=(32, 32, 3)
        )
        stem = next(x for x in network.layers if x.name == "stem_conv_pad")
        seen = np.asarray(keras.Model(network.input, stem.input)(images))
        np.testing.assert_allclose(
            seen, (images / 255 - mean) / stddev, rtol=1e-4, atol=1e-4
        )
        assert len(network.layers) == len(plain.layers) + 1
        assert network.count_params() == plain.count_params()

    @pytest.mark.matrix
    def test_other_weights_of_efficientnet_stay_as_they_are(
        self, tmp_path, images, plain
    ):
        plain.save_weights(tmp_path / "plain.weights.h5")
        network = load_backbone(
            "efficientnet_b0",
            weights=tmp_path / "plain.weights.h5",
            input_shape=(32, 32, 3),
        )
        assert len(network.layers) == len(plain.layers)
        outputs = [keras.ops.convert_to_numpy(x(images)) for x in (network, plain)]
        np.testing.assert_array_equal(*outputs)
