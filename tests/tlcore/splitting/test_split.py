"""Splitting: cuts and their sizes, what is refused, and the whole against its parts."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcore.backbones.inference import Backbone
from tlcore.freezing import unfreeze
from tlcore.models import create_model, load_model
from tlcore.splitting.graph import UnsplittableError, calls_keep_their_training, unroll
from tlcore.splitting.part import Prefix
from tlcore.splitting.split import FLOPS_PER_BYTE, POLICIES, split, split_augmentation

layers, ops = keras.layers, keras.ops

SHAPE = (8, 8, 3)
BATCH, BLOCK = 4, 32
"""Images of a training step, and of a batch of the feature pass."""


def frozen(layer):
    layer.trainable = False
    return layer


def conv(filters=4, **options):
    return frozen(layers.Conv2D(filters, 3, padding="same", **options))


def small(*stages, shape=SHAPE):
    """Return a model of layers one after the other, and a head that trains."""
    inputs = x = keras.Input(shape)
    for stage in stages:
        x = stage(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def names(steps):
    return [step.name for step in steps]


@pytest.fixture(scope="module")
def efficientnet():
    return create_model("efficientnet_b0", 3, weights=None, input_shape=(64, 64, 3))


class TestCuts:
    """Where the cut is, and how large."""

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        ("last", "policy", "name", "shapes"),
        [
            (0, "boundary", "pool", [(1280,)]),
            (0, "smallest", "pool", [(1280,)]),
            (
                10,
                "boundary",
                "block7a_activation + block7a_se_reshape",
                [(2, 2, 1152), (1, 1, 1152)],
            ),
            (10, "smallest", "block6d_add", [(2, 2, 192)]),
        ],
    )
    def test_of_efficientnet(self, efficientnet, last, policy, name, shapes, training):
        unfreeze(efficientnet, last=last)
        divided = split(efficientnet, training=training, policy=policy)
        assert divided.name == name
        assert sorted(x.shape for x in divided.cut) == sorted(shapes)
        assert divided.nbytes == 4 * sum(int(np.prod(shape)) for shape in shapes)

    @pytest.mark.parametrize("last", [0, 3, 10, 40, 120, 200])
    def test_the_smallest_never_costs_more_than_the_latest(self, efficientnet, last):
        unfreeze(efficientnet, last=last)
        graph = unroll(efficientnet)
        latest, smallest = (split(graph, policy=policy) for policy in POLICIES)
        again = set(latest.prefix.steps) - set(smallest.prefix.steps)
        cost = smallest.nbytes * FLOPS_PER_BYTE + sum(step.flops for step in again)
        assert cost <= latest.nbytes * FLOPS_PER_BYTE

    def test_features_that_cost_more_to_read_than_to_compute_are_not_cut(self):
        model = small(frozen(layers.Conv2D(16, 1)), shape=(256, 256, 3))
        keep = model.layers[1]
        model = keras.Model(model.inputs, layers.Conv2D(2, 3)(keep.output))
        with pytest.raises(UnsplittableError, match="cost less than reading"):
            split(model, policy="smallest")
        assert split(model, policy="boundary").name == keep.name

    @pytest.mark.parametrize(
        "joined",
        [
            lambda x, u: layers.Add()([x, u]),
            lambda x, u: layers.Multiply()([x, u]),
            lambda x, u: layers.Concatenate()([x, layers.BatchNormalization()(u)]),
            lambda x, u: layers.Concatenate()([x, layers.PReLU()(u)]),
        ],
    )
    @pytest.mark.parametrize("training", [True, False])
    def test_are_not_where_tensorflow_merges_two_steps(self, joined, training):
        inputs = keras.Input(SHAPE)
        x = layers.ReLU(name="relu")(conv(name="first")(inputs))
        u = frozen(layers.BatchNormalization(name="bn"))(conv(name="second")(x))
        trained = layers.Conv2D(4, 3, padding="same")(x)
        model = keras.Model(inputs, layers.Conv2D(2, 3)(joined(trained, u)))
        settle(model)
        divided = split(model, training=training, policy="boundary")
        assert divided.name == "relu + second"
        assert_same(model, divided, training=training)

    @pytest.mark.parametrize("wrap", [lambda model: model, Backbone])
    def test_a_model_within_a_model_is_cut_inside(self, wrap):
        inner = keras.Sequential(
            [
                keras.Input(SHAPE),
                conv(name="first"),
                layers.ReLU(name="relu"),
                layers.Conv2D(4, 3, name="second"),
            ]
        )
        inputs = keras.Input(SHAPE)
        functional = keras.Model(inputs, inner(inputs))
        for network in (inner, functional):
            assert split(small(wrap(network)), policy="boundary").name == "relu"


def around():
    inputs = keras.Input(SHAPE)
    trained = layers.Conv2D(4, 3, padding="same")(inputs)
    return keras.Model(inputs, layers.Concatenate()([trained, conv()(inputs)]))


def chain(last):
    inputs = keras.Input(SHAPE)
    x = layers.ReLU()(conv()(inputs))
    u, v = layers.ReLU()(conv()(x)), layers.ReLU()(conv()(x))
    x = layers.GlobalAveragePooling2D()(last(x, u, v))
    return keras.Model(inputs, layers.Dense(2)(x))


def twofold(x):
    return x + x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = frozen(layers.Dense(2))

    def call(self, tensor):
        return self.dense(tensor)


class TestRefusals:
    """Every model that cannot be cut, and why."""

    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            (lambda: small(layers.Conv2D(4, 3, name="first")), "'first' trains"),
            (
                lambda: small(layers.RandomFlip(name="flip"), conv()),
                "'flip' is random in training",
            ),
            (around, "the images go around its frozen layers"),
            (Subclassed, "neither functional nor sequential, or not built"),
            (lambda: keras.Sequential([conv()]), "or not built"),
            (
                lambda: small(conv(name="c", activity_regularizer="l2")),
                "'c' adds to the loss",
            ),
            (
                lambda: small(
                    layers.BatchNormalization(center=False, scale=False, name="bn"),
                    conv(),
                ),
                "'bn' moves its statistics in training",
            ),
            (lambda: small(layers.BatchNormalization(name="bn")), "'bn' trains"),
            (
                lambda: keras.Model(
                    (x := keras.Input((None, None, 3))), layers.Conv2D(2, 3)(conv()(x))
                ),
                "the size of its images is not fixed",
            ),
            (
                lambda: keras.Model(
                    (x := keras.Input(SHAPE)), layers.GlobalAveragePooling2D()(x)
                ),
                "it has no layer with weights",
            ),
            (
                lambda: keras.Model(
                    (x := keras.Input((4,))),
                    layers.Flatten()(frozen(layers.Embedding(9, 2, name="e"))(x)),
                ),
                "'e' may give a mask",
            ),
        ],
    )
    @pytest.mark.parametrize("policy", POLICIES)
    def test_with_the_reason(self, model, reason, policy):
        with pytest.raises(UnsplittableError, match=reason):
            split(model(), training=True, policy=policy)

    def test_what_only_training_hinders_is_cut_in_evaluation(self):
        free = {"center": False, "scale": False}
        model = small(
            layers.RandomFlip(), layers.BatchNormalization(**free), conv(name="c")
        )
        divided = split(model, training=False, policy="boundary")
        assert "c" in names(divided.prefix.steps)

    @pytest.mark.parametrize(
        ("last", "reason"),
        [
            (lambda x, u, v: layers.Add()([x, u, v]), "sum of three terms"),
            (lambda x, u, v: x + u + v, "sum of three terms"),
            (
                lambda x, u, v: layers.Add()([x, layers.Dropout(0.5)(u + v)]),
                "sum of three terms",
            ),
            (lambda x, u, v: (u + v) + 0.3, "a number and two tensors"),
            (lambda x, u, v: u * v * 0.3, "a number and two tensors"),
            (lambda x, u, v: u * (v / 3.0), "a number and two tensors"),
            (lambda x, u, v: layers.Rescaling(0.3)(u * v), "a number and two"),
            (lambda x, u, v: layers.Activation("hard_swish")(x), "a number and two"),
            (lambda x, u, v: ops.hard_silu(x), "a number and two tensors"),
            (lambda x, u, v: twofold(u + v), "sum of three terms"),
            (
                lambda x, u, v: (
                    x + layers.DepthwiseConv2D(3, padding="same", name="d")(u)
                ),
                "adds to a depthwise convolution",
            ),
        ],
    )
    def test_where_tensorflow_orders_a_calculation_by_its_names(self, last, reason):
        with pytest.raises(UnsplittableError, match=reason):
            split(chain(last), training=False)

    def test_a_scaled_product_is_refused_only_where_the_scale_acts(self):
        model = chain(lambda x, u, v: layers.Dropout(0.5)(layers.Multiply()([u, v])))
        with pytest.raises(UnsplittableError, match="'dropout.*a number and two"):
            split(model, training=True)
        assert split(model, training=False, policy="boundary").cut

    def test_an_unknown_policy(self):
        with pytest.raises(ValueError, match="boundary, smallest. Received: policy='x"):
            split(small(conv()), policy="x")


class TestCallsWithTraining:
    """`base(x, training=False)` in a plain functional model, which `fit` may ignore."""

    def model(self):
        inputs = keras.Input(SHAPE)
        x = layers.Dropout(0.5, name="drop")(conv(name="first")(inputs))
        base = keras.Model(inputs, conv(name="second")(x))
        images = keras.Input(SHAPE)
        x = layers.GlobalAveragePooling2D()(base(images, training=False))
        return keras.Model(images, layers.Dense(2)(x))

    def test_a_dropout_that_acts_in_fit_is_behind_the_cut(self):
        model = self.model()
        images = pictures()
        passes = [np.array(model(images, training=True)) for _ in range(2)]
        acts = not np.array_equal(*passes)
        assert acts != calls_keep_their_training()
        divided = split(model, training=True, policy="boundary")
        assert ("drop" in names(divided.prefix.steps)) != acts
        assert_same(model, divided, training=True)

    def test_in_evaluation_it_is_before_the_cut(self):
        divided = split(self.model(), training=False, policy="boundary")
        assert {"first", "drop", "second"} <= set(names(divided.prefix.steps))


def net(
    *,
    stride=1,
    activation="relu",
    crossed=False,
    units=2,
    last_trains=True,
    seed=1,
    initializer="zeros",
    regularizer=None,
    middle=None,
):
    """Return a network with a branch, each weight a number of its own."""
    options = {"kernel_initializer": initializer, "kernel_regularizer": regularizer}
    inputs = keras.Input(SHAPE)
    x = conv(3, strides=stride, activation=activation, **options)(inputs)
    x = layers.Dropout(0.5, seed=seed)(x)
    x = middle(x) if middle else x
    u = conv(3, **options)(x)
    v = layers.MaxPooling2D(1)(u)
    x = layers.Concatenate()([v, u] if crossed else [u, v])
    x = layers.Conv2D(3, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(units)(x))
    rng = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(rng.uniform(-1, 1, weight.shape))
    model.layers[-3].trainable = last_trains
    return model


def fingerprint_of(**options):
    model = net(**options)
    # Cut before the last convolution, whether or not it trains.
    graph = unroll(model)
    cut = next(s for s in graph.steps if s.name.startswith("concatenate")).outputs
    divided = split(graph, training=False, policy="boundary")
    assert options.get("last_trains") is False or divided.cut[0].name in names(
        s for s in graph.steps if s.outputs == cut
    )
    return divided.fingerprint


class Indescribable(keras.Layer):
    def __init__(self, thing):
        super().__init__()
        self.thing = thing

    def call(self, tensor):
        return ops.relu(tensor)


def shifting(*, further):
    """Return a layer of a class that only its code tells from another."""

    class Foreign(keras.Layer):
        if further:

            def call(self, tensor):
                return keras.ops.relu(tensor - 2.0)
        else:

            def call(self, tensor):
                return keras.ops.relu(tensor - 1.0)

    return Foreign()


class TestFingerprint:
    def test_is_the_same_under_other_names_and_before_another_head(self):
        assert fingerprint_of() == fingerprint_of()
        assert fingerprint_of(units=5) == fingerprint_of()

    @pytest.mark.parametrize(
        "options",
        [
            {"seed": 2},
            {"initializer": "ones"},
            {"regularizer": "l2"},
        ],
    )
    def test_does_not_hear_what_makes_no_difference(self, options):
        assert fingerprint_of(**options) == fingerprint_of()

    def test_does_not_depend_on_what_trains_behind_it(self, efficientnet):
        graphs = []
        for last in (10, 7):
            unfreeze(efficientnet, last=last)
            graphs.append(split(efficientnet, policy="smallest"))
        assert graphs[0].name == graphs[1].name
        assert graphs[0].fingerprint == graphs[1].fingerprint

    def test_does_not_hear_trainable_flags(self):
        model = net()
        before = split(model, training=False, policy="boundary").fingerprint
        model.layers[2].trainable = False  # the Dropout, which has no weights
        assert split(model, training=False, policy="boundary").fingerprint == before

    @pytest.mark.parametrize(
        "options",
        [
            {"stride": 2},
            {"activation": "linear"},
            {"crossed": True},
            {"middle": layers.ReLU(0.5)},
        ],
    )
    def test_hears_every_other_change(self, options):
        assert fingerprint_of(**options) != fingerprint_of()

    def test_hears_one_bit_of_any_weight_of_the_prefix(self):
        model = net()
        divided = split(model, training=False, policy="boundary")
        seen = {divided.fingerprint}
        for weight in divided.prefix.weights:
            value = np.array(weight)
            value.flat[-1] = np.nextafter(value.flat[-1], np.float32(9))
            weight.assign(value)
            seen.add(split(model, training=False, policy="boundary").fingerprint)
        assert len(seen) == 1 + len(divided.prefix.weights)

    def test_hears_the_code_of_a_foreign_layer(self):
        one, other, same = (
            fingerprint_of(middle=shifting(further=further))
            for further in (False, True, False)
        )
        assert one == same
        assert one != other

    def test_hears_the_code_of_a_function_that_a_layer_is_given(self):
        def halved(tensor):
            return tensor / 2

        def doubled(tensor):
            return tensor * 2

        doubled.__name__ = halved.__name__
        with keras.saving.custom_object_scope({"halved": halved}):
            one, other, same = (
                fingerprint_of(middle=layers.Activation(function))
                for function in (halved, doubled, halved)
            )
        assert one == same
        assert one != other

    def test_refuses_a_lambda(self):
        with pytest.raises(UnsplittableError, match="is a Lambda, whose code"):
            fingerprint_of(middle=layers.Lambda(keras.ops.relu, output_shape=SHAPE))

    def test_refuses_a_layer_that_cannot_be_described(self):
        with pytest.raises(UnsplittableError, match="give it a get_config"):
            fingerprint_of(middle=Indescribable(object()))


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.DTypePolicy("mixed_float16"))
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [0, 2, 5])
def test_under_mixed_precision_the_parts_are_the_whole(mixed_precision, last, training):
    inputs = keras.Input(SHAPE)
    # In full precision, but behind the conversion where the backbone begins.
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


def test_splitting_leaves_the_model_as_it_was(tmp_path):
    base = keras.Sequential([keras.Input(SHAPE), conv(), layers.ReLU(), conv()])
    model = create_model(base, 2, input_shape=SHAPE, augmentation="tutorial")
    unfreeze(model, last=1)

    def picture():
        lines = []
        model.summary(print_fn=lines.append, expand_nested=True)
        tree = [model, *model._flatten_layers(include_self=False)]
        nodes = [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in tree]
        variables = [v.path for v in model.variables]
        return lines, nodes, variables, [x.output.shape for x in model.layers]

    before, images = picture(), pictures()
    told = np.array(model(images, training=False))
    augmentation, graph = split_augmentation(model)
    for policy in POLICIES:
        divided = split(graph, policy=policy)
        assert_same(model, split(model, training=False, policy=policy), training=False)
        divided.suffix(Prefix(divided.prefix, SHAPE)(images), training=True)
    augmentation.prefix([images], training=True)
    assert picture() == before
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert np.array_equal(again(images, training=False), told)


# What follows draws models. Sizes are whole numbers of the processor's packets of 16:
# elsewhere kernels such as that of sigmoid round by an element's place in the batch.


def pictures():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (BLOCK, *SHAPE)).astype("float32")


def settle(model):
    """Give the weights that begin as zeros and ones other numbers."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.3, 1.2, weight.shape))


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
    # Of a value x, another of the same shape y and a number b, the values that follow.
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
    """A model to be: what follows what, and what of it is frozen."""

    moves: tuple[tuple[str, int, int], ...]
    head: str
    boundary: int
    exceptions: frozenset[int]

    def model(self):
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


def outcome(run, model, tensors, *, training):
    """Return the bits of what a forward pass and a training step leave behind.

    As in `fit`: in a graph, for batches of any size, every state as it was before.
    """
    variables = model.trainable_variables
    before = [np.copy(variable) for variable in model.variables]

    def forward(inputs):
        return keras.tree.flatten(run(inputs, training=training))

    def step(inputs):
        with tf.GradientTape() as tape:
            outputs = forward(inputs)
            squares = [ops.square(ops.cast(x, "float32")) for x in outputs]
            loss = sum(ops.mean(x) for x in squares)
        moved = zip(variables, tape.gradient(loss, variables), strict=True)
        return outputs, [x for _, x in moved if x is not None]

    signature = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in tensors]
    bits = []
    for function in (forward, step) if variables else (forward,):
        graph = tf.function(function, input_signature=[signature], autograph=False)
        results = tf.nest.flatten(graph(list(tensors)))
        state = [np.array(variable) for variable in model.variables]
        bits.append([np.array(x).tobytes() for x in (*results, *state)])
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    return bits


def assert_same(model, divided, *, training):
    images = pictures()
    cut = Prefix(divided.prefix, SHAPE)(images)
    parts = outcome(divided.suffix, model, [x[:BATCH] for x in cut], training=training)
    whole = outcome(
        lambda inputs, training: model(inputs[0], training=training),
        model,
        [images[:BATCH]],
        training=training,
    )
    assert parts == whole


def check_that_the_parts_are_the_whole(sketch, training, policy):
    model = sketch.model()
    try:
        divided = split(model, training=training, policy=policy)
    except UnsplittableError:
        return
    assert divided.prefix.trainable_variables == []
    assert divided.prefix.weights
    trained = {id(variable) for variable in divided.suffix.trainable_variables}
    assert trained == {id(variable) for variable in model.trainable_variables}
    assert_same(model, divided, training=training)


FOUND = [
    # Models whose parts once were not the whole, as they were drawn.
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


@pytest.mark.parametrize(("moves", "head", "training"), FOUND)
@pytest.mark.parametrize("boundary", [1, 12])
def test_prefix_then_suffix_is_the_whole_where_it_once_was_not(
    moves, head, training, boundary
):
    for policy in POLICIES:
        sketch = Sketch(tuple(moves), head, boundary, frozenset({1} - {boundary}))
        check_that_the_parts_are_the_whole(sketch, training, policy)


drawn = given(SKETCHES, st.booleans(), st.sampled_from(POLICIES))
UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@drawn
@settings(max_examples=12, derandomize=True, **UNHURRIED)
def test_prefix_then_suffix_is_the_whole_bit_for_bit(sketch, training, policy):
    check_that_the_parts_are_the_whole(sketch, training, policy)


@pytest.mark.slow
@drawn
@settings(max_examples=200, **UNHURRIED)
def test_prefix_then_suffix_is_the_whole_on_many_graphs(sketch, training, policy):
    check_that_the_parts_are_the_whole(sketch, training, policy)
