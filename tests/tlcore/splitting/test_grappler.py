"""Grappler: the cuts and models it rules out, and that the rules suffice."""

from dataclasses import dataclass

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcore.backbones.inference import Backbone
from tlcore.freezing import unfreeze
from tlcore.models import create_model
from tlcore.splitting.graph import UnsplittableError
from tlcore.splitting.split import POLICIES, split

pytestmark = pytest.mark.tensorflow

layers, ops = keras.layers, keras.ops

SHAPE = (8, 8, 3)


def conv(filters=4, **options):
    return layers.Conv2D(filters, 3, padding="same", trainable=False, **options)


@pytest.mark.parametrize(
    "joined",
    [
        lambda x, u: layers.Add()([x, u]),
        lambda x, u: layers.Multiply()([x, u]),
        lambda x, u: layers.Concatenate()([x, layers.BatchNormalization()(u)]),
        lambda x, u: layers.Concatenate()([x, layers.PReLU()(u)]),
    ],
    ids=["sum", "product", "batch norm", "prelu"],
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.matrix
def test_no_cut_is_where_tensorflow_merges_two_steps(
    joined, training, settle, assert_same
):
    inputs = keras.Input(SHAPE)
    x = layers.ReLU(name="relu")(conv(name="first")(inputs))
    u = layers.BatchNormalization(name="bn", trainable=False)(conv(name="second")(x))
    trained = layers.Conv2D(4, 3, padding="same")(x)
    model = keras.Model(inputs, layers.Conv2D(2, 3)(joined(trained, u)))
    settle(model)
    divided = split(model, training=training, policy="boundary")
    assert divided.name == "relu + second"
    assert_same(model, divided, training=training)


def chain(last):
    inputs = keras.Input(SHAPE)
    x = layers.ReLU()(conv()(inputs))
    u, v = layers.ReLU()(conv()(x)), layers.ReLU()(conv()(x))
    x = layers.GlobalAveragePooling2D()(last(x, u, v))
    return keras.Model(inputs, layers.Dense(2)(x))


def twofold(x):
    return x + x


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (lambda x, u, v: layers.Add()([x, u, v]), "sums three or more"),
        (lambda x, u, v: x + u + v, "sums three or more"),
        (
            lambda x, u, v: layers.Add()([x, layers.Dropout(0.5)(u + v)]),
            "sums three or more",
        ),
        (lambda x, u, v: (u + v) + 0.3, "number with two tensors"),
        (lambda x, u, v: u * v * 0.3, "number with two tensors"),
        (lambda x, u, v: u * (v / 3.0), "number with two tensors"),
        (lambda x, u, v: layers.Rescaling(0.3)(u * v), "number with two"),
        (lambda x, u, v: layers.Activation("hard_swish")(x), "number with two"),
        (lambda x, u, v: ops.hard_silu(x), "number with two tensors"),
        (lambda x, u, v: twofold(u + v), "sums three or more"),
        (
            lambda x, u, v: x + layers.DepthwiseConv2D(3, padding="same", name="d")(u),
            "adds a depthwise",
        ),
    ],
)
def test_no_model_is_cut_that_tensorflow_orders_by_names(last, reason):
    with pytest.raises(UnsplittableError, match=reason):
        split(chain(last), training=False)


def test_a_scaled_product_is_refused_only_where_the_scale_acts():
    model = chain(lambda x, u, v: layers.Dropout(0.5)(layers.Multiply()([u, v])))
    with pytest.raises(UnsplittableError, match="'dropout.*number with two"):
        split(model, training=True)
    assert split(model, training=False, policy="boundary").cut


ACTIVATIONS = (None, "relu", "swish", "gelu", "sigmoid", "hard_swish", "tanh")


def convolution(b, **options):
    own = {"activation": ACTIVATIONS[b % 7], "use_bias": b % 3 > 0, **options}
    return layers.Conv2D(2 + b % 5, 1 + 2 * (b % 2), padding="same", **own)


def nested(shape, b):
    """Return a small model that keeps its input's shape."""
    channels = shape[-1]
    if b % 5 == 0:
        return keras.Sequential(
            [
                layers.Conv2D(channels, 3, padding="same"),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
                layers.ReLU(),
            ]
        )
    x = keras.Input(shape[1:])
    u = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    v = layers.DepthwiseConv2D(3, padding="same", use_bias=b % 2 > 0)(u)
    v = layers.BatchNormalization()(v)
    match b % 5:
        case 1:
            outputs = layers.Activation("swish")(v)
        case 2:
            outputs = layers.Add()([x, layers.Dropout(0.2)(v)])
        case 3:
            outputs = layers.ReLU()(x + u) + v
        case _:
            outputs = nested(shape, b // 5)(u) + v
    return keras.Model(x, outputs)


def forked(shape):
    x = keras.Input(shape[1:])
    u = layers.Conv2D(shape[-1], 3, padding="same")(x)
    return keras.Model(x, [layers.BatchNormalization()(u), layers.ReLU()(u)])


def excited(x, filters=16):
    """Return x after squeeze and excite."""
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="swish")(gate)
    gate = layers.Conv2D(filters, 1, activation="sigmoid")(gate)
    x = layers.Conv2D(filters, 1, use_bias=False)(x)
    return layers.Multiply()([x, gate])


def residual(x, y, b):
    u = layers.Conv2D(x.shape[-1], 3, padding="same", use_bias=b % 2 > 0)(x)
    return layers.Add()([y, layers.BatchNormalization()(u)])


def branches(x, b):
    pooled = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return layers.Concatenate()([convolution(b)(x), pooled])


def smaller(layer, x):
    return [layer(x)] if x.shape[1] > 4 else []


def twice(layer, x, y):
    return [layer(x), layer(y)]


MOVES = {
    # From a value x, a value y of the same shape and a number b to further values.
    "convolution": lambda x, y, b: [convolution(b)(x)],
    "strided": lambda x, y, b: smaller(convolution(b, strides=2), x),
    "depthwise": lambda x, y, b: [layers.DepthwiseConv2D(3, padding="same")(x)],
    "separable": lambda x, y, b: [layers.SeparableConv2D(3, 3, padding="same")(x)],
    "dense": lambda x, y, b: [layers.Dense(4, activation=ACTIVATIONS[b % 7])(x)],
    "half": lambda x, y, b: [convolution(b, dtype="mixed_float16")(x)],
    "batch norm": lambda x, y, b: [layers.BatchNormalization()(x)],
    "layer norm": lambda x, y, b: [layers.LayerNormalization()(x)],
    "activation": lambda x, y, b: [layers.Activation(ACTIVATIONS[b % 7])(x)],
    "relu6": lambda x, y, b: [layers.ReLU(6.0, negative_slope=(b % 2) / 10)(x)],
    "prelu": lambda x, y, b: [layers.PReLU(shared_axes=[1, 2])(x)],
    "dropout": lambda x, y, b: [layers.Dropout(0.3)(x)],
    "spatial dropout": lambda x, y, b: [layers.SpatialDropout2D(0.3)(x)],
    "noise": lambda x, y, b: [layers.GaussianNoise(0.1)(x)],
    "max pool": lambda x, y, b: smaller(layers.MaxPooling2D(), x),
    "mean pool": lambda x, y, b: smaller(layers.AveragePooling2D(2), x),
    "padding": lambda x, y, b: smaller(layers.ZeroPadding2D(2), x)[: 12 - x.shape[1]],
    "rescaling": lambda x, y, b: [layers.Rescaling(1 / 3, 0.25 * (b % 2))(x)],
    "times": lambda x, y, b: [x * (0.3 + b / 7)],
    "plus": lambda x, y, b: [x + (0.3 + b / 7)],
    "divided": lambda x, y, b: [x / (3.0 + b)],
    "negative": lambda x, y, b: [-x],
    "tanh": lambda x, y, b: [ops.tanh(x)],
    "centred": lambda x, y, b: [x - ops.mean(x, axis=(1, 2), keepdims=True)],
    "sum": lambda x, y, b: [x + y],
    "add": lambda x, y, b: [layers.Add()([x, y])],
    "add three": lambda x, y, b: [layers.Add()([y, x, layers.ReLU()(x)])],
    "difference": lambda x, y, b: [x - y],
    "subtract": lambda x, y, b: [layers.Subtract()([x, y])],
    "average": lambda x, y, b: [layers.Average()([x, y])],
    "maximum": lambda x, y, b: [layers.Maximum()([x, y])],
    "concatenate": lambda x, y, b: [layers.Concatenate()([x, y])],
    "product": lambda x, y, b: [layers.Multiply()([x, ops.sigmoid(y)])],
    "swish": lambda x, y, b: [x * ops.sigmoid(x)],
    "hard swish": lambda x, y, b: [x * ops.relu6(x + 3.0) / 6.0],
    "leaky": lambda x, y, b: [ops.maximum(x, 0.1 * x)],
    "common factor": lambda x, y, b: [x * ops.tanh(x) + y * ops.tanh(x)],
    "residual": lambda x, y, b: [residual(x, y, b)],
    "excite": lambda x, y, b: [excited(x)],
    "branches": lambda x, y, b: [branches(x, b)],
    "nested": lambda x, y, b: [nested(x.shape, b)(x)],
    "backbone": lambda x, y, b: [Backbone(nested(x.shape, b))(x)],
    "forked": lambda x, y, b: forked(x.shape)(x),
    "shared layer": lambda x, y, b: twice(convolution(b), x, y),
    "shared norm": lambda x, y, b: twice(layers.BatchNormalization(), x, y),
    "shared dropout": lambda x, y, b: twice(layers.Dropout(0.3), x, y),
    "shared model": lambda x, y, b: twice(nested(x.shape, b), x, y),
    "shared backbone": lambda x, y, b: twice(Backbone(nested(x.shape, b)), x, y),
}


def pooled(values):
    return [layers.GlobalAveragePooling2D()(x) for x in values]


HEADS = {
    "none": lambda values: values[-1],
    "dense": lambda values: layers.Dense(2)(pooled(values)[-1]),
    "dropout": lambda values: layers.Dense(2)(
        layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(values[-1]))
    ),
    "flat": lambda values: layers.Dense(3)(layers.Flatten()(values[-1])),
    "two": lambda values: [
        layers.Dense(2)(pooled(values)[-1]),
        values[len(values) // 2],
    ],
    "all": lambda values: layers.Dense(3, activation="softmax")(
        layers.Concatenate()(pooled([values[0], *values]))
    ),
}


@dataclass(frozen=True)
class Sketch:
    """A description of a random model: its layers, and which of them are frozen."""

    moves: tuple[tuple[str, int, int], ...]
    head: str
    boundary: int
    exceptions: frozenset[int]

    def model(self, settle):
        keras.utils.set_random_seed(len(self.moves))
        inputs = keras.Input(SHAPE)
        values = [inputs]
        for name, a, b in self.moves:
            x = values[-1 - a % len(values)]
            mates = [value for value in values if value.shape == x.shape]
            values += MOVES[name](x, mates[(a + b) % len(mates)], b)
        model = keras.Model(inputs, HEADS[self.head](values))
        settle(model)
        tree = model._flatten_layers(include_self=False)
        leaves = [x for x in tree if x.weights and not x._layers]
        for i, layer in enumerate(leaves):
            layer.trainable = (i >= self.boundary) != (i in self.exceptions)
        return model


SKETCHES = st.builds(
    Sketch,
    moves=st.lists(
        st.tuples(
            st.sampled_from(sorted(MOVES)), st.integers(0, 4), st.integers(0, 29)
        ),
        min_size=2,
        max_size=9,
    ).map(tuple),
    head=st.sampled_from(sorted(HEADS)),
    boundary=st.integers(1, 12),
    exceptions=st.frozensets(st.integers(0, 14), max_size=1),
)


@pytest.fixture(scope="session")
def check_parts(settle, assert_same):
    """Return the check that a model that can be cut is its prefix, then its suffix."""

    def check(sketch, training, policy):
        model = sketch.model(settle)
        try:
            divided = split(model, training=training, policy=policy)
        except UnsplittableError:
            return
        assert divided.prefix.trainable_variables == []
        assert divided.prefix.weights
        trained = {id(variable) for variable in divided.suffix.trainable_variables}
        assert trained == {id(variable) for variable in model.trainable_variables}
        assert_same(model, divided, training=training)

    return check


FOUND = [
    # Random models whose parts once differed from the whole.
    (
        [("activation", 0, 0), ("add", 0, 0), ("add", 0, 0), ("add", 0, 3)],
        "two",
        False,
    ),
    ([("activation", 0, 0), ("activation", 0, 26)], "all", False),
    (
        [
            ("backbone", 2, 26),
            ("rescaling", 0, 13),
            ("backbone", 4, 10),
            ("convolution", 2, 16),
        ],
        "all",
        True,
    ),
    ([("backbone", 4, 4), ("sum", 4, 17)], "two", False),
    (
        [("padding", 1, 5), ("layer norm", 2, 20), ("padding", 3, 21), ("add", 3, 14)],
        "two",
        True,
    ),
    (
        [
            ("shared layer", 1, 19),
            ("batch norm", 1, 21),
            ("residual", 1, 7),
            ("shared dropout", 0, 5),
            ("times", 0, 11),
        ],
        "two",
        True,
    ),
]


# Without `_Scopes`, the third differs; without the rule for x + x, the fifth; without
# `terms`, the fifth and the sixth.
@pytest.mark.parametrize(("moves", "head", "training"), FOUND)
@pytest.mark.parametrize("boundary", [pytest.param(1, marks=pytest.mark.matrix), 12])
def test_prefix_then_suffix_is_the_whole_where_it_once_was_not(
    moves, head, training, boundary, check_parts
):
    for policy in POLICIES:
        sketch = Sketch(tuple(moves), head, boundary, frozenset({1} - {boundary}))
        check_parts(sketch, training, policy)


drawn = given(SKETCHES, st.booleans(), st.sampled_from(POLICIES))
UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@drawn
@settings(max_examples=12, derandomize=True, **UNHURRIED)
def test_prefix_then_suffix_is_the_whole_bit_for_bit(
    check_parts, sketch, training, policy
):
    check_parts(sketch, training, policy)


@pytest.mark.slow
@drawn
@settings(max_examples=200, **UNHURRIED)
def test_prefix_then_suffix_is_the_whole_on_many_graphs(
    check_parts, sketch, training, policy
):
    check_parts(sketch, training, policy)


@pytest.mark.usefixtures("mixed_float16")
@pytest.mark.parametrize(
    ("last", "training"),
    [
        pytest.param(0, True, marks=pytest.mark.matrix),
        pytest.param(0, False, marks=pytest.mark.matrix),
        (2, True),
        pytest.param(2, False, marks=pytest.mark.matrix),
        pytest.param(5, True, marks=pytest.mark.matrix),
        (5, False),
    ],
)
@pytest.mark.matrix
def test_under_mixed_precision_the_parts_are_the_whole(
    last, training, settle, assert_same
):
    inputs = keras.Input(SHAPE)
    # In full precision, but after the conversion to float16 at the backbone's input.
    x = layers.Rescaling(3.0, dtype="float32")(inputs)
    u = layers.Conv2D(8, 3, padding="same", use_bias=False, dtype="float32")(x)
    u = layers.ReLU()(layers.BatchNormalization()(u))
    v = layers.Conv2D(8, 3, padding="same", activation="swish")(u)
    v = excited(layers.BatchNormalization()(v), 8)
    x = layers.Conv2D(8, 3)(layers.ReLU()(layers.Add()([u, v])))
    model = create_model(
        keras.Model(inputs, x, name="mixed"), 2, input_shape=SHAPE, dropout=0.3
    )
    settle(model)
    unfreeze(model, last=last)
    for policy in POLICIES:
        divided = split(model, training=training, policy=policy)
        assert "float16" in {x.dtype for x in divided.cut}
        assert_same(model, divided, training=training)
