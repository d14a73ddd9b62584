"""The images of a run: what each split is used for, said and recorded."""

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from tlcore.data.reading import Reading
from tlcore.data.sample_images import write_sample_splits
from tlcore.data.splits import load_splits
from tlcore.runs.recipes import find_recipe
from tlcore.runs.run_data import load_data
from tlcore.runs.runner import RunOptions

RECIPE = find_recipe("model_0").changed(
    backbone="sample_net", image_size=32, percent=100.0
)


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "photos"
    counts = {"per_class": 10, "validation_per_class": 4, "test_per_class": 5}
    write_sample_splits(directory, classes=2, size=32, **counts)
    return directory


def load(data, **options):
    lines = []
    return load_data(RECIPE, data, RunOptions(say=lines.append, **options)), lines


def record(found, data):
    return json.loads(json.dumps(found.as_dict(data)))


def test_usual_splits_are_said_and_recorded(data):
    found, lines = load(data)
    assert lines == [
        "train: 20 images in 2 classes",
        "validation: 8 images in 2 classes",
        "test: 10 images in 2 classes",
        "epochs are validated on: validation (8 images); no selection",
    ]
    document = record(found, data)
    assert document["names"] == {n: n for n in ("train", "validation", "test")}
    assert document["shared"] == document["shared_with_train"] == {}
    assert document["findings"] == []
    assert "split" not in document
    assert found.also_in("test") == {}


def test_other_names_are_said_first(data):
    for old, new in (("train", "Training"), ("validation", "val"), ("test", "Testing")):
        (data / old).rename(data / new)
    found, lines = load(data)
    assert lines[0] == "splits: train: Training, validation: val, test: Testing"
    assert record(found, data)["names"]["test"] == "Testing"


def test_class_folders_are_divided_and_the_division_can_be_read_again(data, start):
    found, lines = load(data / "train", split="60/20/20", seed=3)
    assert lines[:2] == [
        "split 60/20/20 by content, seed 3",
        "train: 12 images in 2 classes",
    ]
    document = record(found, data)
    assert document["split"] == {
        "rule": "60/20/20",
        "seed": 3,
        "counts": {"train": 12, "validation": 4, "test": 4},
        "file": "split.csv",
    }
    run = start(data.parent / "runs")
    found.write_split(run)
    again = load_splits(
        run.path / "split.csv",
        root=data / "train",
        image_size=32,
        batch_size=32,
        label_mode="categorical",
    )
    for name, folder in found.splits.folders.items():
        assert again.folders[name].fingerprint == folder.fingerprint


def test_images_in_two_splits_are_warned_of_and_mark_the_figures(data):
    for path in sorted((data / "test").glob("*/*.png"))[:3]:
        shutil.copy(path, data / "train" / path.parent.name / f"x{path.name}")
        shutil.copy(path, data / "validation" / path.parent.name / f"x{path.name}")
    found, lines = load(data)
    assert (
        "warning: 3 of 10 images of test are in validation as well (equal bytes), and "
        "what is selected on them is selected on test"
    ) in lines
    assert record(found, data)["shared"] == {
        "train and validation": 3,
        "train and test": 3,
        "validation and test": 3,
    }
    assert len(record(found, data)["findings"]) == 3
    assert found.also_in("test") == {"also_in": {"train": 3, "validation": 3}}
    assert found.also_in("held out of train") == {}


def test_a_class_in_doubt_is_warned_of(data):
    one, other = sorted((data / "train").iterdir())
    shutil.copy(next(one.glob("*.png")), other / "twin.png")
    _, lines = load(data)
    assert any("stands in more than one class (equal bytes under" in x for x in lines)


class TestSelection:
    def test_the_best_epoch_is_selected_on_validation(self, data):
        found, lines = load(data, early_stopping=2)
        assert found.selected_on == "validation"
        assert lines[-1].endswith("the best is selected on: validation")

    @pytest.mark.parametrize("copied", [1, 8])
    def test_not_on_a_copy_of_test(self, data, copied):
        for path in sorted((data / "validation").glob("*/*.png"))[:copied]:
            shutil.copy(path, data / "test" / path.parent.name / f"x{path.name}")
        message = (
            "Nothing may be selected on test data.*Received: early_stopping=2 on the "
            f"images 'validation', of which {copied} of 8 are in test as well"
        )
        with pytest.raises(ValueError, match=message):
            load(data, early_stopping=2)
        assert load(data)[0].selected_on is None

    def test_nor_on_a_part_of_train_that_is_in_test(self, data):
        shutil.rmtree(data / "validation")
        shutil.rmtree(data / "test")
        shutil.copytree(data / "train", data / "Test")
        with pytest.raises(
            ValueError, match="'held out of train', of which 2 of 2 are"
        ):
            load(data, early_stopping=2)

    def test_a_folder_that_is_called_test_can_be_divided(self, data):
        (data / "train").rename(data / "mine")
        shutil.rmtree(data / "test")
        (data / "mine").rename(data / "test")
        found, _ = load(data / "test", split="60/20/20", early_stopping=1)
        assert found.selected_on == "validation"


def test_a_binary_recipe_gets_binary_labels(data):
    recipe = replace(RECIPE, binary=True)
    found = load_data(recipe, data, RunOptions(say=lambda _: None))
    assert found.validation.label_mode == "binary"


def test_skipped_images_are_in_the_notes_and_no_warning(data):
    bad = next((data / "train").glob("*/*.png"))
    bad.write_bytes(b"")
    found, lines = load(data, skip_bad=True)
    assert lines[0] == "train: 19 images in 2 classes; 1 bad image skipped"
    assert not any(line.startswith("warning") for line in lines)
    assert record(found, data)["splits"]["train"]["skipped"] == [
        [str(bad), "empty file"]
    ]


def test_how_images_are_read_is_recorded_with_what_was_done_to_them(data):
    first = min((data / "train").rglob("*.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(first).save(first, exif=exif)
    first.with_name("notes.txt").write_text("no image")
    chosen = Reading.of(fit="crop", background="black")
    found, lines = load(data, reading=chosen)
    assert lines[0].endswith("; 1 image turned upright; left out: 1 .txt")
    document = record(found, data)
    assert Reading.recorded(document["reading"]) == chosen
    train = document["splits"]["train"]
    assert (train["rotated"], train["left_out"]) == (1, {".txt": 1})


def test_what_is_left_out_of_divided_images_is_said_once(data):
    (data / "train" / "notes.txt").write_text("no class")
    min((data / "train").rglob("*.png")).with_name("a.txt").write_text("no image")
    shutil.rmtree(data / "validation")
    shutil.rmtree(data / "test")
    _, lines = load(data, split="60/20/20")
    assert [line.partition("; ")[2] for line in lines if " images in " in line] == [
        "left out: 1 .txt",
        "",
        "",
    ]
