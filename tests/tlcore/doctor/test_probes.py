"""Probes: each can say both words, and what the doctor prescribes cures."""

import random
import warnings

import keras
import numpy as np
import pytest

from tlcore.backbones.inference import Backbone
from tlcore.callbacks import BestCheckpoint
from tlcore.checks import check_compiled, check_flags, check_monitors
from tlcore.doctor import probes
from tlcore.doctor.examination import judge
from tlcore.doctor.questions import PROBES, find_probe
from tlcore.models import load_model

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

NAMES = [probe.name for probe in PROBES.values() if not probe.in_processes]

QUIET = {"shuffle": False, "verbose": 0}


def trial(name, *code):
    """Run an experiment on the code under test, by default on that of tutorials."""
    with probes.undisturbed():
        return getattr(probes, name.replace("-", "_"))(*code)


# Each defect as it is, whatever Keras makes of the tutorials' line.


def unfrozen_under_its_parent(base):
    base.trainable = False
    for layer in base.layers[-10:]:
        layer._trainable = True
        for variable in layer.variables:
            variable.trainable = True


def beside_a_layer_without_xla(augment, model):
    layer = keras.layers.Identity()
    layer.supports_jit = False
    return keras.Sequential([layer, model])


def nothing_selected(phases, model, path):
    for fit in phases:
        fit(callbacks=[])


def weights_without_optimizer(model, path):
    model.load_weights(path)
    model.compile("adam", "mse")


DEFECTS = {
    "training-argument": lambda base, x: base(x, training=True),
    "frozen-network": lambda base, x: base(x, training=True),
    "freezing-without-compile": lambda model, layer: None,
    "resuming-from-weights": weights_without_optimizer,
    "fit-after-restore": lambda model, x, y: model.fit(
        x, y, initial_epoch=2, epochs=2, **QUIET
    ),
    "unfreezing-under-frozen-parent": unfrozen_under_its_parent,
    "five-and-five": lambda history: len(history.epoch) - 1,
    "augmentation-and-xla": beside_a_layer_without_xla,
    "features-alone": lambda network, image: (
        network.predict_on_batch(np.stack([image, image]))[:1] + 1e-6
    ),
    "validation-steps": lambda model, train, validation: model.fit(
        train, validation_data=validation.take(2), verbose=0
    ),
    "rescaling-twice": lambda images: images / 255,
    "best-of-two-fits": nothing_selected,
}


FIRST = {"training-argument", "frozen-network", "five-and-five"}
"""Those that the default tests have; the others take seconds."""


def carry_out(code, **names):
    names |= {"keras": keras, "np": np}
    exec(code, names)
    return names


INFERENCE = PROBES["A1"].remedy.rpartition("\n")[0]


def augmented_data(code, augment):
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(4))).batch(4)
    ((changed, _),) = carry_out(code, augment=augment, data=data)["data"]
    assert np.abs(changed.numpy() - images).max() > 0.01


REMEDIES = {
    "training-argument": lambda code: (
        lambda base, x: carry_out(code, base=base, x=x)["x"]
    ),
    "frozen-network": lambda code: (
        lambda base, x: carry_out(f"{INFERENCE}\n{code}", base=base, x=x)["x"]
    ),
    "freezing-without-compile": lambda code: (
        lambda model, layer: carry_out(code, model=model, layer=layer)
    ),
    "resuming-from-weights": lambda code: (
        lambda model, path: carry_out(code, model=model, path=path)
    ),
    "fit-after-restore": lambda code: (
        lambda model, x, y: (
            carry_out(code, model=model),
            model.fit(x, y, epochs=2, **QUIET),
        )
    ),
    "unfreezing-under-frozen-parent": lambda code: (
        lambda base: carry_out(code, base=base)
    ),
    "five-and-five": lambda code: (
        lambda history: carry_out(code, history=history)["initial_epoch"]
    ),
    "wrong-monitor": lambda code: (
        lambda model, x, y, monitor: carry_out(
            code, model=model, x=x, y=y, monitor=monitor
        )
    ),
    "augmentation-and-xla": lambda code: (
        lambda augment, model: augmented_data(code, augment) or model
    ),
    "features-alone": lambda code: (
        lambda network, image: carry_out(code, network=network, image=image)["features"]
    ),
    "validation-steps": lambda code: (
        lambda model, train, validation: carry_out(
            code, model=model, train=train, validation=validation
        )
    ),
    "rescaling-twice": lambda code: (
        lambda images: carry_out(code, images=images)["images"]
    ),
    "best-of-two-fits": lambda code: (
        lambda phases, model, path: carry_out(
            code, phases=phases, model=model, path=path
        )
    ),
}


class TestBothWords:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=() if name in FIRST else pytest.mark.matrix)
            for name in DEFECTS
        ],
    )
    def test_a_defect_is_found(self, name):
        affected, evidence = trial(name, DEFECTS[name])
        assert affected, evidence

    @pytest.mark.parametrize("name", REMEDIES)
    @pytest.mark.matrix
    def test_what_is_prescribed_cures(self, name):
        cured = REMEDIES[name](find_probe(name).remedy)
        affected, evidence = trial(name, cured)
        assert not affected, evidence

    def test_every_probe_is_shown_both_ways(self):
        assert sorted(REMEDIES) == sorted(NAMES)
        assert sorted([*DEFECTS, "wrong-monitor"]) == sorted(NAMES)

    def test_a_monitor_that_is_only_warned_about_is_found(self, monkeypatch):
        class Deaf(keras.callbacks.Callback):
            def __init__(self, monitor, **_):
                super().__init__()
                self.monitor = monitor

            def on_epoch_end(self, epoch, logs=None):
                warnings.warn(f"no {self.monitor}", stacklevel=2)

        monkeypatch.setattr(keras.callbacks, "EarlyStopping", Deaf)
        affected, evidence = trial("wrong-monitor")
        assert affected
        assert 'mode="max" ran 3 epochs: "no val_acc"' in evidence

    def test_a_monitor_without_a_word_is_found(self, monkeypatch):
        deaf = keras.callbacks.Callback()
        deaf.monitor = "val_acc"
        monkeypatch.setattr(keras.callbacks, "EarlyStopping", lambda *_, **__: deaf)
        assert trial("wrong-monitor") == (
            True,
            'mode="auto" ran 3 epochs: no word; mode="max" ran 3 epochs: no word',
        )


class TestAFixedKeras:
    """What upstream may do about it one day is no longer silent."""

    def test_a_warning_about_flags_is_a_word(self):
        def freeze(model, layer):
            layer.trainable = False
            warnings.warn("A layer's `trainable` state has changed.", stacklevel=2)

        affected, evidence = trial("freezing-without-compile", freeze)
        assert not affected
        assert "state has changed" in evidence

    def test_a_warning_about_something_else_is_none(self):
        def freeze(model, layer):
            warnings.warn("something else", stacklevel=2)

        assert trial("freezing-without-compile", freeze)[0]

    def test_a_refusal_of_contradicting_flags_is_a_word(self):
        def unfreeze(base):
            raise ValueError("cannot be trainable under a frozen parent")

        affected, evidence = trial("unfreezing-under-frozen-parent", unfreeze)
        assert not affected
        assert "cannot be trainable" in evidence

    def test_a_refusal_of_a_range_is_a_word(self):
        def prepare(images):
            raise ValueError("images must be in [0, 255]")

        affected, evidence = trial("rescaling-twice", prepare)
        assert not affected
        assert "images must be" in evidence

    @pytest.mark.parametrize(
        "name", ["freezing-without-compile", "rescaling-twice", "wrong-monitor"]
    )
    def test_an_error_about_something_else_is_no_answer(self, name):
        def broken(*_):
            raise ValueError("something else")

        finding = judge(find_probe(name), lambda: trial(name, broken))
        assert (finding.status, finding.evidence) == (
            "cannot tell",
            "ValueError: something else",
        )


class TestHere:
    """What the doctor says of this package holds in the same experiments."""

    @pytest.mark.parametrize("name", ["training-argument", "frozen-network"])
    def test_a_backbone_is_in_inference_mode(self, name):
        assert not trial(name, lambda base, x: Backbone(base)(x))[0]

    def test_flags_changed_after_compile_are_refused(self):
        def freeze(model, layer):
            layer.trainable = False
            check_compiled(model)

        affected, evidence = trial("freezing-without-compile", freeze)
        assert not affected
        assert "must be those the model was compiled with" in evidence

    def test_flags_that_contradict_each_other_are_refused(self):
        def unfreeze(base):
            probes._unfreeze_children(base)
            check_flags(base)

        affected, evidence = trial("unfreezing-under-frozen-parent", unfreeze)
        assert not affected
        assert "can train only if" in evidence

    def test_monitors_are_checked(self):
        def check(model, x, y, monitor):
            stopping = keras.callbacks.EarlyStopping(monitor)
            check_monitors([stopping], ["loss", "val_loss", "val_accuracy"])

        assert not trial("wrong-monitor", check)[0]

    def test_the_best_epoch_is_selected_over_both_phases(self):
        def select(phases, model, path):
            best = BestCheckpoint(path)
            for fit in phases:
                fit(callbacks=[best])
            best.restore()

        assert not trial("best-of-two-fits", select)[0]

    def test_a_whole_model_brings_its_optimizer_back(self, tmp_path):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(np.ones((8, 4)), np.ones((8, 1)), epochs=2, **QUIET)
        model.save(tmp_path / "model.keras")
        again = load_model(tmp_path / "model.keras").optimizer
        pairs = zip(model.optimizer.variables, again.variables, strict=True)
        for ours, theirs in pairs:
            assert np.array_equal(ours, theirs)


class TestUndisturbed:
    def test_modes_are_put_back_and_kept_out(self, mixed_float16):
        keras.config.set_image_data_format("channels_first")
        try:
            with probes.undisturbed():
                assert keras.layers.Dense(1).compute_dtype == "float32"
                assert keras.config.image_data_format() == "channels_last"
            assert keras.config.dtype_policy().name == "mixed_float16"
            assert keras.config.image_data_format() == "channels_first"
        finally:
            keras.config.set_image_data_format("channels_last")

    def test_they_are_put_back_after_an_error_too(self):
        def interrupted():
            with probes.undisturbed():
                random.random()
                warnings.warn("silent", stacklevel=1)
                raise KeyboardInterrupt

        random.seed(1)
        state, filters = random.getstate(), list(warnings.filters)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert random.getstate() == state
        assert warnings.filters == filters
