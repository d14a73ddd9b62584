"""Sources: what can be passed as a backbone, and the shapes of each."""

import keras
import numpy as np
import pytest

from tlcore.backbones.sources import (
    feature_shape,
    frozen_backbone,
    image_shape,
    input_scheme,
    resolve_backbone,
)
from tlcore.hub.layer import HubLayer

SHAPE = (32, 32, 3)


def network(shape=SHAPE, name="own"):
    layers = [keras.Input(shape), keras.layers.Conv2D(4, 3), keras.layers.Dropout(0.5)]
    return keras.Sequential(layers, name=name)


@pytest.fixture(scope="module")
def hub_layer(small_saved_model):
    return HubLayer(str(small_saved_model))


def test_a_name_is_built_and_a_network_is_taken_as_it_is(hub_layer):
    built = resolve_backbone("sample_net", None, SHAPE, None)
    assert (built.name, built.input_shape) == ("sample_net", (None, *SHAPE))
    own = network()
    assert resolve_backbone(own, "imagenet", SHAPE, None) is own
    assert resolve_backbone(hub_layer, "imagenet", SHAPE, None) is hub_layer


def test_a_folder_of_a_saved_model_becomes_a_hub_layer(small_saved_model):
    layer = resolve_backbone(small_saved_model, "imagenet", SHAPE, None)
    assert isinstance(layer, HubLayer)


def test_the_scheme_is_that_of_tf_hub_or_of_the_name(hub_layer):
    assert input_scheme(hub_layer) == "unit"
    assert input_scheme(network(name="vgg16")) == "caffe"
    assert input_scheme(network()) == "raw"


@pytest.mark.parametrize(
    ("own", "given", "shape"),
    [
        (SHAPE, SHAPE, SHAPE),
        (SHAPE, (224, 224, 3), SHAPE),
        ((None, None, 3), (64, 48, 3), (64, 48, 3)),
        ((32, None, 3), [32, 48, 3], (32, 48, 3)),
    ],
)
def test_images_have_the_shape_that_is_given_or_that_the_network_fixes(
    own, given, shape
):
    assert image_shape(network(own), given) == shape


@pytest.mark.parametrize(
    ("own", "given"), [(SHAPE, (64, 64, 3)), ((None, None, 3), (64, 64)), (SHAPE, 32)]
)
def test_a_shape_that_contradicts_the_network_is_refused(own, given):
    with pytest.raises(ValueError, match=r"'own' takes.*Received: input_shape="):
        image_shape(network(own), given)


def test_the_feature_shape_is_that_of_the_output(hub_layer):
    assert feature_shape(network(), SHAPE) == (None, 30, 30, 4)
    assert feature_shape(hub_layer, SHAPE) == (None, 16)


def test_a_frozen_backbone_neither_trains_nor_drops_anything_out():
    layer = frozen_backbone(network())
    assert not layer.trainable_variables
    images = np.ones((2, *SHAPE), "float32")
    np.testing.assert_array_equal(
        layer(images, training=True), layer(images, training=False)
    )
