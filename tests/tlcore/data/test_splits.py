"""The splits of a data folder, opened together."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tlcore.data.reading import Reading
from tlcore.data.splits import load_splits

SIZE = 4
LOADED = {"image_size": SIZE, "batch_size": 3, "label_mode": "int"}


@pytest.fixture
def write_splits(write_folder, tmp_path):
    """Return what writes splits of two classes, given the images per class."""

    def write(**counts):
        for split, per_class in counts.items():
            write_folder(tmp_path / split, {"a": per_class, "b": per_class})
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("present", "epochs_on"),
    [
        (("validation",), "validation"),
        (("test",), "test"),
        (("validation", "test"), "validation"),
    ],
)
def test_splits_say_what_epochs_are_validated_on(write_splits, present, epochs_on):
    directory = write_splits(train=10, **dict.fromkeys(present, 4))
    splits = load_splits(directory, percent=20, **LOADED)
    assert splits.train.num_images == 4
    assert splits.train.shuffle
    assert splits.epochs_on == (epochs_on, getattr(splits, epochs_on))
    for name in ("validation", "test"):
        folder = getattr(splits, name)
        assert (folder is not None) is (name in present)
        if folder is not None:
            assert folder.num_images == 8
            assert folder.percent == 100
            assert not folder.shuffle


def test_images_of_train_among_the_others_are_counted(write_splits):
    directory = write_splits(train=3, validation=2, test=2)
    assert load_splits(directory, **LOADED).shared_images == {
        "validation": 4,
        "test": 4,
    }
    for name in "ab":
        for index in range(2):
            path = directory / "test" / name / f"{index:03}.png"
            Image.new("RGB", (SIZE, SIZE), (7, 7, index)).save(path)
    assert load_splits(directory, **LOADED).shared_images == {"validation": 4}


def test_splits_are_relabelled_together(write_splits):
    directory = write_splits(train=2, test=2)
    splits = load_splits(directory, **LOADED).relabelled("binary")
    assert splits.train.label_mode == splits.test.label_mode == "binary"
    assert splits.validation is None


def test_bad_images_of_all_splits_are_listed_in_one_error(write_splits):
    directory = write_splits(train=2, validation=2, test=2)
    for split in ("train", "validation", "test"):
        (directory / split / "a" / "bad.jpg").touch()
    with pytest.raises(ValueError, match="3 that cannot be used") as raised:
        load_splits(directory, **LOADED)
    for split in ("train", "validation", "test"):
        assert str(directory / split / "a" / "bad.jpg") in str(raised.value)
    splits = load_splits(directory, skip_bad=True, **LOADED)
    assert [len(f.skipped) for f in splits.folders.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"test": "ab"}, "where test lacks c. Add, rename or remove folders"),
        ({"test": "abcd"}, "where train lacks d of test"),
        (
            {"validation": "acx", "test": "bc"},
            "validation lacks b; train lacks x of validation; test lacks a",
        ),
    ],
)
def test_splits_of_other_classes_are_refused(tmp_path, write_folder, classes, message):
    for split, names in {"train": "abc", **classes}.items():
        write_folder(tmp_path / split, dict.fromkeys(names, 1))
    with pytest.raises(ValueError, match=message):
        load_splits(tmp_path, **LOADED)


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train_set", "test_set")])
def test_splits_of_other_names_are_read_and_the_names_kept(write_splits, names):
    splits = load_splits(write_splits(**dict.fromkeys(names, 2)), **LOADED)
    assert splits.folders.keys() == {"train", "test"}
    assert splits.source.names == dict(zip(("train", "test"), names, strict=True))
    train, test = names
    assert splits.source.naming() == f"splits: train: {train}, test: {test}"
    assert {name: f.split for name, f in splits.folders.items()} == {
        "train": "train",
        "test": "test",
    }


def test_of_usual_names_nothing_is_said(write_splits):
    assert load_splits(write_splits(train=1, test=1), **LOADED).source.naming() is None


def test_every_two_splits_are_compared(write_splits, tmp_path):
    directory = write_splits(train=1, validation=3, test=2)
    splits = load_splits(directory, **LOADED)
    # Of each folder the first images are the same.
    assert splits.overlaps == {
        ("train", "validation"): 2,
        ("train", "test"): 2,
        ("validation", "test"): 4,
    }
    shutil.rmtree(tmp_path / "train")
    shutil.copytree(tmp_path / "test", tmp_path / "train")
    for path in (tmp_path / "train").glob("*/*.png"):
        Image.new("RGB", (SIZE, SIZE), (9, 9, len(path.parent.name))).save(path)
    splits = load_splits(directory, **LOADED)
    assert splits.overlaps == {("validation", "test"): 4}
    assert splits.shared_images == {}


# Splits that are made


@pytest.fixture
def classes(write_folder, tmp_path):
    """Return a folder of two classes of 20 images, no two of them equal."""
    return write_folder(tmp_path / "photos", {"a": 20, "b": 20})


def sides(splits):
    return {
        name: {str(Path(p).relative_to(f.directory)) for p in f.paths}
        for name, f in splits.folders.items()
    }


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("80/10/10", {"train": 32, "validation": 4, "test": 4}),
        ((50, 25, 25), {"train": 20, "validation": 10, "test": 10}),
        ("75/25", {"train": 30, "test": 10}),
        ("validation=25", {"train": 30, "validation": 10}),
    ],
)
@pytest.mark.parametrize("lone", [False, True])
def test_class_folders_and_a_lone_train_are_divided(classes, split, counts, lone):
    directory = classes
    if lone:
        classes.rename(classes.parent / "Train")
        directory = classes.parent
    splits = load_splits(directory, split=split, **LOADED)
    assert splits.allotment.counts == counts
    assert {n: f.num_images for n, f in splits.folders.items()} == counts
    assert len(set().union(*sides(splits).values())) == 40
    for name, folder in splits.folders.items():
        assert folder.labels.mean() == 0.5
        assert (folder.shuffle, folder.split) == (name == "train", name)
    assert splits.overlaps == {}
    again = load_splits(directory, split=split, **LOADED)
    assert sides(again) == sides(splits)
    assert sides(load_splits(directory, split=split, seed=1, **LOADED)) != sides(splits)


def test_who_went_where_is_kept(classes):
    splits = load_splits(classes, split="80/20", seed=3, **LOADED)
    allotment = splits.allotment
    assert (allotment.rule.text, allotment.seed) == ("80/20", 3)
    assert len(allotment.rows) == 40
    assert {row for row in allotment.rows if row[2] == "test"} == {
        (name, name[0], "test") for name in sides(splits)["test"]
    }


def test_a_renamed_image_stays_on_its_side(classes):
    before = load_splits(classes, split="60/40", **LOADED)
    for path in classes.glob("a/*.png"):
        path.rename(path.with_name(f"new {path.name}"))
    after = load_splits(classes, split="60/40", **LOADED)
    assert set(after.test.digests) == set(before.test.digests)


def test_copies_are_on_one_side(classes):
    for path in list(classes.glob("a/*.png")):
        shutil.copy(path, path.with_name(f"copy {path.name}"))
    splits = load_splits(classes, split="60/20/20", **LOADED)
    assert splits.overlaps == {}
    assert splits.train.num_images < 60


def test_a_part_of_train_is_taken_after_the_split(classes):
    parts = [
        load_splits(classes, split="50/50", percent=p, **LOADED) for p in (100, 20)
    ]
    whole, part = parts
    assert part.train.num_images == 4
    assert sides(part)["train"] < sides(whole)["train"]
    assert sides(part)["test"] == sides(whole)["test"]
    assert part.train.percent == 20


def test_validation_is_held_out_of_train_where_it_is_asked_for_by_name(write_splits):
    directory = write_splits(train=10, test=2)
    splits = load_splits(directory, split="validation=20", **LOADED)
    counts = {n: f.num_images for n, f in splits.folders.items()}
    assert counts == {"train": 16, "validation": 4, "test": 4}
    assert splits.source.names == {"train": "train", "test": "test"}


@pytest.mark.parametrize(
    ("present", "split", "message"),
    [
        (
            ("train", "test"),
            "80/10/10",
            "split='80/10/10' for '.*', which has train and test. Leave split out, or "
            r'hold validation out of train by its name: split="validation=10" \(on the '
            r"command line --split validation=10\)\.",
        ),
        (("train", "test"), "80/20", "or hold validation out of train by its name"),
        (("train", "test"), "test=10", "which has train and test"),
        (("train", "val"), "validation=10", r'has train and val\. .*split="test=10"'),
        (("train", "val", "test"), "80/10/10", "val and test. Leave split out.$"),
    ],
)
def test_splits_that_are_there_are_not_divided_by_mistake(
    write_splits, present, split, message
):
    directory = write_splits(**dict.fromkeys(present, 3))
    with pytest.raises(ValueError, match=message):
        load_splits(directory, split=split, **LOADED)


@pytest.mark.parametrize("lone", [False, True])
def test_images_without_splits_are_refused_with_the_option_that_helps(classes, lone):
    if lone:
        classes.rename(classes.parent / "train")
    with pytest.raises(ValueError, match=r'split="80/10/10" \(on the .*--split 80/10/'):
        load_splits(classes.parent if lone else classes, **LOADED)


def test_one_class_or_an_empty_one_is_not_divided(classes):
    (classes / "c").mkdir()
    with pytest.raises(ValueError, match="with none in: c"):
        load_splits(classes, split="80/20", **LOADED)
    shutil.rmtree(classes / "b")
    shutil.rmtree(classes / "c")
    with pytest.raises(ValueError, match="at least two classes.*only folder 'a'"):
        load_splits(classes, split="80/20", **LOADED)


def test_a_class_too_small_for_three_splits_is_named(tmp_path, write_folder):
    directory = write_folder(tmp_path, {"a": 9, "b": 2})
    with pytest.raises(ValueError, match="at least 3 images .* Received: b with 2"):
        load_splits(directory, split="80/10/10", **LOADED)


# Tables and archives


def write_table(classes, *, splits=False):
    lines = ["image,class" + (",split" if splits else "")]
    for index, path in enumerate(sorted(classes.glob("*/*.png"))):
        side = ("training", "test", "valid")[index % 3]
        row = f"{path.relative_to(classes)},{path.parent.name}"
        lines.append(row + (f",{side}" if splits else ""))
    table = classes.parent / "labels.csv"
    table.write_text("\n".join(lines))
    return table


def test_a_table_with_a_column_of_splits_is_opened(classes):
    table = write_table(classes, splits=True)
    splits = load_splits(table, root=classes, **LOADED)
    assert {n: f.num_images for n, f in splits.folders.items()} == {
        "train": 14,
        "validation": 13,
        "test": 13,
    }
    assert splits.source.naming() == (
        "splits: train: training, validation: valid, test: test"
    )


def test_a_table_without_one_is_divided_as_its_folders_are(classes):
    table = write_table(classes)
    with pytest.raises(ValueError, match="column of splits, or be divided.*--split"):
        load_splits(table, root=classes, **LOADED)
    splits = load_splits(table, root=classes, split="80/20", **LOADED)
    assert sides(splits) == sides(load_splits(classes, split="80/20", **LOADED))


def test_root_is_for_tables(classes):
    with pytest.raises(ValueError, match="root='x' with the folder '.*photos"):
        load_splits(classes, root="x", split="80/20", **LOADED)


def test_an_archive_is_a_data_folder(write_splits, tmp_path):
    write_splits(train=2, test=1)
    for name in ("train", "test"):
        shutil.copytree(tmp_path / name, tmp_path / "photos" / name)
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "photos")
    lines = []
    splits = load_splits(archive, say=lines.append, **LOADED)
    assert splits.train.fingerprint == (
        load_splits(tmp_path / "photos", **LOADED).train.fingerprint
    )
    (line,) = lines
    assert line.startswith("all.zip: unpacked in '")


def test_all_splits_are_read_in_one_way(write_splits):
    directory = write_splits(train=2, test=2)
    options = {"fit": "pad", "background": "black", "orientation": "ignore"}
    splits = load_splits(directory, **options, **LOADED)
    expected = Reading.of(**options)
    assert splits.train.reading == splits.test.reading == expected
    with pytest.raises(ValueError, match="orientation must be one of: apply, ignore"):
        load_splits(directory, orientation="no", **LOADED)


def test_a_table_of_several_classes_is_divided(classes):
    labels = ["cat", "dog", "cat|dog", ""]
    paths = sorted(map(str, classes.glob("*/*.png")))
    table = {path: labels[i % 4] for i, path in enumerate(paths)}
    options = {**LOADED, "label_mode": "multi", "split": "60/20/20"}
    splits = load_splits(table, percent=50, **options)
    counts = {name: len(x.paths) for name, x in splits.folders.items()}
    assert counts == {"train": 12, "validation": 8, "test": 8}
    for folder in splits.folders.values():
        assert folder.labels.shape == (folder.num_images, 2)
        assert folder.labels.mean() == 0.5
    assert {row[1] for row in splits.allotment.rows} == {*labels}
    assert {finding.kind for finding in splits.findings()} == {"flat images"}


def test_bad_images_are_left_out_before_a_split(classes):
    bad = next(classes.glob("a/*.png"))
    bad.write_bytes(b"")
    splits = load_splits(classes, split="80/20", skip_bad=True, **LOADED)
    assert len(splits.allotment.rows) == 39
    skipped = {name: len(x.skipped) for name, x in splits.folders.items()}
    assert skipped == {"train": 1, "test": 0}
