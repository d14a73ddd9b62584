"""Round trips: what is saved predicts the same when it is loaded, in every format."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.backbones.catalogue import CATALOGUE
from tlcore.checkpoints import variables
from tlcore.freezing import layer_tree

HEADS = ("pool", "dense")
SMALL = ("sample_net",)
FORMATS = ("keras", "h5", "weights", "state", "hash", "savedmodel")

MARKS = {"savedmodel": [pytest.mark.tensorflow]}


def size_of(name):
    return max(32, CATALOGUE[name].contract.min_size)


def new_model(name, head):
    weights = "imagenet" if name == "sample_net" else None
    size = size_of(name)
    return tl.create_model(
        name, 3, weights=weights, input_shape=(size, size, 3), head=head, dropout=0.2
    )


def trained(name, head):
    """Return a model that was trained for a step, its last layers unfrozen."""
    model = new_model(name, head)
    tl.unfreeze(model, last=3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    size = size_of(name)
    images = np.random.default_rng(1).uniform(0, 255, (4, size, size, 3))
    batch = images.astype("float32"), np.arange(4) % 3
    model.fit(*batch, batch_size=4, verbose=0)
    return model, batch[0]


def saved_and_loaded(model, name, head, form, folder):
    if form == "keras":
        model.save(folder / "model.keras")
        return tl.load_model(folder / "model.keras")
    if form == "h5":
        model.save(folder / "model.h5")
        return keras.saving.load_model(folder / "model.h5")
    again = new_model(name, head)
    for ours, theirs in zip(
        variables.frozen_weights(again), variables.frozen_weights(model), strict=False
    ):
        ours.assign(theirs)
    if form == "weights":
        model.save_weights(folder / "model.weights.h5")
        again.load_weights(folder / "model.weights.h5")
        return again
    tl.save_state(model, folder / "s", backbone="hash" if form == "hash" else "file")
    tl.load_state(again, folder / "s")
    return again


def flags(model):
    """Return the `trainable` of each layer with weights; an Input keeps none."""
    return [layer.trainable for layer in layer_tree([model]) if layer.weights]


def check(name, head, form, folder):
    model, images = trained(name, head)
    expected = model.predict_on_batch(images)
    if form == "savedmodel":
        import tensorflow as tf

        model.export(folder / "exported", verbose=False)
        loaded = tf.saved_model.load(folder / "exported")
        np.testing.assert_allclose(loaded.serve(images), expected, atol=1e-5)
        return
    again = saved_and_loaded(model, name, head, form, folder)
    assert again.predict_on_batch(images).tobytes() == expected.tobytes()
    summary = tl.trainable_summary
    if form in {"keras", "h5"}:
        assert summary(again) == summary(model)
        assert flags(again) == flags(model)
    else:
        assert summary(again).total_params == summary(model).total_params


def cases(names):
    return [
        pytest.param(name, head, form, marks=MARKS.get(form, ()))
        for name in names
        for head in HEADS
        for form in FORMATS
    ]


@pytest.mark.parametrize("form", ["keras"])
def test_a_model_predicts_the_same(form, tmp_path):
    check("sample_net", "pool", form, tmp_path)


@pytest.mark.matrix
@pytest.mark.parametrize(("name", "head", "form"), cases(SMALL))
def test_and_so_in_every_format(name, head, form, tmp_path):
    check(name, head, form, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "head", "form"), cases(sorted(set(CATALOGUE) - set(SMALL)))
)
def test_and_so_of_every_backbone(name, head, form, tmp_path):
    check(name, head, form, tmp_path)
