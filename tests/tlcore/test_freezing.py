"""Freezing: counts, plans and fingerprints."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.backbones.weights import fingerprint
from tlcore.freezing import freeze, frozen_fingerprint, trainable_summary, unfreeze
from tlcore.models import create_model

SHAPE = (32, 32, 3)


def tiny(**options):
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Conv2D(4, 3, name="last_conv"),
        ],
        name="tiny",
    )
    return create_model(network, 2, input_shape=SHAPE, **options)


@functools.cache
def fresh_plan(last, batch_norm):
    return unfreeze(tiny(), last=last, batch_norm=batch_norm)


@pytest.fixture(scope="module")
def model_0():
    # The size of images changes no count.
    return create_model("efficientnet_b0", 10, weights=None, input_shape=SHAPE)


class TestPublishedCounts:
    """What the tutorials print."""

    def test_model_0_frozen(self, model_0):
        freeze(model_0)
        counts = trainable_summary(model_0)
        assert counts.total_params == 4_062_381
        assert counts.trainable_params == 12_810
        assert counts.non_trainable_params == 4_049_571
        assert counts.trainable_tensors == 2
        assert counts.non_trainable_tensors == 312

    def test_the_last_10_of_model_0_are_12_tensors_and_freezing_brings_back_2(
        self, model_0
    ):
        plan = unfreeze(model_0, last=10)
        assert len(model_0.trainable_variables) == 12
        assert plan.counts == trainable_summary(model_0)
        assert plan.counts.trainable_params == 906_042
        assert sum(layer.params for layer in plan.unfrozen) == 893_232
        assert freeze(model_0).counts.trainable_tensors == 2

    def test_vgg16_with_a_dense_head_goes_from_30_tensors_to_4(self):
        model = create_model(
            "vgg16", 1, weights=None, input_shape=(150, 150, 3), head="dense"
        )
        assert unfreeze(model, last=19).counts.trainable_tensors == 30
        assert freeze(model).counts.trainable_tensors == 4

    @pytest.mark.matrix
    def test_resnet50_v2_with_ten_classes(self):
        model = create_model("resnet50_v2", 10, weights=None, input_shape=SHAPE)
        assert trainable_summary(model).total_params == 23_585_290


@given(st.integers(0, 237))
@settings(max_examples=20, deadline=None)
def test_freeze_after_unfreeze_is_where_it_began(model_0, last):
    before = freeze(model_0)
    plan = unfreeze(model_0, last)
    assert plan.last == last
    assert plan.counts.trainable_tensors == 2 + sum(x.tensors for x in plan.unfrozen)
    assert freeze(model_0) == before


@given(st.integers(0, 236))
@settings(max_examples=20, deadline=None)
def test_unfreezing_more_layers_never_trains_less(model_0, last):
    fewer = unfreeze(model_0, last).counts.trainable_params
    assert unfreeze(model_0, last + 1).counts.trainable_params >= fewer


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 4),
    st.booleans(),
)
def test_what_was_unfrozen_before_makes_no_difference(before, last, batch_norm):
    # On TensorFlow `layer.trainable = True` does nothing where it already is True,
    # not even to the layers within.
    model = tiny()
    for earlier, earlier_batch_norm in before:
        unfreeze(model, last=earlier, batch_norm=earlier_batch_norm)
    again = unfreeze(model, last=last, batch_norm=batch_norm)
    assert again == fresh_plan(last, batch_norm)


def test_unfreezing_nothing_is_feature_extraction():
    model = tiny()
    assert unfreeze(model, 0) == freeze(model)


def test_unfreezing_all_layers_trains_all_but_the_statistics():
    plan = unfreeze(tiny(), 4)
    assert [layer.name for layer in plan.unfrozen] == ["conv", "bn", "last_conv"]
    assert plan.counts.non_trainable_tensors == 2


def test_batch_norm_can_stay_frozen():
    plan = unfreeze(tiny(), 4, batch_norm=False)
    assert [layer.name for layer in plan.unfrozen] == ["conv", "last_conv"]
    assert not plan.batch_norm


def test_a_bare_backbone_can_be_frozen_and_unfrozen():
    network = tiny().get_layer("tiny").network
    assert freeze(network).counts.trainable_tensors == 0
    assert unfreeze(network, 1).counts.trainable_tensors == 2


def test_the_plan_reads_as_a_summary():
    text = str(unfreeze(tiny(), 1))
    assert text.startswith("tiny: 1 of 4 layers unfrozen; 158 of ")
    assert text.endswith("  last_conv (Conv2D): 148 in 2")


@pytest.mark.parametrize("last", [-1, 5, 1000])
def test_last_beyond_the_layers_is_refused(last):
    message = rf"at least 0 and at most 4, the layers of tiny.*Received: last={last}\."
    with pytest.raises(ValueError, match=message):
        unfreeze(tiny(), last)


@pytest.mark.parametrize("last", [2.0, "2", True])
def test_last_that_is_no_number_of_layers_is_refused(last):
    with pytest.raises(ValueError, match=f"last must be a whole.*last={last!r}"):
        unfreeze(tiny(), last)


def test_a_model_of_two_backbones_is_refused():
    inputs = keras.Input(SHAPE)
    second = keras.models.clone_model(tiny())
    second.name = "second"
    merged = keras.layers.Add()([tiny()(inputs), second(inputs)])
    with pytest.raises(ValueError, match="must hold one backbone"):
        freeze(keras.Model(inputs, merged))


class TestFingerprint:
    def test_frozen_weights_and_statistics_are_unchanged_by_fit(self):
        model = tiny(dropout=0.5, augmentation="tutorial")
        unfreeze(model, 3)
        model.compile("adam", "sparse_categorical_crossentropy")
        rng = np.random.default_rng(0)
        images = rng.uniform(0, 255, (16, *SHAPE))
        frozen = frozen_fingerprint(model)
        trained = fingerprint(model.trainable_variables)
        model.fit(images, rng.integers(0, 2, 16), epochs=2, verbose=0)
        assert frozen_fingerprint(model) == frozen
        assert fingerprint(model.trainable_variables) != trained

    @pytest.mark.parametrize("at", [0, 1, 4, 5])
    def test_one_bit_of_any_frozen_variable_changes_it(self, at):
        model = tiny()
        before = frozen_fingerprint(model)
        variable = model.get_layer("tiny").weights[at]
        value = np.array(variable)
        value.flat[0] = np.nextafter(value.flat[0], np.float32(10))
        variable.assign(value)
        assert frozen_fingerprint(model) != before

    def test_it_depends_on_shapes_and_order_and_not_on_names(self):
        a, b = np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")
        assert fingerprint([a, b]) != fingerprint([b, a])
        assert fingerprint([a]) != fingerprint([a.reshape(3, 2)])
        twin = keras.models.clone_model(tiny())
        assert len(frozen_fingerprint(twin)) == 64
