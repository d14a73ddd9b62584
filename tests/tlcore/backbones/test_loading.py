"""Backbones: counts, input contracts, weights from files, inference mode in `fit`."""

import inspect
import math

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.backbones import loading as backbones
from tlcore.backbones.catalogue import CATALOGUE
from tlcore.backbones.inference import Backbone
from tlcore.backbones.input_contract import contract_layer, scheme_of
from tlcore.backbones.loading import load_backbone, load_classifier
from tlcore.backbones.weights import load_weights

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")

QUICK_TO_BUILD = (
    "efficientnet_b0",
    "efficientnet_b4",
    "efficientnet_v2_b0",
    "resnet50_v2",
    "vgg16",
    "mobilenet_v2_035",
    "sample_net",
)


@pytest.mark.parametrize("name", QUICK_TO_BUILD)
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


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("efficientnet_b0", "efficientnet"),
        ("efficientnet_v2_b0", "efficientnet_v2"),
        ("resnet50", "resnet"),
        ("resnet50_v2", "resnet_v2"),
        ("vgg16", "vgg16"),
        ("vgg19", "vgg19"),
        ("xception", "xception"),
        ("inception_v3", "inception_v3"),
        ("mobilenet", "mobilenet"),
        ("mobilenet_v2", "mobilenet_v2"),
    ],
)
def test_the_input_contract_is_what_keras_preprocesses(name, module):
    preprocess = getattr(keras.applications, module).preprocess_input
    layer = contract_layer(CATALOGUE[name].contract.scheme)
    ours = IMAGES if layer is None else np.asarray(layer(IMAGES))
    np.testing.assert_allclose(ours, preprocess(IMAGES.copy()), rtol=1e-6, atol=1e-5)


def test_the_unit_contract_is_zero_to_one():
    layer = contract_layer("unit")
    np.testing.assert_allclose(np.asarray(layer(IMAGES)), IMAGES / 255, rtol=1e-6)


def test_an_unknown_contract_is_refused():
    with pytest.raises(
        ValueError, match="raw, signed, .*Received: input_contract='sined'. Did you"
    ):
        contract_layer("sined")


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("vgg16", "caffe"),
        ("mobilenetv2_0.35_224", "signed"),
        ("mobilenetv2_1.00_96", "signed"),
        ("mobilenet_1.00_224", "signed"),
        ("efficientnetb3", "raw"),
        ("efficientnetv2-b0", "raw"),
    ],
)
def test_a_network_is_known_by_its_name_in_keras_too(name, scheme):
    network = keras.Sequential([keras.Input((8, 8, 3))], name=name)
    assert scheme_of(network) == scheme


@pytest.mark.parametrize(
    ("constructor", "module", "name"),
    [
        ("MobileNetV2", "mobilenet_v2", "mobilenetv2_0.50_224"),
        ("MobileNet", "mobilenet", "mobilenet_0.25_None"),
        ("MobileNetV3Small", "mobilenet_v3", "MobileNetV3Small"),
        ("DenseNet121", "densenet", "densenet121"),
        ("NASNetMobile", "nasnet", "nasnet_mobile"),
        ("ResNet101", "resnet", "resnet101"),
        ("ResNet152V2", "resnet_v2", "resnet152v2"),
        ("InceptionResNetV2", "inception_resnet_v2", "inception_resnet_v2"),
        ("ConvNeXtTiny", "convnext", "convnext_tiny"),
        ("EfficientNetV2S", "efficientnet_v2", "efficientnetv2-s"),
    ],
)
def test_networks_of_keras_outside_the_catalogue_are_known(constructor, module, name):
    signature = inspect.signature(getattr(keras.applications, constructor))
    assert signature.parameters["name"].default in {name, None}
    layer = contract_layer(
        scheme_of(keras.Sequential([keras.Input((8, 8, 3))], name=name))
    )
    preprocess = getattr(keras.applications, module).preprocess_input
    ours = IMAGES if layer is None else np.asarray(layer(IMAGES))
    np.testing.assert_allclose(ours, preprocess(IMAGES.copy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["my_net", "vgg16_2", "mobilenetv2"])
def test_any_other_network_has_no_contract(name):
    network = keras.Sequential([keras.Input((8, 8, 3))], name=name)
    assert scheme_of(network) is None


class TestInferenceMode:
    """What Keras up to 3.15 ignores in `fit`."""

    @staticmethod
    def network():
        """The call asks for inference, and Keras's `Functional` overrules it."""
        inputs = keras.Input((64,))
        outputs = keras.layers.Dropout(0.5)(inputs, training=False)
        return keras.Model(inputs, outputs)

    def dropped(self, training):
        network = self.network()
        inputs = keras.Input((64,))
        model = keras.Model(inputs, Backbone(network)(inputs))
        ones = np.ones((32, 64), "float32")
        return float((np.asarray(model(ones, training=training)) == 0).mean())

    @pytest.mark.parametrize("training", [True, False, None])
    def test_dropout_within_a_backbone_zeroes_nothing(self, training):
        assert self.dropped(training) == 0.0

    def test_dropout_within_a_backbone_zeroes_nothing_in_fit(self):
        seen = []

        @keras.saving.register_keras_serializable()
        class Spy(keras.layers.Layer):
            def call(self, inputs):
                seen.append(keras.ops.min(inputs))
                return inputs

        network = self.network()
        inputs = keras.Input((64,))
        outputs = keras.layers.Dense(1)(Spy()(Backbone(network)(inputs)))
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse", run_eagerly=True)
        ones = np.ones((32, 64), "float32")
        seen.clear()
        model.fit(ones, np.ones((32, 1), "float32"), epochs=2, batch_size=8, verbose=0)
        assert [float(v) for v in seen if not isinstance(v, keras.KerasTensor)][
            -8:
        ] == [1.0] * 8

    def test_a_frozen_efficientnet_repeats_itself_in_training_mode(self):
        network = load_backbone(
            "efficientnet_b0", weights=None, input_shape=(32, 32, 3)
        )
        calibrate(network)
        layer = Backbone(network)
        once, twice = (np.asarray(layer(IMAGES, training=True)) for _ in range(2))
        assert np.std(once) > 0.01
        np.testing.assert_array_equal(once, twice)
        np.testing.assert_array_equal(once, np.asarray(network(IMAGES, training=False)))

    def test_a_backbone_survives_saving(self, tmp_path):
        network = load_backbone(
            "mobilenet_v2_035", weights=None, input_shape=(32, 32, 3)
        )
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, Backbone(network)(inputs))
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
        assert again.layers[-1].network.name == "mobilenet_v2_035"


def calibrate(network):
    """Bring random features to scale 1: equality at 1e-6 would prove nothing."""
    rng = np.random.default_rng(1)
    batch = rng.integers(0, 256, (32, 32, 32, 3)).astype("float32")
    norms = [
        x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)
    ]
    for layer in norms:
        layer.momentum = 0.2
    for _ in range(4):
        network(batch, training=True)


@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None)
def test_global_average_pooling_is_reduce_mean(n, height, width, channels, seed):
    values = np.random.default_rng(seed).normal(size=(n, height, width, channels))
    images = values.astype("float32")
    pooled = np.asarray(keras.layers.GlobalAveragePooling2D()(images))
    np.testing.assert_array_equal(
        pooled, np.asarray(keras.ops.mean(images, axis=[1, 2]))
    )
    np.testing.assert_allclose(pooled, values.mean(axis=(1, 2)), atol=1e-6)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    network = load_backbone("mobilenet_v2_035", weights=None)
    path = tmp_path_factory.mktemp("weights") / "net.weights.h5"
    network.save_weights(path)
    return path, network


class TestWeights:
    def test_a_file_is_read_at_any_image_size(self, weights_file):
        path, network = weights_file
        other = load_backbone("mobilenet_v2_035", weights=path, input_shape=(64, 64, 3))
        for ours, theirs in zip(other.weights, network.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16", "sample_net"])
    def test_weights_of_another_architecture_are_refused(self, weights_file, name):
        path, _ = weights_file
        with pytest.raises(ValueError, match=r"hold .* numbers. Received: .*410,208"):
            load_backbone(name, weights=path)

    def test_a_file_of_as_many_numbers_but_other_shapes_is_refused(
        self, tmp_path, monkeypatch
    ):
        # The same number of weights in another order of layers.
        def net(first, second):
            layers = [keras.layers.Dense(n) for n in (first, second)]
            return keras.Sequential([keras.Input((4,)), *layers])

        wide, narrow = net(3, 9), net(9, 0 + 1)
        monkeypatch.setattr(backbones, "_count_numbers", lambda _: 51)
        path = tmp_path / "net.weights.h5"
        narrow.save_weights(path)
        assert wide.count_params() == 51
        with pytest.raises(ValueError, match="which does not fit"):
            load_weights(wide, path)

    def test_a_damaged_file_is_refused(self, tmp_path, weights_file):
        path = tmp_path / "half.weights.h5"
        path.write_bytes(weights_file[0].read_bytes()[:1000])
        with pytest.raises(ValueError, match="must be a whole HDF5 file"):
            load_backbone("mobilenet_v2_035", weights=path)

    def test_a_file_of_another_form_is_refused(self, tmp_path):
        path = tmp_path / "weights.ckpt"
        path.touch()
        with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`"):
            load_backbone("mobilenet_v2_035", weights=path)

    def test_a_missing_file_is_refused(self):
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            load_backbone("mobilenet_v2_035", weights="imagenett")

    def test_a_download_without_a_network_names_the_way_out(self, monkeypatch):
        def fail(**_):
            raise Exception("URL fetch failure on https://x: None -- unreachable")

        monkeypatch.setattr(keras.applications, "VGG16", fail)
        with pytest.raises(ConnectionError, match="give the path of a weights file"):
            load_backbone("vgg16")

    def test_other_failures_of_keras_are_not_called_a_download(self, monkeypatch):
        def fail(**_):
            raise ZeroDivisionError("something else")

        monkeypatch.setattr(keras.applications, "VGG16", fail)
        with pytest.raises(ZeroDivisionError, match="something else"):
            load_backbone("vgg16")

    def test_imagenet_weights_of_efficientnet_bring_their_second_rescaling(
        self, tmp_path
    ):
        # tensorflow/tensorflow#49930: without it the file is silently wrong.
        mean, stddev = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        plain = load_backbone("efficientnet_b0", weights=None, input_shape=(32, 32, 3))
        path = tmp_path / "imagenet.weights.h5"
        plain.save_weights(path)
        with h5py.File(path, "a") as file:
            kept = file["layers/normalization/vars"]
            kept["0"][:], kept["1"][:] = mean, stddev

        network = load_backbone(
            "efficientnet_b0", weights=path, input_shape=(32, 32, 3)
        )
        stem = next(x for x in network.layers if x.name == "stem_conv_pad")
        seen = np.asarray(keras.Model(network.input, stem.input)(IMAGES))
        np.testing.assert_allclose(
            seen, (IMAGES / 255 - mean) / stddev, rtol=1e-4, atol=1e-4
        )
        assert len(network.layers) == len(plain.layers) + 1
        assert network.count_params() == plain.count_params()

    def test_other_weights_of_efficientnet_stay_as_they_are(self, tmp_path):
        plain = load_backbone("efficientnet_b0", weights=None, input_shape=(32, 32, 3))
        plain.save_weights(tmp_path / "plain.weights.h5")
        network = load_backbone(
            "efficientnet_b0",
            weights=tmp_path / "plain.weights.h5",
            input_shape=(32, 32, 3),
        )
        assert len(network.layers) == len(plain.layers)
        np.testing.assert_array_equal(network(IMAGES), plain(IMAGES))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vgg16", (224, 224), r"must be \(height, width, 3\)"),
        ("vgg16", (0, 224, 3), r"must be \(height, width, 3\)"),
        ("vgg16", (224.0, 224, 3), r"must be \(height, width, 3\)"),
        ("vgg16", (224, 224, 1), r"image folders convert grey.*\(224, 224, 3\)"),
        ("vgg16", (224, 224, 4), "must enter with 3 channels"),
        ("xception", (70, 96, 3), r"at least 71 x 71 pixels. Received"),
        ("inception_v3", (74, 74, 3), "at least 75 x 75 pixels"),
        ("sample_net", (16, 16, 3), "at least 32 x 32 pixels"),
    ],
)
def test_an_image_shape_the_backbone_cannot_take_is_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(name, weights=None, input_shape=shape)


def test_a_backbone_without_top_classifies_nothing():
    with pytest.raises(ValueError, match="which has none; train a head"):
        load_classifier("sample_net")
