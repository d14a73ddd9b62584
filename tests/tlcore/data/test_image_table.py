"""Images whose classes are in a table."""

import numpy as np
import pytest

from tlcore.data.image_folder import image_folder
from tlcore.data.image_table import image_table

QUICK = {"image_size": 4, "batch_size": 3}


def names(images):
    return [path.removeprefix(f"{images.directory}/") for path in images.paths]


@pytest.fixture
def table(folder):
    """Return a function that writes a table next to the images of `folder`."""

    def write(*lines, name="labels.csv"):
        path = folder.parent / name
        path.write_text("\n".join(lines))
        return path

    return write


ROWS = ("file,kind", "a/001.png,yes", "c/000.png,no", "a/000.png,no", "b/002.png,yes")


def test_a_table_is_an_image_folder_by_class_and_path(table, folder, visited):
    images = image_table(table(*ROWS), root=folder, shuffle=False, **QUICK)
    assert images.class_names == ("no", "yes")
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert names(images) == ["a/000.png", "c/000.png", "a/001.png", "b/002.png"]
    assert images.directory == folder
    batches = visited(images.relabelled("int").dataset())
    assert [label for batch in batches for _, label in batch] == [0, 0, 1, 1]


def test_pairs_and_mappings_mean_the_same(table, folder):
    pairs = [tuple(row.split(",")) for row in ROWS[1:]]
    expected = image_table(table(*ROWS), root=folder, **QUICK).fingerprint
    absolute = [(str(folder / path), label) for path, label in pairs]
    for same in (pairs, dict(pairs), [(p.replace("/", "\\"), x) for p, x in pairs]):
        assert image_table(same, root=folder, **QUICK).fingerprint == expected
    for root in (folder, None):
        assert image_table(absolute, root=root, **QUICK).fingerprint == expected


def test_paths_start_from_the_folder_of_the_table(table, folder):
    rows = [row.replace("/0", "/./0") for row in ROWS]
    path = table(rows[0], *(f"photos/{row}" for row in rows[1:]))
    images = image_table(path, **QUICK)
    assert names(images)[0] == "photos/a/000.png"


def test_the_images_of_a_table_are_read_and_listed_as_those_of_a_folder(table, folder):
    path = table(*ROWS)
    images = image_table(path, root=folder, fit="pad", background="red", **QUICK)
    assert (images.reading.fit, images.reading.background) == ("pad", (255, 0, 0))
    plain = image_table(path, root=folder, seed=3, **QUICK)
    assert plain.fingerprint != images.fingerprint
    # With shuffle=True in the order of epoch 0, labels and levels with their paths.
    expected = dict(row.split(",") for row in ROWS[1:])
    found = [plain.class_text(index) for index in range(plain.num_images)]
    assert found == [expected[name] for name in names(plain)]
    assert plain.unshuffled().fingerprint == plain.fingerprint
    assert plain.order(0).tolist() == [0, 1, 2, 3]
    assert names(plain) != names(plain.unshuffled())


def test_rows_of_several_classes_stay_with_their_images(table, folder):
    lines = [f"{name}/000.png,{name}|all" for name in "abc"]
    path = table("path,label", *lines)
    images = image_table(path, root=folder, label_mode="multi", seed=3, **QUICK)
    assert names(images) != names(images.unshuffled())
    for index, name in enumerate(names(images)):
        assert images.class_text(index) == "|".join(sorted([name[0], "all"]))


def test_the_fingerprint_knows_the_labels(folder):
    # Both list the files in the same order.
    paths = ("a/000.png", "a/001.png", "b/000.png")
    fingerprints = {
        image_table(
            list(zip(paths, labels, strict=True)), root=folder, **QUICK
        ).fingerprint
        for labels in ("xxy", "xyy")
    }
    assert len(fingerprints) == 2


def test_a_table_of_a_folder_has_its_fingerprint(folder):
    images = image_folder(folder, **QUICK)
    pairs = [(path, images.class_text(i)) for i, path in enumerate(images.paths)]
    assert image_table(pairs, root=folder, **QUICK).fingerprint == images.fingerprint


def test_a_part_and_another_part_held_out_are_stratified(folder):
    pairs = [(str(p), p.parent.name) for p in folder.glob("[ab]/*.png")]
    images = image_table(pairs, root=folder, percent=50, **QUICK)
    assert np.bincount(images.labels).tolist() == [2, 2]
    rest, part = images.split_off(50)
    assert np.bincount(part.labels).tolist() == [1, 1]
    assert set(rest.paths) | set(part.paths) == set(images.paths)


def test_whole_numbers_are_sorted_by_size(folder):
    paths = sorted(map(str, folder.glob("*/*.png")))[:3]
    pairs = list(zip(paths, (10, 2, 1), strict=True))
    assert image_table(pairs, root=folder, **QUICK).class_names == ("1", "2", "10")


def test_class_names_may_be_given_in_their_order(folder):
    path = str(folder / "a" / "000.png")
    images = image_table([(path, "b")], class_names=["c", "b"], **QUICK)
    assert (images.class_names, images.labels.tolist()) == (("c", "b"), [1])
    for bad in (["c", "d"], ["b", "b"]):
        with pytest.raises(ValueError, match=r"class_names must hold every label.*Rec"):
            image_table([(path, "b")], class_names=bad, **QUICK)


# Several classes for an image


MULTI = {"label_mode": "multi", "shuffle": False, **QUICK}
FLAGS = ("file,cat,dog,by", "a/001.png,1,1,me", "a/000.png,0,1,me", "b/000.png,0,0,you")
EXPECTED = [[0, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (FLAGS, {}),
        (FLAGS, {"label_column": ["cat", "dog"]}),
        (("file,tags", "a/001.png,cat|dog", "a/000.png,dog", "b/000.png,"), {}),
        (
            ("file,tags", "a/001.png,cat dog", "a/000.png,dog", "b/000.png,"),
            {"label_separator": " "},
        ),
        (
            (
                "file,tags",
                "a/001.png,cat",
                "a/001.png,dog",
                "a/000.png,dog",
                "b/000.png,",
            ),
            {},
        ),
    ],
)
def test_rows_of_0_and_1_come_from_columns_or_from_a_cell(
    table, folder, lines, options
):
    images = image_table(table(*lines), root=folder, **options, **MULTI)
    assert images.class_names == ("cat", "dog")
    assert names(images) == ["a/000.png", "a/001.png", "b/000.png"]
    assert images.labels.tolist() == EXPECTED
    assert images.labels.dtype == np.float32
    assert [images.class_text(i) for i in range(3)] == ["dog", "cat|dog", ""]


def test_several_classes_need_to_be_asked_for(table, folder):
    with pytest.raises(ValueError, match="Several columns of labels need label_mode"):
        image_table(table(*FLAGS), root=folder, label_column=["cat", "dog"], **QUICK)
    with pytest.raises(
        ValueError, match="label_mode='multi' for images with one class"
    ):
        image_folder(folder, label_mode="multi", **QUICK)
    images = image_table(table(*FLAGS), root=folder, **MULTI)
    with pytest.raises(ValueError, match=r"with several classes each\. Use 'multi'"):
        images.relabelled("int")


def test_columns_of_labels_hold_0_and_1(table, folder):
    path = table("file,cat,dog", "a/001.png,1,2", "a/000.png,,1")
    with pytest.raises(ValueError, match="line 3, cat: empty, line 2, dog: 2"):
        image_table(path, root=folder, label_column=["cat", "dog"], **MULTI)


# What is refused


def test_missing_files_are_refused_together(table, folder):
    rows = [f"a/{i}.png,x" for i in range(25)]
    path = table("path,label", "c/000,y", ",y", "a/000.png,x", *rows)
    with pytest.raises(ValueError, match="with 27 of 28 that are not") as raised:
        image_table(path, root=folder, **QUICK)
    lines = str(raised.value).splitlines()
    assert lines[1] == "  line 2: c/000 (there is a file with '.png' at the end)"
    assert lines[2] == "  line 3: no path"
    assert lines[3] == "  line 5: a/0.png"
    assert lines[-2] == "  and 7 more"
    assert "give root=" in lines[-1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a/000.png,x", "a/001.png,x"), "at least two classes.*with x only"),
        (("a/000.png,x", "a/001.png,"), "must have one label.*line 3 with no label"),
        (
            ("a/000.png,x", "b/000.png,y", "a/./000.png,x"),
            "must stand in one row.*1 image in several: a/000.png in line 2 and line 4",
        ),
        (
            ("a/000.png,x", "a/000.png,y"),
            "for several classes of an image use label_mo",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_refused(table, folder, rows, message):
    with pytest.raises(ValueError, match=message):
        image_table(table("path,label", *rows), root=folder, **QUICK)


def test_images_lie_in_root(table, folder):
    path = table("path,label", "../b/000.png,x", "000.png,y")
    with pytest.raises(ValueError, match=r"must lie in root.*line 2: \.\./b/000\.png"):
        image_table(path, root=folder / "a", **QUICK)
    with pytest.raises(ValueError, match="which is no folder"):
        image_table(path, root=folder / "none", **QUICK)


def test_a_table_with_splits_is_opened_elsewhere(table, folder):
    rows = ("path,label,Split", "a/000.png,x,train", "b/000.png,y,train")
    rows += ("a/001.png,x,test", "b/001.png,y,test")
    with pytest.raises(
        ValueError, match=r"Received: .*splits, train and test\. Open all"
    ):
        image_table(table(*rows), root=folder, **QUICK)
    # Numbers of folds are no splits.
    folds = [row.replace("train", "1").replace("test", "2") for row in rows]
    assert image_table(table(*folds), root=folder, **QUICK).num_images == 4


def test_bad_images_are_listed_and_can_be_skipped(table, folder):
    (folder / "a" / "001.png").write_bytes(b"")
    path = table("path,label", "a/000.png,x", "a/001.png,x", "b/000.png,y")
    with pytest.raises(ValueError, match="001.png: empty file"):
        image_table(path, root=folder, **QUICK)
    assert image_table(path, root=folder, skip_bad=True, **QUICK).num_images == 2
