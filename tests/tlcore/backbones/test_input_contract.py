"""Input contracts: the ranges that Keras preprocesses to, by layer and by name."""

import inspect

import keras
import numpy as np
import pytest

from tlcore.backbones.catalogue import CATALOGUE
from tlcore.backbones.input_contract import contract_layer, scheme_of


def of_keras():
    return [x for x in CATALOGUE.values() if x.constructor.startswith("keras.")]


def test_every_network_of_keras_applications_is_in_the_catalogue():
    functions = {name for name, _ in inspect.getmembers(keras.applications, callable)}
    assert {x.constructor.partition(":")[2] for x in of_keras()} == functions


@pytest.mark.parametrize("entry", of_keras(), ids=lambda entry: entry.name)
def test_the_input_contract_is_what_keras_preprocesses(entry, images):
    built = getattr(keras.applications, entry.constructor.partition(":")[2])
    preprocess = inspect.getmodule(built).preprocess_input
    layer = contract_layer(entry.contract.scheme)
    ours = images if layer is None else np.asarray(layer(images))
    np.testing.assert_allclose(ours, preprocess(images.copy()), rtol=1e-5, atol=1e-5)


def test_the_unit_contract_is_zero_to_one(images):
    layer = contract_layer("unit")
    np.testing.assert_allclose(np.asarray(layer(images)), images / 255, rtol=1e-6)


def test_an_unknown_contract_is_refused():
    with pytest.raises(
        ValueError, match=r"raw, signed.*Received: input_contract='sined'.*'signed'"
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
def test_networks_of_keras_outside_the_catalogue_are_known(
    constructor, module, name, images
):
    signature = inspect.signature(getattr(keras.applications, constructor))
    assert signature.parameters["name"].default in {name, None}
    layer = contract_layer(
        scheme_of(keras.Sequential([keras.Input((8, 8, 3))], name=name))
    )
    preprocess = getattr(keras.applications, module).preprocess_input
    ours = images if layer is None else np.asarray(layer(images))
    np.testing.assert_allclose(ours, preprocess(images.copy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["my_net", "vgg16_2", "mobilenetv2"])
def test_any_other_network_has_no_contract(name):
    network = keras.Sequential([keras.Input((8, 8, 3))], name=name)
    assert scheme_of(network) is None
