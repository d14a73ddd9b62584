"""Costs: compared with counts made by hand."""

import costs
import keras
import numpy as np
import pytest

import tlcore as tl


def compiled(*, trainable=True, metrics=()):
    """Return 4 x 4 pixels, a convolution of 5 filters, pooled, and 2 classes."""
    inputs = keras.Input((4, 4, 3))
    convolution = keras.layers.Conv2D(5, 3, padding="same", use_bias=False)
    convolution.trainable = trainable
    x = keras.layers.GlobalAveragePooling2D()(convolution(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(x))
    model.compile("sgd", "mse", metrics=list(metrics))
    return model


# Of the 9 pixels under a filter XLA counts those that are not padding.
TAPS = 10 * 10 if keras.backend.backend() == "jax" else 4 * 4 * 9
CONVOLUTION, DENSE = 2 * TAPS * 5 * 3, 2 * 5 * 2


def test_a_forward_pass_is_counted_by_the_image():
    flops = costs.forward_flops(compiled())
    pooling = flops - CONVOLUTION - DENSE
    assert 0 <= pooling <= 4 * 4 * 5 + 5


def test_a_training_step_computes_what_it_needs_gradients_for():
    frozen = costs.training_step(compiled(trainable=False))
    thawed = costs.training_step(compiled())
    assert frozen.flops >= costs.forward_flops(compiled()) + DENSE
    assert thawed.flops >= frozen.flops + CONVOLUTION  # the gradient of its weights
    assert thawed.operations > frozen.operations


def test_unfreezing_a_layer_shows():
    model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
    seen = []
    for last in (0, 1, 10):
        tl.unfreeze(model, last=last) if last else tl.freeze(model)
        model.compile("adam", "categorical_crossentropy")
        seen.append((costs.training_step(model).flops, costs.optimizer_slots(model)))
    assert seen[0][0] < seen[2][0]
    assert seen[0][1] < seen[2][1]


@pytest.mark.parametrize(("optimizer", "slots"), [("sgd", 2), ("adam", 2 + 2 * 2)])
def test_the_tensors_of_the_optimizer_are_counted(optimizer, slots):
    model = compiled()
    model.compile(optimizer, "mse")
    assert costs.optimizer_slots(model) == slots


def test_a_checkpoint_holds_the_weights_and_the_optimizer():
    model = compiled()
    plain = costs.checkpoint_bytes(model)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    numbers = sum(int(np.prod(v.shape)) for v in model.optimizer.variables)
    assert costs.checkpoint_bytes(model) > plain
    assert plain > 4 * model.count_params()
    assert costs.checkpoint_bytes(model) >= 4 * (model.count_params() + numbers)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch traces nothing")
def test_tracing_is_counted_and_running_is_not():
    counter = costs.TraceCounter()
    model = compiled(metrics=[counter])
    x, y = np.zeros((8, 4, 4, 3), "float32"), np.zeros((8, 2), "float32")
    model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    once = counter.traces
    model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    assert counter.traces == once > 0
    model.fit(x[:6], y[:6], batch_size=3, epochs=1, verbose=0)  # another batch size
    assert counter.traces > once


def test_a_model_that_is_not_compiled_has_no_training_step():
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
    for count in (costs.training_step, costs.optimizer_slots):
        with pytest.raises(ValueError, match=r"needs a compiled model\. Received: m"):
            count(model)


def test_images_of_any_size_cannot_be_counted():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.ReLU()])
    with pytest.raises(ValueError, match=r"images of a fixed size\. Received: model="):
        costs.forward_flops(model)


def test_memory_has_a_peak():
    before = costs.peak_memory()["host"]
    block = np.ones(30_000_000)
    assert costs.peak_memory()["host"] >= max(before, block.nbytes)


def test_waiting_for_devices_returns():
    costs.synchronize()
