"""Round trips: what is saved predicts the same when it is loaded, in every format."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.backbones.catalogue import CATALOGUE
from tlcore.backbones.input_contract import contract_layer
from tlcore.checkpoints import variables
from tlcore.freezing import find_backbone, layer_tree

HEADS = ("pool", "dense")
SMALL = ("sample_net",)
FORMATS = ("keras", "h5", "weights", "state", "hash", "savedmodel")

NO_H5 = ("convnext_", "inception_resnet_v2", "mobilenet_v3_")
"""Networks with layers that Keras does not find again in its old format."""

MARKS = {"savedmodel": [pytest.mark.tensorflow]}


def new_model(name, head):
    weights = "imagenet" if name == "sample_net" else None
    size = max(32, CATALOGUE[name].contract.min_size)
    return tl.create_model(
        name, 3, weights=weights, input_shape=(size, size, 3), head=head, dropout=0.2
    )


def calibrate(name, model, images):
    """Bring random features to scale 1: equality at 1e-6 would prove nothing."""
    network = find_backbone(model)[1]
    contract = contract_layer(CATALOGUE[name].contract.scheme)
    batch = images if contract is None else contract(images)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.2
    for _ in range(3):
        network(batch, training=True)


@pytest.fixture(scope="module")
def trained(request):
    """Return a model that was trained for a step, and images; its last layers train.

    Each step runs eagerly: tracing a large network takes longer than all else here.
    """
    name, head = request.param
    keras.utils.set_random_seed(1)
    model = new_model(name, head)
    shape = (4, *model.input_shape[1:])
    images = np.random.default_rng(1).uniform(0, 255, shape).astype("float32")
    if name not in SMALL:
        calibrate(name, model, images)
    tl.unfreeze(model, last=3)
    options = {"metrics": ["accuracy"], "run_eagerly": True}
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    model.fit(images, np.arange(4) % 3, batch_size=4, verbose=0)
    return name, head, model, images


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def saved_and_loaded(name, head, model, form, folder):
    if form == "keras":
        model.save(folder / "model.keras")
        return tl.load_model(folder / "model.keras")
    if form == "h5":
        model.save(folder / "model.h5")
        return keras.saving.load_model(folder / "model.h5")
    again = new_model(name, head)
    if form == "weights":
        model.save_weights(folder / "model.weights.h5")
        again.load_weights(folder / "model.weights.h5")
        return again
    if form == "hash":  # the file has no frozen weights: they must be here
        frozen = {id(weight) for weight in variables.frozen_weights(model)}
        for ours, theirs in zip(again.weights, model.weights, strict=True):
            if id(theirs) in frozen:
                ours.assign(theirs)
    tl.save_state(model, folder / "s", backbone="hash" if form == "hash" else "file")
    tl.load_state(again, folder / "s")
    return again


def flags(model):
    """Return the `trainable` of each layer with weights.

    An Input keeps none, and Keras keeps none of a Sequential but those of its layers.
    """
    return [
        layer.trainable
        for layer in layer_tree([model])
        if layer.weights and not isinstance(layer, keras.Sequential)
    ]


def check(trained, form, folder):
    name, head, model, images = trained
    expected = outputs(model, images)
    assert np.ptp(expected) > 1e-3  # else anything would be equal
    if form == "savedmodel":
        import tensorflow as tf

        model.export(folder / "exported", verbose=False)
        loaded = tf.saved_model.load(folder / "exported")
        np.testing.assert_allclose(loaded.serve(images), expected, atol=1e-5)
        return
    again = saved_and_loaded(name, head, model, form, folder)
    assert outputs(again, images).tobytes() == expected.tobytes()
    summary = tl.trainable_summary
    if form in {"keras", "h5"}:
        assert summary(again) == summary(model)
        assert flags(again) == flags(model)
    else:
        assert summary(again).total_params == summary(model).total_params


def cases(names):
    return [
        pytest.param((name, head), form, marks=MARKS.get(form, ()))
        for name in names
        for head in HEADS
        for form in FORMATS
        if form != "h5" or not name.startswith(NO_H5)
    ]


def label(case):
    return case if isinstance(case, str) else "-".join(case)


@pytest.mark.parametrize("form", ["keras"])
@pytest.mark.parametrize("trained", [("sample_net", "pool")], indirect=True, ids=label)
def test_a_model_predicts_the_same(trained, form, tmp_path):
    check(trained, form, tmp_path)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("trained", "form"), cases(SMALL), indirect=["trained"], ids=label
)
def test_and_so_in_every_format(trained, form, tmp_path):
    check(trained, form, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("trained", "form"),
    cases(sorted(set(CATALOGUE) - set(SMALL))),
    indirect=["trained"],
    ids=label,
)
def test_and_so_of_every_backbone(trained, form, tmp_path):
    check(trained, form, tmp_path)
