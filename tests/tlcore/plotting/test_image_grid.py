"""Which images are drawn, under which names: data and places, never pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcore.data.image_folder import image_folder
from tlcore.plotting.image_grid import _labelled, _sample, plot_images


@dataclass
class Folder:
    class_names: list[str]
    paths: list[Path]
    labels: list[int]


@pytest.fixture
def folder(tmp_path):
    """Three classes of 6 images, 60 x 30; a value says its class and number."""
    paths, labels = [], []
    for label in range(3):
        for number in range(6):
            path = tmp_path / f"{label}-{number}.png"
            pixels = np.full((30, 60, 3), 50 * label + number, np.uint8)
            Image.fromarray(pixels).save(path)
            paths.append(path)
            labels.append(label)
    return Folder(["cat", "dog", "eel"], paths, labels)


def batches(labels, *, channels=3, dtype="float32", size=4):
    """Two batches of images, each filled with its place from 1."""
    count = len(labels)
    values = np.arange(1, count + 1).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(values, (count, size, size, channels)).astype(dtype)
    labels = np.asarray(labels)
    half = count // 2
    return [(images[:half], labels[:half]), (images[half:], labels[half:])]


def rows(figure):
    """Return the name of each row and the value of each of its images."""
    found = {}
    for axes in figure.axes:
        title = axes.get_title(loc="left")
        values = found.setdefault(title, []) if title else values  # noqa: F821
        values.extend(int(i.get_array().reshape(-1)[0]) for i in axes.get_images())
    return found


def test_each_class_has_a_row_of_its_own_images_under_its_name(folder):
    figure = plot_images(folder)

    drawn = rows(figure)

    assert list(drawn) == ["cat", "dog", "eel"]
    assert figure.get_suptitle() == "3 classes"
    for label, values in enumerate(drawn.values()):
        assert len(set(values)) == 4
        assert all(value // 50 == label for value in values)


def test_a_class_with_few_images_has_a_short_row(folder):
    folder.paths, folder.labels = folder.paths[:8], folder.labels[:8]

    assert [len(v) for v in rows(plot_images(folder)).values()] == [4, 2]


def test_a_class_without_images_has_no_row_and_the_title_says_so(folder):
    folder.paths, folder.labels = folder.paths[:12], folder.labels[:12]

    assert plot_images(folder).get_suptitle() == "2 of 3 classes"


def test_classes_of_one_name_keep_a_row_each(folder):
    figure = plot_images(folder, class_names=["same", "same", "same"], per_class=1)

    assert [axes.get_title(loc="left") for axes in figure.axes] == ["same"] * 3


def test_images_in_files_are_drawn_undistorted(folder):
    for axes in plot_images(folder).axes:
        (image,) = axes.get_images()
        assert image.get_array().shape == (30, 60, 3)
        assert axes.get_aspect() == 1
        assert axes.get_xlim() == (-0.5, 59.5)
        assert axes.get_ylim() == (59.5, -0.5)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_large_image_is_shrunk_in_proportion(tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    Image.new("RGB", (2000, 1000)).save(path)

    figure = plot_images(Folder(["a"], [path], [0]))

    (image,) = figure.axes[0].get_images()
    assert image.get_array().shape == (160, 320, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_an_image_of_any_mode_is_drawn_in_colours(tmp_path, mode):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new(mode, (6, 4)).save(path)

    (image,) = plot_images(Folder(["a"], [path], [0])).axes[0].get_images()

    assert image.get_array().shape == (4, 6, 3)


def write_turned(path):
    """Write an image of 16 x 8 pixels, red above blue, stored on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.new("RGB", (16, 8), "red")
    upright.paste("blue", (0, 4, 16, 8))
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


@pytest.mark.parametrize(
    ("orientation", "shape", "corner"),
    [("apply", (8, 16), [0, 0, 255]), ("ignore", (16, 8), [255, 0, 0])],
)
def test_files_are_drawn_as_their_folder_reads_them(
    tmp_path, orientation, shape, corner
):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_turned(tmp_path / name / "0.png")
    opened = image_folder(tmp_path, image_size=8, orientation=orientation)
    figure = plot_images(opened)
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    assert pixels.shape[:2] == shape
    assert pixels[-1, 0].tolist() == corner


def test_the_choice_does_not_depend_on_how_a_folder_is_shuffled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for shade in range(9):
            image = Image.new("L", (4, 4), 20 * shade)
            image.save(tmp_path / name / f"{shade}.png")
    drawn = [
        rows(plot_images(image_folder(tmp_path, image_size=8, seed=s, shuffle=shuffle)))
        for s, shuffle in ((1, True), (2, True), (1, False))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_of_many_classes_twenty_are_drawn_in_order_and_counted():
    figure = plot_images(batches(range(101)), per_class=1)

    drawn = [int(name) for name in rows(figure)]

    assert figure.get_suptitle() == "20 of 101 classes"
    assert len(drawn) == 20
    assert drawn == sorted(set(drawn))
    others = rows(plot_images(batches(range(101)), per_class=1, seed=1))
    assert list(others) != [str(label) for label in drawn]


def test_the_choice_depends_on_the_seed_alone(folder):
    first = rows(plot_images(folder, seed=7))
    np.random.default_rng().normal()

    assert rows(plot_images(folder, seed=7)) == first
    assert any(rows(plot_images(folder, seed=s)) != first for s in range(8, 12))


def test_a_dataset_gives_the_choice_its_folder_gives(folder):
    images = np.stack([np.asarray(Image.open(path)) for path in folder.paths])
    stream = [
        (images[i : i + 5].astype("float32"), np.eye(3)[folder.labels[i : i + 5]])
        for i in range(0, 18, 5)
    ]

    figure = plot_images(stream, class_names=folder.class_names)

    assert rows(figure) == rows(plot_images(folder))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.eye(3)[[0, 2, 1, 0]], {"0": [1, 4], "1": [3], "2": [2]}),
        (np.array([0, 2, 1, 0]), {"0": [1, 4], "1": [3], "2": [2]}),
        (np.array([0, 2, 1, 0], "uint8"), {"0": [1, 4], "1": [3], "2": [2]}),
        (np.array([0.0, 1.0, 1.0, 0.0]), {"0": [1, 4], "1": [2, 3]}),
        (np.array([[0.0], [1.0], [1.0], [0.0]]), {"0": [1, 4], "1": [2, 3]}),
        (np.array([[True], [True], [True], [False]]), {"0": [4], "1": [1, 2, 3]}),
    ],
    ids=["one-hot", "integers", "bytes", "floats", "binary column", "booleans"],
)
def test_labels_of_every_form_name_the_class(labels, names):
    assert rows(plot_images(batches(labels))) == names


@pytest.mark.parametrize(
    ("channels", "shape"), [(1, (4, 4)), (3, (4, 4, 3)), (4, (4, 4, 4))]
)
@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int64"])
def test_batches_of_every_kind_are_drawn_as_bytes(channels, shape, dtype):
    figure = plot_images(batches([0, 0], channels=channels, dtype=dtype))

    for axes in figure.axes:
        (image,) = axes.get_images()
        assert image.get_array().shape == shape
        assert image.get_array().dtype == np.uint8
        assert image.get_clim() == (0, 255)


def test_a_class_name_is_drawn_letter_by_letter():
    figure = plot_images(batches([0, 1]), class_names=["$x_{$", "a " * 200])
    figure.canvas.draw()

    assert next(iter(rows(figure))) == "$x_{$"


def test_values_beyond_the_range_are_cut_not_wrapped():
    images = np.full((1, 2, 2, 3), 300.0)
    images[0, 0] = -9

    (image,) = plot_images([(images, [0])]).axes[0].get_images()

    assert image.get_array()[:, 0, 0].tolist() == [0, 255]


def test_an_image_kept_does_not_keep_its_batch():
    assert all(image.base is None for _, image in _labelled(batches([0, 0])))


def test_black_images_are_drawn():
    assert rows(plot_images([(np.zeros((1, 2, 2, 3)), [0])])) == {"0": [0]}


def test_a_dataset_may_carry_sample_weights():
    stream = [(images, labels, labels) for images, labels in batches([0, 1])]

    assert rows(plot_images(stream)) == {"0": [1], "1": [2]}


def test_a_tf_dataset_is_drawn_under_the_names_it_carries():
    tf = pytest.importorskip("tensorflow")
    images = np.arange(1, 9).reshape(8, 1, 1, 1) * np.ones((8, 4, 4, 3), "float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, np.eye(2)[[0, 1] * 4]))
    dataset = dataset.batch(3)
    dataset.class_names = ["steak", "pizza"]

    assert rows(plot_images(dataset)) == {"steak": [1, 3, 5, 7], "pizza": [2, 4, 6, 8]}
    assert list(rows(plot_images(dataset, class_names=["x", "y"]))) == ["x", "y"]
    with pytest.raises(ValueError, match=r"must end. Received: an infinite dataset"):
        plot_images(dataset.repeat())


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), max_size=40),
    per_class=st.integers(1, 5),
    seed=st.integers(0, 2**40),
)
def test_a_sample_holds_distinct_images_of_each_class(labels, per_class, seed):
    stream = [(label, place) for place, label in enumerate(labels)]

    sample = _sample(stream, per_class, seed)

    assert sample == _sample(iter(stream), per_class, seed)
    assert set(sample) == set(labels)
    for label, places in sample.items():
        assert len(set(places)) == min(per_class, labels.count(label))
        assert all(labels[place] == label for place in places)


@settings(deadline=None)
@given(
    ours=st.integers(0, 20), theirs=st.integers(0, 20), seed=st.integers(0, 2**32 - 1)
)
def test_the_sample_of_a_class_does_not_depend_on_other_classes(ours, theirs, seed):
    mine = [(1, place) for place in range(ours)]
    others = [(0, place) for place in range(theirs)]

    alone = _sample(mine, 3, seed)

    assert _sample(others + mine, 3, seed).get(1) == alone.get(1)


def test_every_image_is_as_likely_to_be_drawn():
    stream = [(0, place) for place in range(10)]
    chosen = [p for seed in range(600) for p in _sample(stream, 3, seed)[0]]

    counts = np.bincount(chosen)

    # 180 expected, standard deviation 11: 4 of them.
    assert abs(counts - 180).max() < 45


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (Folder(["a"], [], []), {}, r"at least one image. Received: images=Folder"),
        ([], {}, r"at least one image. Received: images=\[\]"),
        (batches([0, 0]), {"per_class": 0}, r"at least 1. Received: per_class=0"),
        (batches([0, 0]), {"seed": -1}, r"at least 0. Received: seed=-1"),
        (
            batches([0, 3]),
            {"class_names": ["a", "b"]},
            r"name every class. Received: 2 names, label 3 \(counted from 0\)",
        ),
        (
            Folder(["a"], ["x.png"], [0, 0]),
            {},
            r"have one label. Received: 1 image, 2 labels",
        ),
        (
            [(np.ones((2, 4, 4, 3)), [0])],
            {},
            r"have one label. Received: 2 images, 1 label\.",
        ),
        ([np.ones((2, 4, 4, 3))], {}, r"\(images, labels\). Received: batch=array"),
        ([(np.ones((4, 4, 3)), [0])], {}, r"Received: shape=\(4, 4, 3\)"),
        ([(np.ones((1, 4, 4, 2)), [0])], {}, r"Received: shape=\(1, 4, 4, 2\)"),
        (batches([-1, 1]), {}, r"whole numbers from 0 .* Received: labels=\[-1\]"),
        (batches([0.5, 1]), {}, r"Received: labels=\[0.5\]"),
        (batches(["a", "b"]), {}, r"Received: labels=\['a'\]"),
        (
            [(np.full((1, 4, 4, 3), 0.5), [0])],
            {},
            r"in \[0, 255\]. Received: no value beyond 0.5. Multiply",
        ),
        (
            [(np.full((1, 4, 4, 3), -1.0), [0])],
            {},
            r"in \[0, 255\]. Received: no value beyond 1. Multiply",
        ),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        plot_images(images, **options)


def test_a_file_that_holds_no_image_is_named(folder):
    folder.paths[0].write_bytes(b"no image")

    with pytest.raises(OSError, match=r"whole JPEG.*Received: path='.*0-0.png' \("):
        plot_images(folder, per_class=6)


def test_a_truncated_image_is_named(folder):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder.paths[0])
    folder.paths[0].write_bytes(folder.paths[0].read_bytes()[:500])

    with pytest.raises(OSError, match=r"Received: path='.*0-0.png' \("):
        plot_images(folder, per_class=6)


def test_a_file_that_is_missing_is_named(folder):
    folder.paths[0].unlink()

    with pytest.raises(OSError, match=r"Received: path='.*0-0.png' \("):
        plot_images(folder, per_class=6)
