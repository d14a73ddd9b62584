"""Runner: run folders that are true to what happened, however a run ends."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tlcore.data.sample_images import write_sample_splits
from tlcore.models import load_model
from tlcore.plotting import learning_curves
from tlcore.runs import recording, runner
from tlcore.runs.recipes import find_recipe
from tlcore.runs.run import read_run
from tlcore.runs.runner import RunOptions, run_recipe
from tlcore.runs.tracked import RunTracking


def recipe(name="model_3", **changes):
    small = {
        "backbone": "sample_net",
        "image_size": 32,
        "percent": 100.0,
        "epochs": 2,
        "batch_size": 8,
    }
    fine = {"fine_tune_epochs": 1} if name in {"model_3", "model_4"} else {}
    return find_recipe(name).changed(**{**small, **fine, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "images"
    write_sample_splits(
        directory,
        classes=3,
        per_class=12,
        validation_per_class=6,
        test_per_class=5,
        size=32,
    )
    return directory


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Draw nothing, which takes half of a small run; `finished` has its pictures."""
    monkeypatch.setattr(recording, "plot_images", lambda *_, **__: None)
    monkeypatch.setattr(learning_curves, "plot_history", lambda *_, **__: None)


@pytest.fixture
def options(tmp_path):
    return RunOptions(out=tmp_path / "runs", say=lambda _: None)


class EndOfTestError(Exception):
    """Ends a run in which everything that a test asks for has happened."""


class StopsAt(keras.callbacks.Callback):
    """Ends a run when a phase begins or an epoch ends.

    Args:
        phase: which one, from 1.
        epoch: the index of the epoch.
    """

    def __init__(self, *, phase=None, epoch=None):
        super().__init__()
        self.phase, self.epoch = phase, epoch
        self.begun = 0

    def on_train_begin(self, logs=None):
        self.begun += 1
        if self.begun == self.phase:
            raise EndOfTestError

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise EndOfTestError


def run_until(chosen, data, options, **when):
    """Run a recipe up to a point; return the run and the callback that ended it."""
    stop = StopsAt(**when)
    with pytest.raises(EndOfTestError):
        run_recipe(chosen, data, replace(options, callbacks=lambda: [stop]))
    (path,) = (options.out / chosen.name).iterdir()
    return read_run(path), stop


@pytest.fixture(
    scope="module",
    params=["model_0", pytest.param("model_3", marks=pytest.mark.matrix)],
)
def chosen(request):
    """Return a recipe with fine-tuning; model_3 augments its images."""
    return recipe(request.param, fine_tune_epochs=1, last=3)


@pytest.fixture(scope="module")
def finished(chosen, data, tmp_path_factory):
    lines = []
    out = tmp_path_factory.mktemp("out")
    run = run_recipe(chosen, data, RunOptions(out=out, say=lines.append))
    return run, lines


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """Return a run of a binary recipe on two classes, without `test`."""
    data = tmp_path_factory.mktemp("two") / "images"
    write_sample_splits(
        data,
        classes=2,
        per_class=6,
        validation_per_class=4,
        test_per_class=0,
        size=32,
    )
    options = RunOptions(out=tmp_path_factory.mktemp("out"), say=lambda _: None)
    return run_recipe(recipe("vgg16_features", epochs=1), data, options)


AUGMENTED = "train: end to end, 'random_warp' is random in training; validation"


class TestFinishedRun:
    def test_the_folder_holds_these(self, finished):
        run, _ = finished
        names = {path.name for path in run.path.iterdir()}
        assert names == {
            "run.json",
            "history.csv",
            "checkpoints",
            "tensorboard",
            "curves.png",
            "images.png",
            "confusion.png",
            "mistakes.png",
            "calibration.png",
            "predictions.csv",
            "model.keras",
        }
        assert sorted(p.name for p in (run.path / "checkpoints").iterdir()) == [
            ".lock",
            "feature_extraction.states",
            "feature_extraction.weights.h5",
            "fine_tuning.states",
            "fine_tuning.weights.h5",
        ]

    def test_run_json_records_everything(self, finished, chosen):
        document = read_run(finished[0].path).document
        assert document["status"] == "done"
        assert document["recipe"] == chosen.as_dict()
        assert document["counts"]["trainable_tensors"] == 2
        backend = keras.backend.backend()
        assert {"python", "keras", backend, "tlcore"} <= set(document["versions"])
        assert document["machine"]["cores"] >= 1
        assert len(document["weights"]["fingerprint"]) == 64
        assert "trained on generated images" in document["weights"]["source"]
        assert document["data"]["classes"] == sorted(document["data"]["classes"])
        assert document["data"]["splits"]["test"]["images"] == 15
        assert len(document["data"]["splits"]["train"]["fingerprint"]) == 64

    def test_the_phases_are_contiguous_and_counted(self, finished):
        document = finished[0].document
        first, second = document["phases"]
        assert (first["name"], first["first_epoch"]) == ("feature_extraction", 0)
        assert (second["name"], second["first_epoch"]) == ("fine_tuning", 2)
        assert second["learning_rate"] == pytest.approx(first["learning_rate"] / 10)
        assert (
            second["counts"]["trainable_params"] > first["counts"]["trainable_params"]
        )
        assert document["history"]["epoch"] == [0, 1, 2]

    def test_it_says_what_was_cached_and_what_a_linear_probe_reaches(
        self, finished, chosen
    ):
        run, lines = finished
        first, second = (phase["caching"] for phase in run.document["phases"])
        if chosen.augmentation:
            assert first.startswith(f"{AUGMENTED}: cached at pool, ")
            assert second.startswith(f"{AUGMENTED}: cached at ")
        else:
            assert first.startswith("train: cached at pool, ")
            assert second.startswith("train: cached at ")
        assert {first, second} <= set(lines)
        probe = run.document["ceiling"]
        assert probe["n"] == 18
        assert probe["low"] <= probe["value"] <= probe["high"]
        said = "linear probe: a closed-form head on these features reaches "
        assert any(line.startswith(said) for line in lines)

    def test_the_history_is_a_table_with_seconds(self, finished):
        with (finished[0].path / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["phase"] for row in rows] == [
            "feature_extraction",
            "feature_extraction",
            "fine_tuning",
        ]
        assert all(float(row["seconds"]) > 0 for row in rows)
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(rows[0])

    def test_the_final_figures_are_on_whole_sets_with_intervals(self, finished):
        final = finished[0].document["final"]
        assert set(final) == {
            "val_accuracy",
            "val_loss",
            "test_accuracy",
            "test_loss",
        }
        assert (final["val_accuracy"]["split"], final["val_accuracy"]["n"]) == (
            "validation",
            18,
        )
        assert (final["test_accuracy"]["split"], final["test_accuracy"]["n"]) == (
            "test",
            15,
        )
        accuracy = final["val_accuracy"]
        assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
        last = finished[0].document["history"]["val_accuracy"][-1]
        assert accuracy["value"] == pytest.approx(last)

    def test_the_model_on_disk_is_the_one_that_was_measured(self, finished, data):
        from tlcore.data.image_folder import image_folder
        from tlcore.evaluation import evaluate

        run, _ = finished
        model = keras.saving.load_model(run.path / "model.keras")
        test = image_folder(data / "test", image_size=(32, 32), shuffle=False)
        final = run.document["final"]["test_accuracy"]
        assert evaluate(model, test)["accuracy"].value == final["value"]

    def test_its_predictions_are_those_of_the_final_figures(self, finished, data):
        run, _ = finished
        final = run.document["final"]["test_accuracy"]
        rows = (run.path / "predictions.csv").read_text().splitlines()
        lines = list(csv.DictReader(rows))
        assert (
            sum(line["right"] == "True" for line in lines) / len(lines)
            == (final["value"])
        )
        for line in lines:
            assert Path(line["image"]).parent.name == line["truth"]
        found = run.document["predictions"]
        assert (found["split"], found["n"]) == ("test", final["n"])
        assert sum(map(sum, found["confusion"])) == final["n"]
        assert found["accuracy"]["value"] == final["value"]

    def test_the_pictures_are_pictures(self, finished):
        pictures = [path.name for path in finished[0].path.glob("*.png")]
        assert len(pictures) == 5
        for name in pictures:
            with Image.open(finished[0].path / name) as image:
                assert min(image.size) > 300

    def test_it_says_what_it_validates_on_and_that_nothing_is_selected(self, finished):
        _, lines = finished
        assert any(
            "epochs are validated on: validation (18 images)" in x for x in lines
        )
        assert any("no selection" in line for line in lines)


class TestSplits:
    def without(self, data, tmp_path, *names):
        directory = tmp_path / "data"
        directory.mkdir()
        for path in data.iterdir():
            if path.name not in names:
                (directory / path.name).symlink_to(path)
        return directory

    @pytest.mark.matrix
    def test_without_validation_epochs_are_validated_on_test(
        self, data, options, tmp_path
    ):
        folder = self.without(data, tmp_path, "validation")
        run = run_recipe(recipe("model_0", epochs=1), folder, options)
        final = run.document["final"]
        assert run.document["data"]["validated_on"] == "test"
        assert final["val_accuracy"] == final["test_accuracy"]
        assert final["val_accuracy"]["n"] == 15

    def test_without_test_the_final_figures_are_on_validation(self, binary):
        assert set(binary.document["final"]) == {"val_accuracy", "val_loss"}

    @pytest.mark.matrix
    def test_early_stopping_selects_on_validation(self, data, tmp_path):
        lines = []
        options = RunOptions(out=tmp_path, early_stopping=1, say=lines.append)
        # Steps this large make things worse from some epoch on.
        chosen = recipe("model_0", epochs=9, fine_tune_epochs=1, last=3)
        run = run_recipe(replace(chosen, learning_rate=3.0), data, options)
        document = run.document
        losses = document["history"]["val_loss"]
        best = int(np.argmin(losses))
        assert document["data"]["selected_on"] == "validation"
        assert len(losses) < 10
        assert document["selected_epoch"] == best < len(losses) - 1
        assert document["final"]["val_loss"]["value"] == pytest.approx(losses[best])
        assert any(f"selected: epoch {best + 1}, val_loss" in line for line in lines)
        model = load_model(run.path / "model.keras")
        selected = model.get_weights()
        model.optimizer = None
        model.load_weights(run.path / "checkpoints" / "best.weights.h5")
        for a, b in zip(selected, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_early_stopping_never_selects_on_test(self, data, tmp_path):
        folder = self.without(data, tmp_path, "validation")
        lines = []
        options = RunOptions(out=tmp_path, early_stopping=1, say=lines.append)
        run = run_recipe(recipe("model_0", epochs=1), folder, options)
        said = run.document["data"]
        assert said["selected_on"] == said["validated_on"] == "held out of train"
        assert said["trained_on"] == 33
        assert run.document["final"]["val_accuracy"]["n"] == 3
        assert run.document["final"]["test_accuracy"]["n"] == 15
        assert any("selected on: held out of train" in line for line in lines)

    def test_early_stopping_below_one_epoch_is_refused(self, data, tmp_path):
        options = RunOptions(out=tmp_path / "runs", early_stopping=0)
        message = r"early_stopping must .* at least 1.*Received: early_stopping=0"
        with pytest.raises(ValueError, match=message):
            run_recipe(recipe(), data, options)
        assert not (tmp_path / "runs").exists()


class TestRecipe:
    """What a recipe says is what is trained."""

    @pytest.mark.parametrize(
        ("name", "changes", "layers", "optimizer", "steps"),
        [
            (
                "model_0",
                {},
                ["input_contract", "sample_net", "pool", "classifier"],
                ("Adam", 1e-3),
                5,
            ),
            (
                "model_2",
                {"style": "sequential"},
                ["augmentation", "input_contract", "sample_net", "pool", "classifier"],
                ("Adam", 1e-3),
                5,
            ),
            (
                "vgg16_augmented",
                {"steps_per_epoch": 7},
                [
                    "augmentation",
                    "input_contract",
                    "sample_net",
                    "flatten",
                    "hidden",
                    "dropout",
                    "classifier",
                ],
                ("RMSprop", 2e-5),
                7,
            ),
        ],
    )
    def test_it_decides_layers_optimizer_and_steps(
        self, data, options, name, changes, layers, optimizer, steps
    ):
        changed = replace(recipe(name, epochs=1), **changes)
        _, stop = run_until(changed, data, options, phase=1)
        model = stop.model
        assert isinstance(model, keras.Sequential) is (changed.style == "sequential")
        names = [layer.name for layer in model.layers if layer.name != "image"]
        assert names == layers
        kind, rate = optimizer
        assert type(model.optimizer).__name__ == kind
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)
        assert stop.params["steps"] == steps

    def test_fifty_steps_and_half_the_units_dropped_are_what_the_tutorial_says(self):
        tutorial = find_recipe("vgg16_augmented")
        assert (tutorial.steps_per_epoch, tutorial.dropout) == (50, 0.5)

    @pytest.mark.matrix
    def test_it_decides_how_many_layers_are_unfrozen(self, data, options):
        chosen = recipe("model_0", epochs=1, fine_tune_epochs=1, last=12)
        _, stop = run_until(chosen, data, options, phase=2)
        self.check_unfrozen(stop.model, 12)

    def test_that_many_layers_of_the_model_on_disk_are_unfrozen(self, finished):
        model = load_model(finished[0].path / "model.keras")
        self.check_unfrozen(model, 3)

    def check_unfrozen(self, model, last):
        network = model.get_layer("sample_net").network
        flags = [any(v.trainable for v in layer.variables) for layer in network.layers]
        expected = [bool(layer.variables) for layer in network.layers[-last:]]
        assert flags == [False] * (len(flags) - last) + expected


class TestBinary:
    def test_two_classes_of_a_binary_recipe_get_one_output(self, binary):
        model = keras.saving.load_model(binary.path / "model.keras")
        assert model.output_shape == (None, 1)
        assert [p["name"] for p in binary.document["phases"]] == ["feature_extraction"]

    def test_three_classes_get_three(self, data, options):
        _, stop = run_until(recipe("vgg16_features"), data, options, phase=1)
        assert stop.model.output_shape == (None, 3)


class TestSeeds:
    def test_a_seed_repeats_a_run_and_another_does_not(
        self, finished, chosen, data, tmp_path
    ):
        def first_loss(seed):
            out = tmp_path / f"{seed}"
            options = RunOptions(out=out, seed=seed, say=lambda _: None)
            stopped, _ = run_until(chosen, data, options, epoch=0)
            return stopped.document["history"]["loss"][0]

        seed, loss = (finished[0].document[name] for name in ("seed", "history"))
        assert first_loss(seed) == pytest.approx(loss["loss"][0], rel=1e-5)
        assert first_loss(seed + 1) != pytest.approx(loss["loss"][0], rel=1e-5)


ENDINGS = [
    (KeyboardInterrupt(), "interrupted", {}),
    (SystemExit(143), "terminated", {"code": 143}),
    (MemoryError("full"), "failed", {"error": "MemoryError: full"}),
]


class TestEndings:
    @pytest.mark.parametrize(("error", "status", "more"), ENDINGS)
    def test_a_run_records_what_ended_it(self, start, tmp_path, error, status, more):
        run = start(tmp_path)
        said = []
        ending = runner.recorded_ending(run, said.append, RunTracking({}))
        with pytest.raises(type(error)), ending:
            raise error
        assert said[0].startswith("to go on: tlcore run --resume ")
        document = read_run(run.path).document
        assert document["status"] == status
        assert {name: document[name] for name in more} == more

    def test_the_error_is_raised_where_its_record_cannot_be_written(
        self, start, tmp_path, monkeypatch
    ):
        def refuse(*_):
            raise OSError(28, "No space left on device")

        run = start(tmp_path)
        monkeypatch.setattr("tlcore.runs.run.write_text", refuse)
        ending = runner.recorded_ending(run, str, RunTracking({}))
        with pytest.raises(MemoryError, match="full"), ending:
            raise MemoryError("full")

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (KeyboardInterrupt(), "interrupted"),
            pytest.param(SystemExit(143), "terminated", marks=pytest.mark.matrix),
            pytest.param(MemoryError("full"), "failed", marks=pytest.mark.matrix),
        ],
    )
    def test_a_run_that_is_stopped_says_so_and_keeps_its_history(
        self, data, options, error, status
    ):
        def on_epoch_begin(epoch, _):
            if epoch == 1:
                raise error

        stop = keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)
        with pytest.raises(type(error)):
            run_recipe(
                recipe("model_0"), data, replace(options, callbacks=lambda: [stop])
            )
        (path,) = (options.out / "model_0").iterdir()
        document = json.loads((path / "run.json").read_text())
        assert document["status"] == status
        assert document["history"]["epoch"] == [0]
        assert len((path / "history.csv").read_text().splitlines()) == 2
        assert (path / "checkpoints" / "feature_extraction.weights.h5").exists()
        assert not (path / "model.keras").exists()

    def test_a_loss_that_is_not_finite_fails_the_run(self, data, options):
        with pytest.raises(FloatingPointError, match="Lower the learning rate"):
            run_recipe(recipe("model_0", learning_rate=1e38), data, options)
        (path,) = (options.out / "model_0").iterdir()
        assert read_run(path).document["status"] == "failed"
        assert "learning_rate=1e+38" in read_run(path).document["error"]

    def test_weights_broken_by_the_only_step_fail_the_run(self, data, options):
        broken = recipe("model_0", epochs=1, batch_size=64, learning_rate=3e38)
        with pytest.raises(FloatingPointError, match="must stay finite"):
            run_recipe(broken, data, options)
        (path,) = (options.out / "model_0").iterdir()
        assert read_run(path).document["status"] == "failed"
        assert not list((path / "checkpoints").glob("*.weights.h5"))

    def test_a_file_at_the_path_of_the_recipes_folder_is_refused(self, data, options):
        options.out.mkdir()
        (options.out / "model_0").touch()
        with pytest.raises(ValueError, match=r"Runs need a folder.*Received: out="):
            run_recipe(recipe("model_0"), data, options)

    @pytest.mark.parametrize("broken", ["weights", "data"])
    def test_what_is_wrong_from_the_start_leaves_nothing(self, data, options, broken):
        changes = {"weights": "none.weights.h5"} if broken == "weights" else {}
        folder = data / "none" if broken == "data" else data
        with pytest.raises((ValueError, OSError)):
            run_recipe(recipe(**changes), folder, options)
        assert not options.out.exists()


@pytest.mark.matrix
def test_the_recipe_of_cached_features_is_the_cache(data, options, tmp_path):
    small = recipe("vgg16_features", backbone="vgg16", weights="none", epochs=1)
    run, _ = run_until(small, data, replace(options, cache=tmp_path / "cache"), phase=1)
    (phase,) = run.document["phases"]
    assert phase["caching"].startswith("train: cached at flatten, 2 KiB/image; ")
    assert "validation: cached at " in phase["caching"]


@pytest.mark.matrix
def test_with_random_augmentation_only_validation_is_cached(data, options):
    run, _ = run_until(recipe("model_2"), data, options, phase=1)
    (phase,) = run.document["phases"]
    assert phase["caching"].startswith(f"{AUGMENTED}: cached at pool, ")


@pytest.mark.matrix
def test_views_are_a_bank_that_is_cached(data, options):
    lines = []
    run_until(
        recipe("model_2", epochs=1),
        data,
        replace(options, views=2, say=lines.append),
        phase=1,
    )
    assert any(line.startswith("train: 2 views, cached at pool") for line in lines)


def test_views_without_augmentation_are_refused(data, options):
    with pytest.raises(ValueError, match=r"needs a recipe with aug.*Received: views=2"):
        run_recipe(recipe("model_0"), data, replace(options, views=2))


def test_bad_images_are_recorded_when_skipped(data, options, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    bad = min((folder / "train").iterdir()) / "zz_bad.jpg"
    bad.write_text("no image")
    with pytest.raises(ValueError, match=r"zz_bad\.jpg"):
        run_recipe(recipe(), folder, options)
    run, _ = run_until(
        recipe("model_0"), folder, replace(options, skip_bad=True), phase=1
    )
    ((path, _),) = run.document["data"]["splits"]["train"]["skipped"]
    assert path.endswith("zz_bad.jpg")


def test_the_machine_is_described():
    assert runner._machine()["backend"] == keras.backend.backend()


@pytest.mark.matrix
def test_a_recipe_has_a_precision_and_leaves_that_of_the_process(data, options):
    chosen = recipe("model_0", epochs=1, precision="mixed_bfloat16")
    run = run_recipe(chosen, data, options)
    assert keras.config.dtype_policy().name == "float32"
    model = load_model(run.path / "model.keras")
    assert model.get_layer("pool").compute_dtype == "bfloat16"
    assert model.get_layer("classifier").compute_dtype == "float32"
    assert run.document["recipe"]["precision"] == "mixed_bfloat16"
