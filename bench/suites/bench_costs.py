"""Costs: operations of forward passes and training steps, sizes of checkpoints.

Everything is counted and nothing depends on the machine. What depends on the versions
of TensorFlow and Keras is recorded as a cost and compared with the accepted value for
the same versions. A layer that is no longer frozen shows as a jump in the operations of
the training step.
"""

import pytest
from measured_backbones import MEASURED

import tlcore as tl

HEADS = {"vgg16": "dense"}
"""Heads of the backbones whose recipe does not use the pooled one."""

FIRST_VISIT = ("sample_net", "efficientnet_b0", "resnet50_v2", "vgg16", "mobilenet_v2")
"""Backbones whose training step is traced in the main job; the others take minutes."""

BACKBONES = [
    name if name in FIRST_VISIT else pytest.param(name, marks=pytest.mark.matrix)
    for name in MEASURED
]


def compiled(name, *, last):
    """Return a model of ten classes with its last layers unfrozen, compiled."""
    model = tl.create_model(
        name,
        10,
        weights=None,
        input_shape=(96, 96, 3),
        head=HEADS.get(name, "pool"),
    )
    tl.unfreeze(model, last=last) if last else tl.freeze(model)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("last", [0, 10], ids=["frozen", "last_10"])
@pytest.mark.parametrize("name", BACKBONES)
def bench_training_step(name, last, record):
    """Operations of a training step on one image, of its graph, and optimizer slots."""
    import costs

    model = compiled(name, last=last)
    counts = tl.trainable_summary(model)
    record.exact("total_params", counts.total_params)
    record.exact("trainable_params", counts.trainable_params)
    record.exact("trainable_tensors", counts.trainable_tensors)
    record.exact("non_trainable_tensors", counts.non_trainable_tensors)
    record.cost("forward_flops", costs.forward_flops(model))
    step = costs.training_step(model)
    record.cost("train_step_flops", step.flops)
    record.cost("graph_operations", step.operations)
    record.cost("optimizer_slots", costs.optimizer_slots(model))


@pytest.mark.parametrize("cache", ["off", "on"])
def bench_traces(cache, sample_splits, tmp_path, record):
    """A step is traced in the first epoch only; each further trace costs seconds."""
    import costs

    counter = costs.TraceCounter()
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    tl.freeze(model)
    model.compile("adam", "categorical_crossentropy", metrics=[counter])
    train, validation = sample_splits.train, sample_splits.validation
    options = {"validation": validation, "verbose": 0}
    options["cache"] = "off" if cache == "off" else tmp_path
    tl.fit(model, train, epochs=1, **options)
    first = counter.traces
    tl.fit(model, train, initial_epoch=1, epochs=4, **options)
    record.cost("traces_of_one_epoch", first)
    record.cost("traces_of_three_epochs", counter.traces - first)


@pytest.mark.parametrize("last", [0, 10], ids=["frozen", "last_10"])
def bench_checkpoint(last, sample_splits, tmp_path, record):
    """A checkpoint restores the same bits, frozen state included."""
    import costs
    import keras

    keras.utils.set_random_seed(1)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    train = sample_splits.train
    history = tl.feature_extract(model, train, epochs=1, verbose=0)
    if last:
        tl.fine_tune(model, train, history=history, last=last, epochs=1, verbose=0)
    frozen = tl.frozen_fingerprint(model)
    path = tmp_path / "checkpoint.weights.h5"
    model.save_weights(path)
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    for variable in model.variables:
        variable.assign(keras.ops.zeros_like(variable.value))
    model.load_weights(path)
    after = [keras.ops.convert_to_numpy(v) for v in model.variables]
    same = all((a == b).all() for a, b in zip(before, after, strict=True))
    record.exact("same_weights", same)
    record.exact("same_frozen_state", tl.frozen_fingerprint(model) == frozen)
    record.cost("optimizer_slots", costs.optimizer_slots(model))
    record.cost("checkpoint_bytes", costs.checkpoint_bytes(model))
