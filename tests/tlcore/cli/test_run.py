"""`tlcore run`: what it prints, and TensorBoard next to it."""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tlcore.runs import runner


class TestRun:
    def test_it_ends_with_a_table_and_the_folder(self, tlcore, data, tmp_path, small):
        code, out, err = tlcore(
            "run", "model_3", *small, "--data", data, "--out", tmp_path
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


class TestSplit:
    def test_class_folders_are_refused_with_the_option_that_helps(
        self, tlcore, data, tmp_path, small
    ):
        code, _, err = tlcore(
            "run",
            "model_3",
            *small,
            "--data",
            data / "train",
            "--out",
            tmp_path / "runs",
        )
        assert code == 2
        assert "which holds 3 class folders: " in err
        assert "--split 80/10/10" in err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("split", ["80/10", "80", "validation=200"])
    def test_a_split_that_is_none_is_refused(self, tlcore, data, tmp_path, split):
        code, _, err = tlcore(
            *("run", "model_3", "--data", data / "train", "--out", tmp_path / "runs"),
            *("--split", split),
        )
        assert code == 2
        assert f"Received: split='{split}'" in err

    def test_a_root_without_a_table_is_refused(self, tlcore, data, tmp_path):
        code, _, err = tlcore("run", "model_3", "--data", data, "--root", tmp_path)
        assert code == 2
        assert "Leave root out" in err

    @pytest.mark.matrix
    def test_an_archive_is_divided_trained_on_and_run_again_from_its_table(
        self, tlcore, data, tmp_path, small
    ):
        archive = shutil.make_archive(tmp_path / "photos", "zip", data / "train")
        options = (*small, "--fine-tune-epochs=0", "--out", tmp_path / "runs")
        code, _, err = tlcore(
            "run", "model_0", *options, "--data", archive, "--split", "60/20/20"
        )
        assert code == 0, err
        assert "photos.zip: unpacked in '" in err
        assert "split 60/20/20 by content, seed 42\n" in err
        (path,) = (tmp_path / "runs" / "model_0").iterdir()
        document = json.loads((path / "run.json").read_text())
        counts = {"train": 12, "validation": 6, "test": 6}
        assert document["data"]["split"]["counts"] == counts
        code, out, err = tlcore(
            *("run", "model_0", *options, "--data", path / "split.csv"),
            *("--root", data / "train", "--json"),
        )
        assert code == 0, err
        again = json.loads(out)["data"]
        assert "split" not in again
        assert again["splits"] == document["data"]["splits"]


class TestSavedModels:
    @pytest.fixture
    def image(self, data):
        return next(iter((data / "test").glob("*/*")))

    @pytest.mark.matrix
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


class TestImages:
    @pytest.mark.matrix
    def test_how_they_are_read_is_recorded(self, tlcore, data, tmp_path, small):
        turned = copied(data, tmp_path)
        exif = Image.Exif()
        exif[0x0112] = 6
        path = next((turned / "train").rglob("*.png"))
        Image.open(path).save(path, exif=exif)
        path.with_suffix(".txt").touch()
        code, out, err = tlcore(
            *("run", "model_0", *small, "--fine-tune-epochs=0", "--json"),
            *("--fit=pad", "--background=#000000", "--data", turned, "--out", tmp_path),
        )
        assert code == 0
        assert "1 image turned upright; left out: 1 .txt" in err
        recorded = json.loads(out)["data"]
        assert recorded["reading"]["fit"] == "pad"
        assert recorded["reading"]["background"] == [0, 0, 0]
        assert recorded["splits"]["train"]["rotated"] == 1
        assert recorded["splits"]["train"]["left_out"] == {".txt": 1}

    def test_another_reading_is_refused(self, tlcore, data, tmp_path):
        code, _, err = tlcore(
            *("run", "model_0", "--fit=stretch", "--data", data, "--out", tmp_path)
        )
        assert code == 2
        assert "fit must be one of: squash, crop, pad. Received: fit='stretch'" in err

    def test_one_that_vanishes_is_named_without_a_traceback(
        self, tlcore, data, tmp_path, small, monkeypatch
    ):
        mine = copied(data, tmp_path)
        load = runner.load_data

        def loaded(*arguments):
            found = load(*arguments)
            Path(found.train.paths[0]).unlink()
            return found

        monkeypatch.setattr(runner, "load_data", loaded)
        code, _, err = tlcore(
            *("run", "model_0", *small, "--cache=off", "--fine-tune-epochs=0"),
            *("--data", mine, "--out", tmp_path / "runs"),
        )
        assert code == 2
        assert "tlcore: error: An image must stay as it was" in err
        assert "Traceback" not in err.partition("tlcore: error")[2]
        (document,) = (tmp_path / "runs").rglob("run.json")
        assert json.loads(document.read_text())["status"] == "failed"


def copied(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / "mine"))


class TestTensorBoard:
    @pytest.mark.matrix
    def test_a_run_says_where_before_it_trains_and_how_to_look_again(
        self, tlcore, data, tmp_path, monkeypatch, small
    ):
        out = tmp_path / "all runs"
        seen = []

        @contextmanager
        def board(log_dir):
            seen.append(log_dir)
            yield "http://127.0.0.1:6006/"

        monkeypatch.setattr("tlcore.cli.tensorboard.local_board", board)
        code, text, err = tlcore(
            *("run", "model_0", *small, "--data", data, "--out", out),
            *("--fine-tune-epochs=0", "--tensorboard", "--json"),
        )
        assert code == 0
        json.loads(text)
        lines = err.splitlines()
        assert lines[0] == "TensorBoard: http://127.0.0.1:6006/"
        assert lines[-1].endswith(f"to open it again: tensorboard --logdir '{out}'")
        assert seen == [out]

    def test_one_that_does_not_start_ends_it_before_anything_is_written(
        self, tlcore, data, tmp_path, monkeypatch, small
    ):
        def refuse(_):
            raise ChildProcessError("TensorBoard must start before training does.")

        monkeypatch.setattr("tlcore.cli.tensorboard.local_board", refuse)
        code, _, err = tlcore(
            *("run", "model_3", *small, "--data", data, "--out", tmp_path / "runs"),
            "--tensorboard",
        )
        assert code == 2
        assert "TensorBoard must start before training" in err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.matrix
    def test_a_signal_ends_a_real_one_with_its_run(
        self, data, tmp_path, small, command
    ):
        process = subprocess.Popen(
            [
                *(*command, "run", "model_0", *small[:2]),
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
        assert process.returncode == 143, err
        assert "to open it again: tensorboard --logdir" in err
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5)

    def test_a_finished_run_has_its_hyperparameters_for_it(self, run_path):
        (events,) = (run_path / "tensorboard").glob("*.tlcore")
        data = events.read_bytes()
        assert b"_hparams_/session_start_info" in data
        assert b"final/val_accuracy" in data


class TestTraining:
    OPTIONS = (
        *("--optimizer", "adamw", "--weight-decay", 0.01, "--schedule", "cosine"),
        *("--label-smoothing", 0.1, "--class-weight", "balanced", "--mixed-precision"),
        *("--stages", "4, all", "--layer-rates", 0.1),
    )

    @pytest.mark.matrix
    def test_how_it_is_trained_is_recorded(self, tlcore, data, tmp_path):
        code, out, _ = tlcore(
            "run", "model_3", "--backbone=sample_net", "--image-size=32", "--epochs=1",
            "--fine-tune-epochs=1", "--percent=100", f"--data={data}",
            f"--out={tmp_path}", "--json", *self.OPTIONS,
        )  # fmt: skip
        assert code == 0
        recipe = json.loads(out)["recipe"]
        assert recipe["precision"] == "mixed_bfloat16"
        assert recipe["optimizer"] == "adamw"
        assert recipe["weight_decay"] == 0.01
        assert (recipe["schedule"], recipe["label_smoothing"]) == ("cosine", 0.1)
        assert recipe["class_weight"] == "balanced"
        assert (recipe["stages"], recipe["layer_rates"]) == ([4, "all"], 0.1)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--optimizer", "adamm"], "Did you mean 'adam"),
            (["--schedule", "cos"], "schedule must be one of"),
            (["--label-smoothing", 2], "below 1"),
            (["--warm-up", 9], "warm_up must"),
            (["--stages", "10;all"], "Write --stages 10,50,all"),
            (["--stages", "all,10"], "must unfreeze more layers"),
            (["--layer-rates", 2], "layer_rates must be above 0"),
        ],
    )
    def test_a_wrong_value_is_refused(self, tlcore, data, arguments, message):
        code, _, err = tlcore("run", "model_3", f"--data={data}", *arguments)
        assert code == 2
        assert message in err
