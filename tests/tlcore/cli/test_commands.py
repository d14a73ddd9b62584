"""The short commands: what they print."""

import json
import subprocess
import sys
import zipfile
from datetime import datetime

import numpy as np
import pytest
from PIL import Image


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

    def test_files_of_weights(self, tlcore, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        (tmp_path / "models").mkdir()
        kept = tmp_path / "models" / "nasnet_mobile_no_top.h5"
        kept.touch()
        code, out, _ = tlcore("backbones", "--files")
        assert code == 0
        assert "NASNet-mobile-no-top.h5  md5:1ed92395b5b598bdda52abe5c0dbfd63" in out
        assert f"kept at {kept}\n" in out
        assert f"goes at {tmp_path / 'models' / 'vgg16_weights_tf_dim'}" in out
        document = json.loads(tlcore("backbones", "--files", "--json")[1])
        assert document["folder"] == str(tmp_path / "models")
        assert [x["file"] for x in document["files"] if x["kept"]] == [kept.name]

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

    @pytest.mark.matrix
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

    @pytest.mark.matrix
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
        run.finish("done")
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


class TestCache:
    @pytest.mark.matrix
    def test_entries_are_listed_and_cleared(self, tlcore, data, tmp_path, small):
        folder = tmp_path / "cache"
        code, _, _ = tlcore(
            *("run", "model_0", "--data", data, *small, "--fine-tune-epochs=0"),
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
        self, tlcore, data, tmp_path, arguments, message, small
    ):
        (tmp_path / "FILE").touch()
        given = [str(tmp_path / a) if a == "FILE" else a for a in arguments]
        code, _, err = tlcore(
            *("run", "model_2", "--data", data, *small, *given),
            *("--out", tmp_path / "runs"),
        )
        assert code == 2
        assert message in err
        assert "Traceback" not in err


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
