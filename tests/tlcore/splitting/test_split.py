"""Split: cuts and their sizes, what is refused, and augmentation split off."""

import keras
import numpy as np
import pytest

from tlcore.augmentation import AUGMENTATIONS
from tlcore.backbones.inference import Backbone
from tlcore.freezing import unfreeze
from tlcore.models import create_model, load_model
from tlcore.splitting.graph import UnsplittableError, unroll
from tlcore.splitting.part import Prefix
from tlcore.splitting.split import FLOPS_PER_BYTE, POLICIES, split, split_augmentation

layers = keras.layers

SHAPE = (8, 8, 3)


def conv(filters=4, kernel_size=3, **options):
    own = {"padding": "same", "trainable": False, **options}
    return layers.Conv2D(filters, kernel_size, **own)


def small(*stages, shape=SHAPE):
    """Return a model of layers one after the other, and a head that trains."""
    inputs = x = keras.Input(shape)
    for stage in stages:
        x = stage(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def names(steps):
    return [step.name for step in steps]


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
        model = small(conv(16, kernel_size=1), shape=(256, 256, 3))
        keep = model.layers[1]
        model = keras.Model(model.inputs, layers.Conv2D(2, 3)(keep.output))
        with pytest.raises(UnsplittableError, match="cost less than reading"):
            split(model, policy="smallest")
        assert split(model, policy="boundary").name == keep.name

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


@pytest.mark.tensorflow
def test_a_layer_that_tensorflow_may_merge_with_the_next_is_no_cut():
    first = layers.Conv2D(4, 3, activation="gelu", trainable=False)
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), first, layers.UnitNormalization()]
    )
    network.add(layers.LayerNormalization())
    with pytest.raises(UnsplittableError, match="TensorFlow may merge its last frozen"):
        split(network)


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
            (around, "the images bypass"),
            (
                lambda: small(conv(name="c", activity_regularizer="l2")),
                "'c' adds to the loss",
            ),
            (
                lambda: small(
                    layers.BatchNormalization(center=False, scale=False, name="bn"),
                    conv(),
                ),
                "'bn' updates its statistics",
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
                    layers.Flatten()(
                        layers.Embedding(9, 2, name="e", trainable=False)(x)
                    ),
                ),
                "'e' may produce a mask",
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

    def test_an_unknown_policy(self):
        with pytest.raises(ValueError, match="boundary, smallest. Received: policy='x"):
            split(small(conv()), policy="x")


def test_splitting_leaves_the_model_as_it_was(tmp_path, images, assert_same):
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

    before = picture()
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    augmentation, graph = split_augmentation(model)
    for policy in POLICIES:
        divided = split(graph, policy=policy)
        assert_same(model, split(model, training=False, policy=policy), training=False)
        divided.suffix(Prefix(divided.prefix, SHAPE)(images), training=True)
    augmentation.prefix([images], training=True)
    assert picture() == before
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert np.array_equal(again(images, training=False), expected)


class TestSplittingAugmentationOff:
    def network(self):
        convolution = layers.Conv2D(4, 3, name="conv")
        return keras.Sequential([keras.Input(SHAPE), convolution], name="tiny")

    def model(self, augmentation):
        return create_model(
            self.network(), 2, input_shape=SHAPE, augmentation=augmentation
        )

    def around(self):
        images = keras.Input(SHAPE)
        x = layers.Concatenate()([images, layers.RandomFlip()(images)])
        return keras.Model(images, layers.Conv2D(2, 3)(x))

    def forked(self):
        images = keras.Input(SHAPE)
        u, v = layers.RandomFlip()(images), layers.RandomBrightness(0.1)(images)
        u, v = (layers.Conv2D(2, 3)(x) for x in (u, v))
        return keras.Model(images, layers.Add()([u, v]))

    def behind(self):
        images = keras.Input(SHAPE)
        x = layers.RandomFlip()(layers.Conv2D(2, 3)(images))
        return keras.Model(images, x)

    @pytest.mark.parametrize("kind", ["forked", "behind"])
    def test_random_layers_that_are_not_the_first(self, kind):
        with pytest.raises(UnsplittableError, match="first layers are not random"):
            split_augmentation(getattr(self, kind)())

    def test_a_model_without_augmentation(self):
        with pytest.raises(UnsplittableError, match="first layers are not random"):
            split_augmentation(self.model(None))

    def test_images_that_go_around_the_random_layers(self):
        with pytest.raises(UnsplittableError, match="first layers are not random"):
            split_augmentation(self.around())

    def test_the_rest_of_the_model_is_what_follows_the_augmentation(self, images):
        model = self.model("tutorial")
        augmentation, rest = split_augmentation(model)
        kinds = [type(step.operation) for step in augmentation.prefix.steps]
        assert kinds == [type(layer) for layer in AUGMENTATIONS["tutorial"]()]
        assert [step.name for step in rest.steps] == ["conv", "pool", "classifier"]
        (outputs,) = augmentation.suffix([images], training=True)
        expected = model(images, training=False)
        assert np.array_equal(*map(keras.ops.convert_to_numpy, (outputs, expected)))
