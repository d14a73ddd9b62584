"""Layer rates: factors by layer, in every optimizer, cached, saved and resumed."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.freezing import find_backbone
from tlcore.optimizing.layer_rates import layer_factors, with_layer_rates

HEAD = "classifier"
RARE = [
    keras.optimizers.RMSprop,
    keras.optimizers.Adadelta,
    keras.optimizers.Adagrad,
    keras.optimizers.Adamax,
    keras.optimizers.Adafactor,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
    keras.optimizers.Lamb,
]
KINDS = [
    keras.optimizers.SGD,
    keras.optimizers.AdamW,
    *(pytest.param(kind, marks=pytest.mark.matrix) for kind in RARE),
]


class OwnSGD(keras.optimizers.SGD):
    """An optimizer that a user wrote."""


def moved(optimizer, weights=((1.0, 2.0), (3.0, -1.0), (0.5, 0.25)), steps=3):
    """Return two-element variables after some steps of an optimizer."""
    variables = [keras.Variable(np.array(w, "float32")) for w in weights]
    optimizer.build(variables)
    for step in range(steps):
        gradients = [
            keras.ops.convert_to_tensor(np.array([0.5 + step, i - 0.7], "float32"))
            for i in range(len(variables))
        ]
        optimizer.apply(gradients, variables)
    return [keras.ops.convert_to_numpy(v) for v in variables]


@pytest.mark.parametrize("kind", [*KINDS, OwnSGD])
def test_half_of_the_rate_everywhere_is_half_the_rate(kind):
    decay = {"weight_decay": 0.25}
    half = moved(kind(learning_rate=0.25, **decay))
    found = moved(with_layer_rates(kind(learning_rate=0.5, **decay), [0.5] * 3))
    np.testing.assert_array_equal(found, half)


@pytest.mark.parametrize("kind", KINDS)
def test_each_variable_is_updated_as_by_an_optimizer_of_its_rate(kind):
    factors = (0.5, 1.0, 0.25)
    found = moved(with_layer_rates(kind(learning_rate=0.5), factors))
    for i, factor in enumerate(factors):
        alone = moved(kind(learning_rate=0.5 * factor))
        np.testing.assert_array_equal(found[i], alone[i])
    assert not np.array_equal(found[0], moved(kind(learning_rate=0.5))[0])


def test_the_sum_of_gradients_of_several_steps_has_the_rates_too():
    options = {"learning_rate": 0.5, "gradient_accumulation_steps": 2}
    found = moved(with_layer_rates(keras.optimizers.SGD(**options), (0.5, 1, 1)))
    plain = moved(keras.optimizers.SGD(**options))
    half = moved(keras.optimizers.SGD(**{**options, "learning_rate": 0.25}))
    np.testing.assert_array_equal(found, [half[0], *plain[1:]])


@pytest.mark.parametrize("kind", [keras.optimizers.Nadam, keras.optimizers.Muon])
def test_an_optimizer_of_all_variables_at_once_is_refused(kind):
    match = rf"updates each variable by itself.*optimizer={kind.__name__}\. Take Adam"
    with pytest.raises(ValueError, match=match):
        with_layer_rates(kind(learning_rate=0.1), [1.0])


@pytest.fixture
def unfrozen(tiny):
    model = tiny()
    tl.unfreeze(model, last=3)
    return model


def by_layer(model, rates):
    """Return the factors by the name of the layer."""
    factors = layer_factors(model, rates)
    names = {
        id(variable): layer.name
        for layer in [*find_backbone(model)[1].layers, model.get_layer(HEAD)]
        for variable in layer.trainable_variables
    }
    places = [names[id(variable)] for variable in model.trainable_variables]
    return dict(zip(places, factors, strict=True))


def test_a_number_is_the_factor_of_the_lowest_layer_from_which_they_rise(unfrozen):
    network = find_backbone(unfrozen)[1]
    layers = [layer.name for layer in network.layers if layer.trainable_variables]
    found = by_layer(unfrozen, 0.01)
    expected = [0.01 ** ((len(layers) - i) / len(layers)) for i in range(len(layers))]
    assert [found[name] for name in layers] == pytest.approx(expected)
    assert found[HEAD] == 1
    assert expected == sorted(expected)


def test_of_names_and_patterns_the_last_that_fits_counts(unfrozen):
    network = find_backbone(unfrozen)[1]
    names = [layer.name for layer in network.layers if layer.trainable_variables]
    assert names == ["bn", "second"]
    found = by_layer(unfrozen, {"backbone": 0.5, "sec?nd": 0.25, "head": 2})
    assert found == {"bn": 0.5, "second": 0.25, HEAD: 2}
    assert by_layer(unfrozen, {HEAD: 3}) == {"bn": 1, "second": 1, HEAD: 3}


def test_a_backbone_without_a_head_has_them_too(tiny):
    network = find_backbone(tiny())[1]
    tl.unfreeze(network, last=3)
    assert set(layer_factors(network, {"backbone": 0.5})) == {0.5}


@pytest.mark.parametrize(
    ("rates", "match"),
    [
        (0, r"layer_rates must be a positive number.*layer_rates=0"),
        (2, r"at most 1, the factor of the lowest.*layer_rates=2.0.*learning_rate"),
        ("0.1", r"positive number. Received: layer_rates='0.1'"),
        ({"backbone": 0}, r"layer_rates\['backbone'\] must be a positive number"),
        ({"backbon": 1}, r"layer_rates must be a pattern.*Did you mean 'backbone'"),
        ({"zz*": 1}, r"layer_rates must be a pattern"),
    ],
)
def test_what_are_no_rates_is_refused(unfrozen, rates, match):
    with pytest.raises(ValueError, match=match):
        layer_factors(unfrozen, rates)


def test_the_backbone_has_no_rate_where_it_is_frozen(tiny):
    with pytest.raises(ValueError, match=r"Layers with rates must train.*'backbone'"):
        layer_factors(tiny(), {"backbone": 0.1})


OPTIONS = {
    "stages": [2, "all"],
    "layer_rates": 0.1,
    "learning_rate": 0.01,
    "optimizer": "adamw",
    "epochs": 2,
    "verbose": 0,
}


def trained(tiny, train, **more):
    keras.utils.set_random_seed(3)
    model = tiny(dropout=0.2)
    history = tl.fine_tune(model, train, **{**OPTIONS, **more})
    return [w.copy() for w in model.get_weights()], history


def test_stages_and_rates_train_to_the_same_bits_from_the_cache(
    tiny, train, deterministic_operations
):
    lines = []
    (cached, history) = trained(tiny, train, say=lines.append)
    (end_to_end, _) = trained(tiny, train, cache="off")
    for one, other in zip(cached, end_to_end, strict=True):
        np.testing.assert_array_equal(one, other)
    assert history.epoch == [0, 1, 2, 3]
    assert len(history.history["loss"]) == 4
    assert "cached at" in lines[0]


@pytest.mark.matrix
def test_and_go_on_from_the_middle_of_a_stage(
    tiny, train, tmp_path, deterministic_operations
):
    whole, _ = trained(tiny, train)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(tiny, train, state=tmp_path / "s", callbacks=[Stop()])
    assert sorted(x.name for x in (tmp_path / "s").iterdir()) == ["last_2", "last_all"]
    keras.utils.set_random_seed(8)
    model = tiny(dropout=0.2)
    history = tl.resume(model, tmp_path / "s" / "last_all", train, epochs=4, verbose=0)
    for one, other in zip(whole, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history.epoch == [2, 3]


@pytest.mark.matrix
@pytest.mark.parametrize(
    "kind",
    [
        keras.optimizers.Adam,
        pytest.param(keras.optimizers.SGD, marks=pytest.mark.matrix),
    ],
)
def test_a_saved_model_trains_on_with_its_rates(tiny, train, tmp_path, kind):
    keras.utils.set_random_seed(3)
    model = tiny()
    tl.fine_tune(
        model, train, last=2, layer_rates=0.1, optimizer=kind(0.01), epochs=1, verbose=0
    )
    model.save(tmp_path / "model.keras")
    again = tl.load_model(tmp_path / "model.keras")
    assert again.optimizer.factors == model.optimizer.factors
    assert type(again.optimizer).__name__ == f"LayerRates{kind.__name__}"
    for one in (model, again):
        tl.fit(one, train, epochs=2, initial_epoch=1, verbose=0, cache="off")
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_callback_sets_the_rate_of_the_phase_and_all_follow(tiny, train):
    class Halve(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01 / 2**epoch

    model = tiny()
    tl.fine_tune(
        model,
        train,
        last=2,
        layer_rates={"backbone": 0.5},
        learning_rate=0.01,
        epochs=2,
        callbacks=[Halve()],
        verbose=0,
    )
    config = keras.saving.serialize_keras_object(model.optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert float(again.learning_rate) == pytest.approx(0.005)
    assert again.factors == model.optimizer.factors


def test_an_optimizer_with_rates_of_other_layers_is_refused(tiny, train):
    optimizer = with_layer_rates(keras.optimizers.Adam(), [1.0, 0.5])
    with pytest.raises(ValueError, match=r"made for.*variables for 2 rates"):
        tl.fine_tune(tiny(), train, last=3, optimizer=optimizer, epochs=1, verbose=0)


def test_layers_keep_to_their_factors_in_training(tiny, train):
    keras.utils.set_random_seed(3)
    model = tiny()
    options = {"last": 3, "optimizer": "sgd", "learning_rate": 0.125, "epochs": 1}
    before = [w.copy() for w in model.get_weights()]
    arrays = np.concatenate([x for x, _ in train.dataset()])[:4], train.labels[:4]
    arrays = arrays[0], np.eye(3, dtype="float32")[np.asarray(arrays[1]) % 3]
    moves = []
    for rates in (None, {"backbone": 0.25}):
        model.set_weights(before)
        tl.fine_tune(model, arrays, layer_rates=rates, verbose=0, **options)
        names = [v.path for v in model.weights]
        moves.append(
            {
                name: after - then
                for name, then, after in zip(
                    names, before, model.get_weights(), strict=True
                )
            }
        )
    for name, whole in moves[0].items():
        factor = 1 if HEAD in name else 0.25
        np.testing.assert_allclose(moves[1][name], whole * factor, atol=1e-6)
    assert any(np.abs(x).max() > 1e-4 for n, x in moves[0].items() if HEAD not in n)
