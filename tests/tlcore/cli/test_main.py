"""The command: what it prints, and its exit codes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from datetime import datetime

import click
import numpy as np
import pytest
from PIL import Image

from tlcore.cli import main as cli
from tlcore.cli.doctor import _show_finding
from tlcore.cli.signals import Signals
from tlcore.data.sample_images import write_sample_splits

# What a shell sent to the background ignores Ctrl-C, and nohup the end of a terminal;
# both hand that down.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from tlcore.cli.main import main
main()
"""

SMALL = (
    "--backbone=sample_net",
    "--image-size=32",
    "--epochs=1",
    "--fine-tune-epochs=1",
    "--percent=100",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "images"
    write_sample_splits(
        directory,
        classes=3,
        per_class=8,
        validation_per_class=0,
        test_per_class=4,
        size=32,
    )
    return directory


@pytest.fixture
def tlcore(capsys):
    """Run the command in this process; returns (exit code, output, errors)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture(scope="module")
def run_path(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "model_3", *SMALL, f"--data={data}", f"--out={out}", "--json"])
    assert ended.value.code == 0
    (path,) = (out / "model_3").iterdir()
    return path


class TestLists:
    def test_backbones(self, tlcore):
        code, out, _ = tlcore("backbones")
        assert code == 0
        assert "efficientnet_b0" in out
        assert "4,049,571" in out

    def test_backbones_as_json(self, tlcore):
        _, out, _ = tlcore("backbones", "--json")
        rows = {row["name"]: row for row in json.loads(out)}
        assert rows["xception"]["min_size"] == 71
        assert rows["vgg16"]["input_contract"] == "caffe"

    def test_recipes(self, tlcore):
        code, out, _ = tlcore("recipes")
        assert code == 0
        assert "vgg16_augmented" in out
        assert "www.kaggle.com/models/google/resnet-v2" in out

    def test_recipes_as_json(self, tlcore):
        _, out, _ = tlcore("recipes", "--json")
        assert len(json.loads(out)) == 10

    def test_help_and_version(self, tlcore):
        assert "sample-images" in tlcore("--help")[1]
        assert tlcore("--version")[1].startswith("tlcore, version")


class TestRun:
    def test_it_ends_with_a_table_and_the_folder(self, tlcore, data, tmp_path):
        code, out, err = tlcore(
            "run", "model_3", *SMALL, "--data", data, "--out", tmp_path
        )
        assert code == 0
        (path,) = (tmp_path / "model_3").iterdir()
        assert f"run folder: {path}" in out
        assert "n=12" in out
        assert "epoch 2/2: " in err

    def test_its_json_is_run_json(self, run_path, tlcore):
        document = json.loads((run_path / "run.json").read_text())
        assert document["status"] == "done"
        assert document["recipe"]["weights"] == "imagenet"

    def test_runs_are_compared(self, tlcore, run_path):
        code, out, _ = tlcore("compare", run_path, run_path)
        assert code == 0
        assert out.count("sample_net") == 2
        assert "s/epoch" in out
        rows = json.loads(tlcore("compare", run_path, "--json")[1])
        assert rows[0]["final"]["val_accuracy"]["n"] == 12


class TestSavedModels:
    @pytest.fixture
    def image(self, data):
        return next(iter((data / "test").glob("*/*")))

    def test_a_recipe_of_tf_hub_runs_from_a_folder(
        self, tlcore, data, small_saved_model, tmp_path, image
    ):
        code, _, err = tlcore(
            "run",
            "hub_efficientnet_b0",
            "--handle",
            small_saved_model,
            *("--image-size=32", "--epochs=2", "--percent=100", "--fine-tune-epochs=1"),
            *("--data", data, "--out", tmp_path),
        )
        assert code == 0
        assert "cached at hub_layer" in err
        (path,) = (tmp_path / "hub_efficientnet_b0").iterdir()
        document = json.loads((path / "run.json").read_text())
        assert document["recipe"]["backbone"] == str(small_saved_model)
        assert document["weights"]["source"] == "the SavedModel's own"
        assert [x["counts"]["trainable_tensors"] for x in document["phases"]] == [2, 10]
        assert tlcore("predict", image, "--run", path)[0] == 0

    def test_what_the_second_phase_would_refuse_is_refused_before_the_first(
        self, tlcore, data, export, tmp_path
    ):
        import keras

        inputs = keras.Input((32, 32, 3))
        outputs = keras.layers.GlobalAveragePooling2D()(inputs)
        folder = export(tmp_path / "m", keras.Model(inputs, outputs))
        code, _, err = tlcore(
            *("run", "model_3", "--handle", folder, "--image-size=32"),
            *("--percent=100", "--data", data, "--out", tmp_path / "runs"),
        )
        assert code == 2
        assert "must list trainable variables to be unfrozen" in err
        assert not (tmp_path / "runs").exists()


class TestTensorBoard:
    def test_a_run_says_where_before_it_trains_and_how_to_look_again(
        self, tlcore, data, tmp_path, monkeypatch
    ):
        out = tmp_path / "all runs"
        seen = []

        @contextmanager
        def board(log_dir):
            seen.append(log_dir)
            yield "http://127.0.0.1:6006/"

        monkeypatch.setattr("tlcore.cli.tensorboard.local_board", board)
        code, text, err = tlcore(
            *("run", "model_0", *SMALL, "--data", data, "--out", out),
            *("--fine-tune-epochs=0", "--tensorboard", "--json"),
        )
        assert code == 0
        json.loads(text)
        lines = err.splitlines()
        assert lines[0] == "TensorBoard: http://127.0.0.1:6006/"
        assert lines[-1].endswith(f"to look again: tensorboard --logdir '{out}'")
        assert seen == [out]

    def test_one_that_does_not_start_ends_it_before_anything_is_written(
        self, tlcore, data, tmp_path, monkeypatch
    ):
        def refuse(_):
            raise ChildProcessError("TensorBoard must start before training does.")

        monkeypatch.setattr("tlcore.cli.tensorboard.local_board", refuse)
        code, _, err = tlcore(
            *("run", "model_3", *SMALL, "--data", data, "--out", tmp_path / "runs"),
            "--tensorboard",
        )
        assert code == 2
        assert "TensorBoard must start before training" in err
        assert not (tmp_path / "runs").exists()

    def test_a_signal_ends_a_real_one_with_its_run(self, data, tmp_path):
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", COMMAND, "run", "model_0", *SMALL[:2]),
                *("--percent=100", "--epochs=10000", "--tensorboard"),
                *(f"--data={data}", f"--out={tmp_path}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        try:
            for line in process.stderr:
                if line.startswith("TensorBoard: "):
                    address = line.split()[1]
                if line.startswith("epoch 2/"):
                    break
            with urllib.request.urlopen(f"{address}data/environment") as answer:
                assert json.load(answer)["data_location"] == str(tmp_path)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 143
        assert "to look again: tensorboard --logdir" in err
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5)

    def test_a_finished_run_has_its_hyperparameters_for_it(self, run_path):
        (events,) = (run_path / "tensorboard").glob("*.tlcore")
        data = events.read_bytes()
        assert b"_hparams_/session_start_info" in data
        assert b"final/val_accuracy" in data


class TestExperiments:
    def test_a_real_run_is_listed_shown_published_and_deleted(
        self, tlcore, run_path, data, tmp_path
    ):
        out = tmp_path / "runs"
        copy = out / "model_3" / run_path.name
        shutil.copytree(run_path, copy)
        (row,) = json.loads(tlcore("experiments", "list", "--out", out, "--json")[1])
        assert (row["status"], row["epochs"], row["scalars"]) == ("done", 2, 10)
        code, text, _ = tlcore("experiments", "show", row["id"], "--out", out)
        assert code == 0
        assert "fine_tuning" in text
        to = ("--to", tmp_path / "page")
        code, _, err = tlcore("experiments", "publish", "--out", out, *to)
        assert (code, err) == (0, "")
        page = (tmp_path / "page" / "index.html").read_text("utf-8")
        assert page.count("<img ") == 2
        assert ">fine-tuning</text>" in page
        process = json.loads((run_path / "run.json").read_text())["process"]
        words = re.sub(r"data:[^\"]+", "", page)  # pictures are any letters
        for private in (tmp_path, data, run_path):
            assert str(private) not in words
        assert not re.search(rf"\b{re.escape(process['host'])}\b", words)
        code, _, _ = tlcore("experiments", "delete", row["id"], "--out", out, "--yes")
        assert code == 0
        assert not copy.exists()


class TestStreams:
    def test_a_closed_standard_output_is_no_error(self):
        command = [sys.executable, "-m", "tlcore", "recipes"]
        line = f"{shlex.join(command)} >&-"
        done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


class TestPredict:
    @pytest.fixture
    def image(self, tmp_path):
        path = tmp_path / "photo.png"
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), "uint8")
        Image.fromarray(pixels).save(path)
        return path

    def test_by_a_run(self, tlcore, run_path, image):
        code, out, _ = tlcore("predict", image, "--run", run_path, "--json")
        assert code == 0
        (ranked,) = json.loads(out).values()
        classes = json.loads((run_path / "run.json").read_text())["data"]["classes"]
        assert sorted(guess["label"] for guess in ranked) == classes
        assert sum(guess["probability"] for guess in ranked) == pytest.approx(1)
        values = [guess["probability"] for guess in ranked]
        assert values == sorted(values, reverse=True)

    def test_by_a_backbone_as_it_is(self, tlcore, image, tmp_path):
        import keras

        network = keras.applications.MobileNetV2(alpha=0.35, weights=None)
        network.save_weights(tmp_path / "top.weights.h5")
        (tmp_path / "labels.txt").write_text(
            "\n".join(f"thing {i}" for i in range(1000))
        )
        code, out, _ = tlcore(
            "predict",
            image,
            "--backbone=mobilenet_v2_035",
            f"--weights={tmp_path / 'top.weights.h5'}",
            f"--labels={tmp_path / 'labels.txt'}",
        )
        assert code == 0
        first, *guesses = out.splitlines()
        assert first == str(image)
        assert len(guesses) == 5
        expected = network.predict(
            keras.applications.mobilenet_v2.preprocess_input(
                np.asarray(
                    Image.open(image).resize((224, 224), Image.Resampling.BILINEAR),
                    "float32",
                )[None]
            ),
            verbose=0,
        )
        assert guesses[0].split("  ")[-1] == f"thing {expected.argmax()}"

    def test_labels_of_another_number_are_refused(
        self, tlcore, image, run_path, tmp_path
    ):
        (tmp_path / "labels.txt").write_text("a\nb\n")
        code, _, err = tlcore(
            "predict", image, "--run", run_path, "--labels", tmp_path / "labels.txt"
        )
        assert code == 2
        assert "one label per class, 3. Received: 2 labels" in err

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "one label per class, 3. Received: 0 labels"),
            (b"a\xff\nb\nc\n", "Labels must be a text file, UTF-8"),
            (None, "Labels must be a text file, UTF-8"),
        ],
    )
    def test_labels_that_are_none_are_refused(
        self, tlcore, image, run_path, tmp_path, content, message
    ):
        if content is not None:
            (tmp_path / "labels.txt").write_bytes(content)
        code, _, err = tlcore(
            "predict", image, "--run", run_path, "--labels", tmp_path / "labels.txt"
        )
        assert (code, message in err) == (2, True)

    def test_the_mark_that_some_editors_begin_files_with_is_no_label(
        self, tlcore, image, run_path, tmp_path
    ):
        (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8-sig")
        labels = ("--labels", tmp_path / "labels.txt")
        _, out, _ = tlcore("predict", image, "--run", run_path, *labels, "--json")
        (ranked,) = json.loads(out).values()
        assert sorted(guess["label"] for guess in ranked) == ["a", "b", "c"]

    def test_a_run_and_a_backbone_are_one_too_many(self, tlcore, image, run_path):
        code, _, err = tlcore("predict", image, "--run", run_path, "--backbone=vgg16")
        assert (code, "A run brings its own model" in err) == (2, True)

    def test_by_a_run_with_layers_of_this_package_in_a_process_of_its_own(
        self, image, tmp_path
    ):
        from tlcore.models import create_model
        from tlcore.runs.run import start_run

        shape = (32, 32, 3)
        model = create_model(
            "sample_net", 2, input_shape=shape, augmentation="generator"
        )
        document = {"data": {"classes": ["a", "b"]}}
        run = start_run(tmp_path, "model_3", document, now=datetime.now())
        model.save(run.path / "model.keras")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tlcore", "predict", image),
                *("--run", run.path, "--json"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        (ranked,) = json.loads(done.stdout).values()
        assert sorted(guess["label"] for guess in ranked) == ["a", "b"]

    def test_images_that_cannot_be_read_are_all_named(self, tlcore, run_path, tmp_path):
        (tmp_path / "a.jpg").write_text("no")
        code, out, err = tlcore(
            "predict", tmp_path / "a.jpg", tmp_path / "b.jpg", "--run", run_path
        )
        assert (code, out) == (2, "")
        assert "a.jpg" in err
        assert "b.jpg" in err

    def test_a_top_below_one_is_refused(self, tlcore, image, run_path):
        code, _, err = tlcore("predict", image, "--run", run_path, "--top", 0)
        assert (code, "at least 1. Received: top=0" in err) == (2, True)


class TestWrongInput:
    """A sentence on standard error, exit code 2, no traceback, nothing written."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run", "model_9"], "A recipe must be one of"),
            (["run", "hub_resnet50_v2", "--handle=no/model"], "no such folder or file"),
            (
                ["run", "model_0", "--handle=m", "--backbone=vgg16"],
                "backbone='vgg16' with handle='m'",
            ),
            (["run", "model_0", "--handle=a/b", "--weights=none"], "brings its own"),
            (["run", "model_0", "--handle="], "Received: handle=''"),
            (["run", "model_0", "--views=2"], "needs a recipe with augmentation"),
            (["run", "model_3", "--backbone=vgg61"], "must be one of the catalogue"),
            (["run", "model_3", "--percent=0"], "above 0 and at most 100"),
            (["run", "model_3", "--percent=x"], "is not a valid float"),
            (["run", "model_3", "--last=1000"], "from 0 to 237"),
            (["run", "model_3", "--image-size=8"], "at least 32 pixels"),
            (["run", "model_3", "--weights=no.weights.h5"], "no such file"),
            (["run", "model_3", "--seed=-1"], "from 0 to 4294967295"),
            (["run", "model_3", "--out=/dev/null/runs"], "that can be written to"),
        ],
    )
    def test_of_run(self, tlcore, data, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        code, out, err = tlcore(*arguments, "--data", data)
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_folder(self, tlcore, tmp_path):
        code, _, err = tlcore(
            "run", "model_3", "--data", tmp_path / "no", "--out", tmp_path / "runs"
        )
        assert code == 2
        assert "Received" in err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        "arguments",
        [["compare", "."], ["predict", "a.jpg", "--run", "."], ["nonsense"], ["run"]],
    )
    def test_of_other_commands(self, tlcore, tmp_path, monkeypatch, arguments):
        monkeypatch.chdir(tmp_path)
        code, _, err = tlcore(*arguments)
        assert code == 2
        assert err
        assert "Traceback" not in err

    def test_the_traceback_comes_on_request(self, monkeypatch):
        monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
        with pytest.raises(ValueError, match="A recipe must be"):
            cli.main(["run", "model_9", "--data", "."])


class TestCache:
    def test_entries_are_listed_and_cleared(self, tlcore, data, tmp_path):
        folder = tmp_path / "cache"
        code, _, _ = tlcore(
            *("run", "model_0", "--data", data, *SMALL, "--fine-tune-epochs=0"),
            *("--cache", folder, "--out", tmp_path / "runs"),
        )
        assert code == 0
        code, out, _ = tlcore("cache", "show", "--folder", folder)
        assert code == 0
        assert "pool" in out
        assert f"{folder}: 2 entries, " in out
        code, out, _ = tlcore("cache", "show", "--folder", folder, "--json")
        assert sorted(row["images"] for row in json.loads(out)) == [12, 24]
        code, out, _ = tlcore("cache", "clear", "--folder", folder)
        assert code == 0
        assert "set free" in out
        _, out, _ = tlcore("cache", "show", "--folder", folder, "--json")
        assert json.loads(out) == []

    def test_an_empty_one_is_no_error(self, tlcore, tmp_path):
        code, out, _ = tlcore("cache", "show", "--folder", tmp_path / "none")
        assert code == 0
        assert "0 entries" in out

    def test_a_damaged_entry_is_listed_as_such(self, tlcore, tmp_path):
        (tmp_path / "0-0.features").write_bytes(b"nothing")
        code, out, _ = tlcore("cache", "show", "--folder", tmp_path)
        assert code == 0
        assert "damaged" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--cache", "FILE"), "FILE"),
            (("--views", "0"), "views must be a whole number of at least 1"),
            (("--workers", "0"), "workers must be a whole number of at least 1"),
        ],
    )
    def test_wrong_options_of_run_are_answered_in_a_sentence(
        self, tlcore, data, tmp_path, arguments, message
    ):
        (tmp_path / "FILE").touch()
        given = [str(tmp_path / a) if a == "FILE" else a for a in arguments]
        code, _, err = tlcore(
            *("run", "model_2", "--data", data, *SMALL, *given),
            *("--out", tmp_path / "runs"),
        )
        assert code == 2
        assert message in err
        assert "Traceback" not in err


class TestDoctor:
    def test_versions_then_a_line_for_every_question(self, tlcore):
        code, out, _ = tlcore("doctor", "A8", "A1")
        assert code == 0
        versions, backend, _, *lines = out.splitlines()
        assert versions.startswith("python 3.")
        assert "setuptools" in versions
        assert backend.startswith("backend: tensorflow; devices: ")
        assert lines[0] == (
            "A8   affected: initial_epoch=history.epoch[-1] repeats an epoch "
            "(5 + 5 ran 11 epochs)"
        )
        assert lines[2] == "     write: initial_epoch = history.epoch[-1] + 1"
        assert lines[4].startswith("A1   ")

    def test_as_json(self, tlcore):
        code, out, _ = tlcore("doctor", "A8", "--json")
        told = json.loads(out)
        assert code == 0
        assert told["backend"] == "tensorflow"
        assert [finding["status"] for finding in told["findings"]] == ["affected"]

    def test_an_unknown_question_is_answered_in_a_sentence(self, tlcore):
        code, out, err = tlcore("doctor", "A16")
        assert (code, out) == (2, "")
        assert "one of: A1, A2, A4" in err

    @pytest.mark.parametrize("status", ["affected", "not affected", "cannot tell"])
    def test_lines_hang_on_a_terminal(self, capsys, monkeypatch, status):
        from tlcore.doctor.examination import Finding
        from tlcore.doctor.questions import PROBES

        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        for probe in PROBES.values():
            _show_finding(Finding(probe, status, "evidence " * 20))
            lines = click.unstyle(capsys.readouterr().out).splitlines()
            assert lines[0].startswith(f"{probe.id:<5}{status}: {probe.fact[:9]}")
            assert all(line.startswith("     ") for line in lines[1:] if line)
            assert max(map(len, lines)) < 80
            told = any("write: " in line for line in lines)
            assert told is (status == "affected")


class TestSampleImages:
    def test_they_make_a_data_folder(self, tlcore, tmp_path):
        code, out, _ = tlcore(
            "sample-images", tmp_path / "d", "--classes=2", "--per-class=3", "--size=32"
        )
        assert code == 0
        assert "2 classes" in out
        assert len(list((tmp_path / "d" / "train").glob("*/*.png"))) == 6

    def test_a_folder_that_is_there_is_refused(self, tlcore, tmp_path):
        (tmp_path / "x").touch()
        code, _, err = tlcore("sample-images", tmp_path)
        assert code == 2
        assert "Received" in err


class TestFetch:
    def test_an_archive_is_unpacked(self, tlcore, tmp_path):
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.writestr("photos/train/a/1.txt", "x")
        code, out, _ = tlcore("fetch", tmp_path / "photos.zip", tmp_path / "data")
        assert (code, out) == (0, f"{tmp_path / 'data' / 'photos'}\n")
        assert (tmp_path / "data/photos/train/a/1.txt").read_text() == "x"

    def test_an_unknown_name_is_answered_with_the_known_ones(self, tlcore, tmp_path):
        code, _, err = tlcore("fetch", "food", tmp_path / "data")
        assert code == 2
        assert "cats_and_dogs_filtered" in err
        assert not (tmp_path / "data").exists()


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code", "status"),
        [
            (signal.SIGINT, 130, "interrupted"),
            (signal.SIGTERM, 143, "terminated"),
            (signal.SIGHUP, 129, "terminated"),
        ],
    )
    def test_a_signal_ends_a_run_that_says_so(
        self, data, tmp_path, number, code, status
    ):
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", COMMAND, "run", "model_0", *SMALL[:2]),
                *("--percent=100", "--epochs=10000"),
                *(f"--data={data}", f"--out={tmp_path}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        try:
            history = None
            for _ in range(600):
                history = next(tmp_path.glob("model_0/*/history.csv"), None)
                if history or process.poll() is not None:
                    break
                time.sleep(0.1)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == code
        assert "Traceback" not in err
        document = json.loads((history.parent / "run.json").read_text())
        assert document["status"] == status

    @pytest.mark.parametrize(
        ("number", "error"),
        [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
    )
    def test_a_signal_that_python_forgets_is_remembered(self, capsys, number, error):
        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), number)
                sum(range(10))  # the handler runs between two of these

        # A job that a shell sent to the background has Ctrl-C ignored.
        inherited = signal.signal(number, signal.default_int_handler)
        try:
            with Signals() as signals:
                signals.check()
                Finalized()
                with pytest.raises(error):
                    signals.check()
            assert signal.getsignal(number) is signal.default_int_handler
        finally:
            signal.signal(number, inherited)
        assert capsys.readouterr().err == ""

    def test_a_signal_that_is_ignored_stays_so(self, monkeypatch):
        monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
        watched = []
        monkeypatch.setattr(signal, "signal", lambda *item: watched.append(item))
        with Signals():
            assert watched == []

    def test_another_error_while_finalizing_is_reported_as_ever(self, monkeypatch):
        reported = []
        monkeypatch.setattr("sys.unraisablehook", reported.append)

        class Finalized:
            def __del__(self):
                raise ValueError

        with Signals():
            Finalized()
        assert [type(x.exc_value) for x in reported] == [ValueError]

    def test_a_signal_that_was_forgotten_ends_training_after_the_next_step(
        self, data, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(Signals, "check", lambda self: sys.exit(143))
        small = (*SMALL, f"--data={data}", f"--out={tmp_path}")
        with pytest.raises(SystemExit) as ended:
            cli.main(["run", "model_0", *small])
        assert ended.value.code == 143
        (run,) = tmp_path.glob("model_0/*/run.json")
        assert json.loads(run.read_text())["status"] == "terminated"
