"""An opened folder: its images, their order, subsets held out, and bad files."""

import hashlib
import itertools
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcore.data import reading
from tlcore.data.image_folder import image_folder

SIZE = 4
QUICK = {"image_size": SIZE, "batch_size": 3}


def relative(images):
    return [Path(p).relative_to(images.directory).as_posix() for p in images.paths]


@pytest.fixture(scope="session")
def opened(large):
    """Return the images of three classes, one of which has a single image."""
    return image_folder(large, **QUICK)


@pytest.fixture(scope="session")
def divisible(opened):
    """Return classes of 40 and 17 images, from which a part can be held out."""
    whole = opened.unshuffled()
    images = whole.taken(np.flatnonzero(whole.labels < 2))
    return replace(images, class_names=("a", "b"), shuffle=True)


# What a folder holds


def test_classes_are_the_sorted_folder_names_and_labels_their_indices(folder):
    images = image_folder(folder, shuffle=False, **QUICK)
    assert images.class_names == ("a", "b", "c")
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert images.labels.dtype == np.int64
    assert relative(images) == [
        *(f"a/00{i}.png" for i in range(4)),
        *(f"b/00{i}.png" for i in range(3)),
        "c/000.png",
    ]
    assert (images.num_images, images.num_classes, len(images)) == (8, 3, 3)


def test_labels_cannot_be_written_to(folder):
    with pytest.raises(ValueError, match="read-only"):
        image_folder(folder, **QUICK).labels[0] = 1


def test_images_lie_at_any_depth_and_other_files_are_ignored(folder):
    (folder / "a" / "deep" / "er").mkdir(parents=True)
    (folder / "a" / "000.png").rename(folder / "a" / "deep" / "er" / "X.PNG")
    (folder / ".cache").mkdir()
    for ignored in (".cache/a.png", "a/.a.png", "a/notes.txt", "readme.md"):
        (folder / ignored).write_text("no image")
    images = image_folder(folder, shuffle=False, **QUICK)
    assert images.num_images == 8
    assert images.paths[3].endswith("X.PNG")
    assert images.left_out == {".txt": 1}
    assert images.notes() == "8 images in 3 classes; left out: 1 .txt"


def test_images_that_were_not_rgb_are_counted_by_kind(folder):
    path = folder / "a" / "000.png"
    Image.open(path).convert("L").save(path)
    images = image_folder(folder, **QUICK)
    assert images.converted == {"grey": 1}
    assert images.notes() == "8 images in 3 classes; 1 grey image converted to RGB"
    for name, mode in (("001", "L"), ("002", "RGBA"), ("003", "P")):
        path = folder / "a" / f"{name}.png"
        Image.open(path).convert(mode).save(path)
    images = image_folder(folder, **QUICK)
    assert images.converted == {"RGBA": 1, "grey": 2, "palette": 1}
    assert str(images) == (
        "8 images in 3 classes; 1 RGBA, 2 grey and 1 palette images converted to RGB"
    )


def write_turned(path, orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_what_else_is_done_to_images_is_counted_and_said(folder):
    write_turned(folder / "a" / "000.png")
    write_turned(folder / "b" / "001.png", 3)
    Image.new("RGBA", (SIZE, SIZE)).save(folder / "a" / "001.png")
    frames = [Image.new("L", (SIZE, SIZE), shade) for shade in (0, 255)]
    frames[0].save(folder / "c" / "b.tif", save_all=True, append_images=frames[1:])
    images = image_folder(folder, background="#010203", **QUICK)
    assert (images.rotated, images.composed, images.first_frames) == (2, 1, 1)
    assert images.notes() == (
        "9 images in 3 classes; 1 RGBA and 1 grey images converted to RGB; 2 images "
        "turned upright; 1 transparent image put on rgb(1, 2, 3); of 1 file with "
        "several frames the first is read"
    )
    old = image_folder(folder, orientation="ignore", **QUICK)
    assert (old.rotated, old.composed) == (0, 1)
    assert images.unshuffled().rotated == 2


def test_a_part_held_out_counts_its_own_images_and_no_files_left_out(folder):
    write_turned(folder / "a" / "000.png")
    shutil.rmtree(folder / "c")
    (folder / "a" / "notes.txt").touch()
    rest, part = image_folder(folder, **QUICK).split_off(50)
    assert rest.rotated + part.rotated == 1
    assert (rest.left_out, part.left_out) == ({".txt": 1}, {})


def test_the_size_is_reached_as_asked_for(folder):
    Image.new("RGB", (3 * SIZE, SIZE), (200, 0, 0)).save(folder / "a" / "000.png")
    options = {"fit": "pad", "background": (7, 7, 7), "shuffle": False, **QUICK}
    images = image_folder(folder, **options)
    ((first, _), *_) = list(images.dataset())
    assert np.asarray(first)[0, :, 0, 0].tolist() == [7, 200, 7, 7]
    with pytest.raises(ValueError, match="fit must be one of: squash, crop, pad"):
        image_folder(folder, fit="stretch", **QUICK)


def test_notes_name_a_subset_and_skipped_images(folder):
    assert image_folder(folder, **QUICK).notes() == "8 images in 3 classes"
    subset = image_folder(folder, percent=50, **QUICK)
    assert subset.notes() == "5 images in 3 classes (50 % subset)"
    Path(subset.paths[0]).write_bytes(b"")
    images = image_folder(folder, percent=50, skip_bad=True, **QUICK)
    assert images.notes() == (
        "4 images in 3 classes (50 % subset); 1 bad image skipped"
    )


# The fingerprint


def test_the_fingerprint_depends_on_the_content_and_not_on_the_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    first = image_folder(folder, **QUICK)
    copy = image_folder(
        tmp_path / "copy", image_size=9, batch_size=1, label_mode="int", seed=3
    )
    assert re.fullmatch("[0-9a-f]{64}", first.fingerprint)
    assert copy.fingerprint == first.fingerprint


def change_a_byte(folder):
    Image.new("RGB", (SIZE, SIZE), "red").save(folder / "a" / "000.png")


def rename_an_image(folder):
    (folder / "a" / "000.png").rename(folder / "a" / "0000.png")


def rename_a_class(folder):
    (folder / "a").rename(folder / "aa")


def remove_an_image(folder):
    (folder / "a" / "003.png").unlink()


def test_the_fingerprint_does_not_depend_on_the_order(folder):
    images = image_folder(folder, **QUICK)
    assert images.unshuffled().fingerprint == images.fingerprint
    assert replace(images, seed=7).fingerprint == images.fingerprint


def test_the_fingerprint_depends_on_how_files_are_read(folder, monkeypatch):
    options = [{}, {"fit": "crop"}, {"background": "red"}, {"orientation": "ignore"}]
    found = [image_folder(folder, **option, **QUICK).fingerprint for option in options]
    monkeypatch.setattr(reading, "VERSION", reading.VERSION + 1)
    found.append(image_folder(folder, **QUICK).fingerprint)
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    "change", [change_a_byte, rename_an_image, rename_a_class, remove_an_image]
)
def test_any_change_of_the_content_changes_the_fingerprint(folder, change):
    before = image_folder(folder, **QUICK).fingerprint
    change(folder)
    assert image_folder(folder, **QUICK).fingerprint != before


# The order of an epoch


def short(images, indices=None):
    """Return the names of images without what they share, such as "b2 a0"."""
    names = [name.removesuffix(".png").replace("/00", "") for name in relative(images)]
    return " ".join(names if indices is None else [names[i] for i in indices])


ORDERS = [
    # Epochs 0, 1, 2 and 1000, as trained before the folder itself was in this order.
    (
        {},
        "b2 a0 a1 a2 c0 b1 a3 b0",
        "b0 c0 b2 a1 a2 b1 a0 a3",
        "a3 b2 a1 b1 a0 c0 a2 b0",
        "b0 a3 c0 a1 a2 a0 b2 b1",
    ),
    (
        {"seed": 7},
        "a2 a0 b0 b1 c0 a3 a1 b2",
        "a3 b0 a1 a2 b2 c0 a0 b1",
        "b1 a0 b0 a2 b2 a1 a3 c0",
        "b1 b2 a3 a1 c0 a2 a0 b0",
    ),
    (
        {"percent": 50},
        "a1 a2 b0 b1 c0",
        "c0 a2 b0 a1 b1",
        "b1 a2 a1 b0 c0",
        "c0 b1 a2 b0 a1",
    ),
]


@pytest.mark.parametrize(("options", "first", "second", "third", "late"), ORDERS)
def test_the_order_of_an_epoch_is_the_same_on_every_machine(
    folder, options, first, second, third, late
):
    images = image_folder(folder, **options, **QUICK)
    orders = {0: first, 1: second, 2: third, 1000: late}
    for epoch, order in orders.items():
        assert short(images, images.order(epoch)) == order
    assert short(images) == first


def test_of_a_part_held_out_the_rest_trains_in_the_order_it_always_had(
    tmp_path, write_folder
):
    directory = write_folder(tmp_path / "two", {"a": 6, "b": 4})
    rest, part = image_folder(directory, **QUICK).split_off(30)
    assert short(rest, rest.order(0)) == "b3 a0 a1 a2 b1 a3 b0"
    assert short(rest, rest.order(1)) == "b0 b3 a1 a2 b1 a0 a3"
    assert short(part) == "a4 a5 b2"


@pytest.mark.parametrize("change", [{"seed": 7}, {"shuffle": False}])
def test_a_changed_folder_is_listed_as_if_it_had_been_opened_so(folder, change):
    images = replace(image_folder(folder, **QUICK), **change)
    opened = image_folder(folder, **change, **QUICK)
    for name in ("paths", "digests", "kinds"):
        assert getattr(images, name) == getattr(opened, name)
    assert images.labels.tolist() == opened.labels.tolist()
    assert images.order(3).tolist() == opened.order(3).tolist()


def test_sorted_by_class_and_path_is_how_an_unshuffled_folder_is_listed(folder):
    images = image_folder(folder, **QUICK).unshuffled()
    assert short(images) == "a0 a1 a2 a3 b0 b1 b2 c0"
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert images.order(5).tolist() == list(range(8))


@pytest.mark.parametrize("shuffle", [True, False])
def test_paths_labels_digests_and_the_dataset_are_in_one_order(
    folder, visited, shuffle
):
    images = image_folder(folder, shuffle=shuffle, **QUICK).relabelled("int")
    shade_of = {"b": 0, "a": 3, "c": 7}  # red values count up in the order of writing
    expected = [
        (shade_of[name[0]] + int(name[2:5]), label)
        for name, label in zip(relative(images), images.labels.tolist(), strict=True)
    ]
    dataset = images.dataset()
    for _ in range(2):
        assert [pair for batch in visited(dataset) for pair in batch] == expected
    for path, digest in zip(images.paths, images.digests, strict=True):
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    assert [images.class_names[i] for i in images.labels] == [
        name[0] for name in relative(images)
    ]


@settings(deadline=None)
@given(seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 2**62))
def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch(opened, seed, epoch):
    images = replace(opened, seed=seed)
    order = images.order(epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(images.num_images))
    assert order.tolist() == images.order(np.int64(epoch)).tolist()
    assert order.tolist() != images.order(epoch + 1).tolist()
    assert images.unshuffled().order(epoch).tolist() == list(range(images.num_images))


# Batches


def test_a_relabelled_folder_is_the_same_but_for_the_labels(
    tmp_path, write_folder, visited
):
    directory = write_folder(tmp_path / "photos", {"a": 2, "b": 1})
    images = image_folder(directory, shuffle=False, **QUICK)
    relabelled = images.relabelled("binary")
    assert visited(images.dataset()) == [[(0, [1, 0]), (1, [1, 0]), (2, [0, 1])]]
    assert visited(relabelled.dataset()) == [[(0, [0]), (1, [0]), (2, [1])]]
    assert relabelled.fingerprint == images.fingerprint


@pytest.mark.parametrize(
    "first_step",
    [
        1,
        3,
        4,
        300,
        pytest.param(2, marks=pytest.mark.matrix),
        pytest.param(5, marks=pytest.mark.matrix),
        pytest.param(7, marks=pytest.mark.matrix),
    ],
)
@pytest.mark.parametrize("batch_size", [3, 4])
def test_a_stream_from_a_step_on_is_the_stream_without_what_is_before(
    folder, visited, first_step, batch_size
):
    images = image_folder(folder, image_size=SIZE, batch_size=batch_size)
    skipped = itertools.islice(images.stream(), first_step, None)
    assert visited(images.stream(first_step), 7) == visited(skipped, 7)


def test_what_lies_before_the_first_step_is_not_decoded(folder, visited):
    images = image_folder(folder, image_size=SIZE, batch_size=2)
    for index in images.order(0)[:6]:
        Path(images.paths[index]).unlink()
    assert len(visited(images.stream(3), 1)[0]) == 2


def test_a_stream_has_no_end_and_says_so(folder):
    cardinality = image_folder(folder, **QUICK).stream().cardinality()
    assert int(cardinality) == -1


def test_chosen_visits_are_read_in_their_order_without_labels(folder):
    images = image_folder(folder, shuffle=False, **QUICK)
    visits = np.array([7, 0, 8, 15])  # images 7 and 0, and the same in epoch 1
    batches = list(images.pictures(visits, batch_size=3))
    assert [batch.shape[0] for batch in batches] == [3, 1]
    reds = np.concatenate([batch[:, 0, 0, 0] for batch in batches])
    assert reds.tolist() == [7, 3, 3, 7]  # of c/000, a/000, a/000 and c/000


# Bad images


def test_all_bad_images_are_listed_at_once(folder):
    (folder / "a" / "001.png").write_bytes(b"")
    (folder / "b" / "002.jpg").write_text("not found")
    with pytest.raises(ValueError, match="2 that cannot be used") as raised:
        image_folder(folder, **QUICK)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("Every image must be readable. Received: 2")
    assert lines[1] == f"  {folder / 'a' / '001.png'}: empty file"
    assert lines[2] == (
        f"  {folder / 'b' / '002.jpg'}: not a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, "
        "HEIC or PPM image"
    )
    assert "skip_bad=True" in lines[3]
    assert "--skip-bad" in lines[3]


def test_of_many_bad_images_twenty_are_named(folder):
    for index in range(25):
        (folder / "a" / f"bad{index:02}.jpg").touch()
    with pytest.raises(
        ValueError, match=r"bad19\.jpg: empty file\n  and 5 more\n"
    ) as e:
        image_folder(folder, **QUICK)
    assert "bad20" not in str(e.value)


def test_bad_images_can_be_skipped_and_are_remembered(folder, visited):
    bad = folder / "a" / "001.png"
    bad.write_bytes(b"")
    images = image_folder(folder, skip_bad=True, shuffle=False, **QUICK)
    assert images.skipped == ((str(bad), "empty file"),)
    assert images.num_images == 7
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert str(bad) not in images.paths
    assert images.notes() == "7 images in 3 classes; 1 bad image skipped"
    assert sum(map(len, visited(images.dataset()))) == 7


def test_a_class_must_keep_an_image(folder):
    (folder / "c" / "000.png").write_bytes(b"")
    with pytest.raises(ValueError, match="all images of c are bad"):
        image_folder(folder, skip_bad=True, **QUICK)


def test_bad_images_outside_the_subset_are_not_opened(folder):
    kept = set(image_folder(folder, percent=1, **QUICK).paths)
    for path in set(image_folder(folder, **QUICK).paths) - kept:
        Path(path).write_bytes(b"")
    assert set(image_folder(folder, percent=1, **QUICK).paths) == kept


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percent": 0}, "Received: percent=0"),
        ({"image_size": 0}, "Received: image_size=0"),
        ({"label_mode": "binary"}, "exactly two classes.* with 3: a, b, c"),
    ],
)
def test_an_option_out_of_range_is_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **options)


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a folder that exists"):
        image_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("label_mode", "message"),
    [("binray", "categorical, int, binary"), ("binary", "exactly two classes")],
)
def test_a_folder_is_not_relabelled_in_a_form_it_cannot_have(
    folder, label_mode, message
):
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **QUICK).relabelled(label_mode)


@pytest.mark.parametrize("first_step", [-1, 0.5])
def test_a_stream_starts_at_a_step(folder, first_step):
    with pytest.raises(ValueError, match=f"first_step={first_step}"):
        image_folder(folder, **QUICK).stream(first_step)


# Holding a part out


@settings(deadline=None)
@given(percent=st.floats(0.01, 99.99), seed=st.none() | st.integers(0, 9))
def test_a_part_held_out_is_stratified_and_nothing_is_lost(divisible, percent, seed):
    rest, part = divisible.split_off(percent, seed=seed)
    assert sorted(rest.paths + part.paths) == sorted(divisible.paths)
    assert list(rest.unshuffled().paths) == sorted(rest.paths)
    counts = np.bincount(part.labels, minlength=2).tolist()
    expected = [min(n - 1, max(1, round(n * percent / 100))) for n in (40, 17)]
    assert counts == expected
    for folder in (rest, part):
        assert [name.split("/")[0] for name in relative(folder)] == [
            folder.class_names[label] for label in folder.labels
        ]
    assert (rest.shuffle, part.shuffle) == (True, False)


def test_the_same_part_is_held_out_each_time_and_another_with_another_seed(divisible):
    parts = [divisible.split_off(10, seed=seed)[1].paths for seed in (42, None, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_skipped_images_are_reported_by_the_rest_alone(folder):
    shutil.rmtree(folder / "c")
    (folder / "a" / "000.png").write_bytes(b"")
    rest, part = image_folder(folder, skip_bad=True, **QUICK).split_off(50)
    assert (len(rest.skipped), len(part.skipped)) == (1, 0)


def test_no_image_is_held_out_of_a_class_with_one(folder):
    with pytest.raises(ValueError, match="at least 2 images.* Received: c with 1"):
        image_folder(folder, **QUICK).split_off()


def test_copies_of_an_image_are_not_on_both_sides(folder):
    shutil.rmtree(folder / "c")
    for index in range(4):
        shutil.copy(folder / "a" / f"00{index}.png", folder / "a" / f"1{index}.png")
    shutil.copy(folder / "b" / "000.png", folder / "a" / "twin.png")
    for seed in range(20):
        rest, part = image_folder(folder, **QUICK).split_off(40, seed=seed)
        assert not set(rest.digests) & set(part.digests)
        assert np.bincount(part.labels).tolist() == [2, 1]
        # A contradiction decides nothing: it is not held out.
        assert {"a/twin.png", "b/000.png"} <= set(relative(rest))


def test_some_images_are_taken_by_their_place_in_the_listing(folder):
    images = replace(image_folder(folder, **QUICK), seed=7)
    some = images.taken(np.array([5, 0, 2]))
    assert set(some.paths) == {images.paths[i] for i in (5, 0, 2)}
    assert short(some.unshuffled()) == " ".join(sorted(short(some).split()))
    assert short(some) == short(some, some.order(0))
    for index, path in enumerate(some.paths):
        first = images.paths.index(path)
        assert some.digests[index] == images.digests[first]
        assert some.labels[index] == images.labels[first]
        assert some.levels[index].tolist() == images.levels[first].tolist()


def test_which_images_are_held_out_depends_neither_on_order_nor_on_listing(divisible):
    expected = [set(side.paths) for side in divisible.split_off(30)]
    for images in (divisible.unshuffled(), replace(divisible, seed=7)):
        found = images.split_off(30, seed=divisible.seed)
        assert [set(side.paths) for side in found] == expected


@pytest.mark.parametrize("percent", [0, 100, float("nan")])
def test_less_than_all_is_held_out(folder, percent):
    message = rf"above 0 and below 100\. Received: percent={percent}"
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **QUICK).split_off(percent)
