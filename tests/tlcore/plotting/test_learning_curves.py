"""What is drawn: data, names and places, never pixels."""

import errno
import gc
import hashlib
import math
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

import tlcore
from tlcore.plotting import learning_curves as plots
from tlcore.plotting.figures import GREY, PALETTE
from tlcore.plotting.histories import drawn_run
from tlcore.plotting.image_grid import _labelled, _sample, plot_images
from tlcore.plotting.learning_curves import compare_histories, plot_history

HEAD = {
    "epoch": [0, 1, 2],
    "loss": [3.0, 2.0, 1.5],
    "accuracy": [0.3, 0.5, 0.6],
    "val_loss": [3.1, 2.2, 1.7],
    "val_accuracy": [0.25, 0.45, 0.55],
}
TUNED = {
    "epoch": [3, 4],
    "loss": [1.0, 0.8],
    "accuracy": [0.7, 0.8],
    "val_loss": [1.3, 1.2],
    "val_accuracy": [0.65, 0.7],
}


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


def curves(axes):
    """Return {label: (x, y)} of the curves, without the marks of phases."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.get_lines()
        if line.get_gid() != plots.START
    }


def starts(axes):
    """Return where dashed vertical lines stand."""
    found = []
    for line in axes.get_lines():
        if line.get_gid() == plots.START:
            assert line.get_linestyle() == "--"
            left, right = line.get_xdata()
            assert left == right
            found.append(left)
    return found


def named(axes):
    """Return {text above the axes: its place on the x axis}."""
    return {t.get_text(): t.xy[0] for t in axes.texts if hasattr(t, "xy")}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Images


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
            r"have one label. Received: 1 images, 2 labels",
        ),
        (
            [(np.ones((2, 4, 4, 3)), [0])],
            {},
            r"have one label. Received: 2 images, 1 labels",
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

    with pytest.raises(OSError, match=r"Pillow reads. Received: path='.*0-0.png' \("):
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


# One run


def test_phases_are_joined_and_the_start_of_fine_tuning_is_marked():
    figure = plot_history(HEAD, TUNED, title="model_3")
    loss, accuracy = figure.axes

    assert curves(loss) == {
        "training": ([1, 2, 3, 4, 5], [3.0, 2.0, 1.5, 1.0, 0.8]),
        "validation": ([1, 2, 3, 4, 5], [3.1, 2.2, 1.7, 1.3, 1.2]),
    }
    assert curves(accuracy) == {
        "training": ([1, 2, 3, 4, 5], [0.3, 0.5, 0.6, 0.7, 0.8]),
        "validation": ([1, 2, 3, 4, 5], [0.25, 0.45, 0.55, 0.65, 0.7]),
    }
    for axes, name in zip((loss, accuracy), ("loss", "accuracy"), strict=True):
        assert starts(axes) == [3.5]
        assert named(axes) == {"fine-tuning": 3.5}
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == name
    assert legend(figure) == ["training", "validation"]
    assert figure.get_suptitle() == "model_3"


def test_one_phase_has_no_mark():
    figure = plot_history(HEAD)

    assert figure.get_suptitle() == ""
    for axes in figure.axes:
        assert starts(axes) == []
        assert named(axes) == {}


def test_a_mapping_without_epochs_follows_on():
    bare = {name: values for name, values in TUNED.items() if name != "epoch"}

    assert curves(plot_history(HEAD, bare).axes[0]) == curves(
        plot_history(HEAD, TUNED).axes[0]
    )


def test_fine_tuning_alone_keeps_the_numbers_of_its_epochs():
    axes = plot_history(TUNED).axes[0]

    assert curves(axes)["training"] == ([4, 5], [1.0, 0.8])
    assert axes.get_xlim() == (3.5, 5.5)


def test_a_keras_history_is_drawn():
    keras = pytest.importorskip("keras")
    history = keras.callbacks.History()
    history.set_model(SimpleNamespace())
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 2.0, "binary_accuracy": 0.5})
    history.on_epoch_end(1, {"loss": 1.0, "binary_accuracy": 0.75})

    loss, accuracy = plot_history(history).axes

    assert curves(loss) == {"training": ([1, 2], [2.0, 1.0])}
    assert curves(accuracy) == {"training": ([1, 2], [0.5, 0.75])}
    assert accuracy.get_ylabel() == "binary_accuracy"


@settings(deadline=None)
@given(data=st.data())
def test_a_run_cut_into_phases_draws_the_curves_of_the_whole(data):
    values = data.draw(st.lists(st.floats(0, 9), min_size=2, max_size=12))
    cut = data.draw(st.integers(1, len(values) - 1))
    phases = [
        {"epoch": list(range(cut)), "loss": values[:cut]},
        {"epoch": list(range(cut, len(values))), "loss": values[cut:]},
    ]

    whole = drawn_run([{"loss": values}], "whole")
    parts = drawn_run(phases, "parts")

    assert parts.epochs.tolist() == whole.epochs.tolist()
    assert parts.curve("loss").tolist() == whole.curve("loss").tolist() == values
    assert parts.starts == (cut + 0.5,)


@pytest.mark.parametrize(
    ("history", "panels"),
    [
        ({"loss": [2, 1]}, {"loss": {"training"}}),
        ({"val_loss": [2, 1]}, {"loss": {"validation"}}),
        ({"accuracy": [0, 1]}, {"accuracy": {"training"}}),
        ({"acc": [0, 1], "val_acc": [0, 1]}, {"acc": {"training", "validation"}}),
        (
            {"loss": [2, 1], "top_k_categorical_accuracy": [1, 1], "accuracy": [0, 1]},
            {"loss": {"training"}, "accuracy": {"training"}},
        ),
        ({"seconds": [9, 9], "loss": [2, 1]}, {"loss": {"training"}}),
        ({"loss": [2, 1], "f1": [[0, 1], [1, 1]]}, {"loss": {"training"}}),
    ],
)
def test_only_what_was_recorded_has_a_panel(history, panels):
    figure = plot_history(history)

    assert {a.get_ylabel(): set(curves(a)) for a in figure.axes} == panels


def test_values_that_are_no_numbers_are_gaps():
    history = {"loss": [1.0, math.nan, 2.0, math.inf, None, 3.0]}

    line = plot_history(history).axes[0].get_lines()[0]

    np.testing.assert_array_equal(
        line.get_ydata(), [1, math.nan, 2, math.nan, math.nan, 3]
    )


def test_a_history_of_nothing_but_nan_is_drawn(tmp_path):
    history = {"loss": [math.nan] * 3, "accuracy": [math.nan] * 3}

    plot_history(history, path=tmp_path / "nan.png")

    assert (tmp_path / "nan.png").stat().st_size > 0


def test_a_phase_without_validation_leaves_a_gap():
    axes = plot_history(HEAD, {"loss": [1.0, 0.5]}).axes[0]

    assert curves(axes)["training"][1] == [3.0, 2.0, 1.5, 1.0, 0.5]
    np.testing.assert_array_equal(
        curves(axes)["validation"][1], [3.1, 2.2, 1.7, math.nan, math.nan]
    )


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ([1.0], [0]),
        ([1.0, 2.0], [0, 1]),
        ([1.0] * 50, []),
        ([1.0] * 40 + [math.nan, 1.0, math.nan] + [1.0] * 7, [41]),
        ([1.0, math.nan] + [1.0] * 48, [0]),
    ],
    ids=["one epoch", "two", "many", "a lone value among many", "a lone first value"],
)
def test_a_value_with_no_line_to_it_has_a_marker(values, marked):
    line = plot_history({"loss": values}).axes[0].get_lines()[0]

    assert line.get_marker() == "o"
    assert np.flatnonzero(line.get_markevery()).tolist() == marked


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30, 500])
def test_epochs_are_numbered_in_whole_numbers(count):
    axes = plot_history({"loss": [1.0] * count}).axes[0]

    assert axes.get_xlim() == (0.5, count + 0.5)
    ticks = [t for t in axes.get_xticks() if 0.5 < t < count + 0.5]
    assert ticks
    assert all(tick == int(tick) for tick in ticks)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.0, 1.0], (-0.03, 0), (1, 1.03)),
        ([0.9, 1.0], (0.89, 0.9), (1, 1.03)),
        ([1.0, 1.0], (0.9, 1), (1, 1.03)),
        ([0.5, 0.6], (0.45, 0.5), (0.6, 0.65)),
        ([50.0, 60.0], (45, 50), (60, 65)),
        ([-1.0, 0.5], (-1.1, -1), (0.5, 0.6)),
    ],
    ids=["whole range", "near 1", "all 1", "in between", "percent", "negative"],
)
def test_the_scale_of_an_accuracy_stays_within_its_range(values, low, high):
    bottom, top = plot_history({"accuracy": values}).axes[0].get_ylim()

    assert low[0] <= bottom <= low[1]
    assert high[0] <= top <= high[1]


def test_phases_carry_the_labels_given():
    axes = plot_history(HEAD, TUNED, labels=["head", "all layers"]).axes[0]

    assert named(axes) == {"head": 0.5, "all layers": 3.5}


def test_further_phases_are_numbered():
    axes = plot_history(HEAD, TUNED, {"loss": [0.5]}, {"loss": [0.4]}).axes[0]

    assert starts(axes) == [3.5, 5.5, 6.5]
    assert list(named(axes)) == ["fine-tuning", "fine-tuning 2", "fine-tuning 3"]


def test_names_of_near_phases_do_not_overlap():
    phases = [{"loss": [1.0] * count} for count in (5, 1, 1, 13)]
    figure = plot_history(
        *phases, labels=["extraction", "the head", "a few", "all layers"]
    )
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]

    assert len(boxes) == 4
    for index, box in enumerate(boxes):
        assert all(not box.overlaps(other) for other in boxes[:index])


def test_the_name_of_a_late_phase_stays_over_its_panel():
    figure = plot_history({"loss": [1.0] * 19}, {"loss": [1.0]})
    figure.canvas.draw()

    (text,) = figure.axes[0].texts

    box, panel = text.get_window_extent(), figure.axes[0].bbox
    assert panel.x0 <= box.x0 < box.x1 <= panel.x1


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ([], {}, r"histories must hold at least 1 history. Received: none"),
        ([{}], {}, r"Received: histories with 0 metrics, 0 epochs. Train before"),
        ([{"loss": []}], {}, r"Received: histories with 1 metrics, 0 epochs"),
        ([HEAD, {"epoch": [3]}], {}, r"Received: histories\[1\] with 0 metrics"),
        (
            [SimpleNamespace(history={}, epoch=[])],
            {},
            r"Received: histories with 0 metrics, 0 epochs",
        ),
        ([None], {}, r"keras History or a mapping .* Received: histories=None"),
        ([[1, 2]], {}, r"Received: histories=\[1, 2\]"),
        (
            [HEAD, HEAD],
            {},
            r"follow on. Expected: epoch=\[3, 4, 5\]. "
            r"Received: histories\[1\] with epoch=\[0, 1, 2\]. .*initial_epoch=",
        ),
        (
            [{"epoch": [0, 1, 3], "loss": [1, 1, 1]}],
            {},
            r"Expected: epoch=\[0, 1, 2\]. Received: histories with epoch=\[0, 1, 3\]",
        ),
        (
            [{"epoch": [-1], "loss": [1]}],
            {},
            r"Expected: epoch=\[0\]. Received: histories with epoch=\[-1\]",
        ),
        (
            [{"loss": [1, 2], "val_loss": [1]}],
            {},
            r"one value per epoch. Received: histories\['val_loss'\]: 1 values, 2",
        ),
        (
            [{"epoch": [0, 1], "loss": [1]}],
            {},
            r"Received: histories\['loss'\]: 1 values, 2 epochs",
        ),
        ([{"loss": 0.5}], {}, r"list of numbers.* Received: histories\['loss'\]=0.5"),
        ([{"loss": ["a"]}], {}, r"Received: histories\['loss'\]=\['a'\]"),
        (
            [{"seconds": [1], "lr": [1]}],
            {},
            r"a loss or an accuracy. Received: metrics seconds, lr\.",
        ),
        (
            [HEAD, TUNED],
            {"labels": ["a"]},
            r"one name per history. Received: 1 labels, 2 histories",
        ),
    ],
)
def test_histories_that_cannot_be_drawn_are_refused(histories, options, message):
    with pytest.raises(ValueError, match=message):
        plot_history(*histories, **options)


# Several runs


def test_two_runs_have_a_column_each_on_shared_axes():
    other = {"loss": [9.0], "val_loss": [8.0], "accuracy": [0.1]}
    figure = compare_histories({"10 %": (HEAD, TUNED), "100 %": other}, title="both")
    loss, loss_2, accuracy, accuracy_2 = figure.axes

    assert [loss.get_title(), loss_2.get_title()] == ["10 %", "100 %"]
    assert curves(loss) == curves(plot_history(HEAD, TUNED).axes[0])
    assert curves(accuracy) == curves(plot_history(HEAD, TUNED).axes[1])
    assert curves(loss_2) == {"training": ([1], [9.0]), "validation": ([1], [8.0])}
    assert curves(accuracy_2) == {"training": ([1], [0.1])}
    assert loss.get_ylim() == loss_2.get_ylim()
    assert loss.get_ylim()[1] > 9
    assert accuracy.get_ylim() == accuracy_2.get_ylim() != loss.get_ylim()
    assert {axes.get_xlim() for axes in figure.axes} == {(0.5, 5.5)}
    below = [a.xaxis.get_major_ticks()[0].label1.get_visible() for a in figure.axes]
    assert below == [False, False, True, True]
    assert [starts(axes) for axes in figure.axes] == [[3.5], [], [3.5], []]
    assert named(loss) == {"fine-tuning": 3.5}
    assert named(accuracy) == named(loss_2) == {}
    assert [loss.get_ylabel(), accuracy.get_ylabel()] == ["loss", "accuracy"]
    assert legend(figure) == ["training", "validation"]
    assert figure.get_suptitle() == "both"


def test_columns_share_a_scale_that_keeps_the_range_of_accuracy():
    figure = compare_histories({"a": {"accuracy": [0.5]}, "b": {"accuracy": [1.0]}})

    assert {axes.get_ylim()[1] > 1.03 for axes in figure.axes} == {False}


@pytest.mark.parametrize("other", [-60.0, 60.0])
def test_a_value_beyond_the_range_of_accuracy_is_in_view_in_every_column(other):
    figure = compare_histories({"a": {"accuracy": [0.5]}, "b": {"accuracy": [other]}})

    low, high = figure.axes[0].get_ylim()
    assert low < other < high


def test_a_run_that_lacks_a_metric_says_so():
    figure = compare_histories({"a": HEAD, "b": {"loss": [1.0]}})

    assert curves(figure.axes[3]) == {}
    assert [text.get_text() for text in figure.axes[3].texts] == ["not recorded"]


@pytest.mark.parametrize(
    ("metric", "drawn"),
    [
        ("loss", {"training", "validation"}),
        ("val_loss", {"validation"}),
        ("accuracy", {"training", "validation"}),
    ],
)
def test_one_metric_can_be_asked_for(metric, drawn):
    figure = compare_histories({"a": HEAD, "b": HEAD}, metric=metric)

    assert [axes.get_ylabel() for axes in figure.axes] == [metric, ""]
    assert [set(curves(axes)) for axes in figure.axes] == [drawn, drawn]


def test_any_recorded_metric_can_be_asked_for():
    figure = compare_histories({"a": {"auc": [0.5], "loss": [1.0]}}, metric="auc")

    assert curves(figure.axes[0]) == {"training": ([1], [0.5])}


def test_accuracies_of_two_names_share_a_row():
    runs = {"a": {"accuracy": [0.5]}, "b": {"binary_accuracy": [0.75]}}

    first, second = compare_histories(runs).axes

    assert curves(first)["training"][1] == [0.5]
    assert curves(second)["training"][1] == [0.75]


def test_six_runs_are_overlaid_one_colour_each():
    runs = {f"run {n}": (HEAD, TUNED) if n else HEAD for n in range(6)}
    figure = compare_histories(runs)
    loss, accuracy = figure.axes

    assert list(curves(loss)) == list(runs)
    assert curves(loss)["run 0"] == ([1, 2, 3], HEAD["val_loss"])
    assert curves(accuracy)["run 1"][1] == HEAD["val_accuracy"] + TUNED["val_accuracy"]
    colours = [x.get_color() for x in loss.get_lines() if x.get_gid() != plots.START]
    assert len(set(colours)) == 6
    assert set(colours) <= set(PALETTE)
    assert [loss.get_ylabel(), accuracy.get_ylabel()] == [
        "validation loss",
        "validation accuracy",
    ]
    assert starts(loss) == starts(accuracy) == [3.5]
    assert legend(figure) == [*runs, "start of fine-tuning"]


def test_four_runs_have_columns_and_five_an_overlay():
    def panels(count):
        runs = {str(n): HEAD for n in range(count)}
        return len(compare_histories(runs, metric="loss").axes)

    assert [panels(count) for count in (1, 4, 5)] == [1, 4, 1]


def test_an_overlay_marks_a_start_of_one_run_in_its_colour():
    runs = {str(n): HEAD for n in range(4)}
    runs["late"] = (HEAD, TUNED)
    (axes,) = compare_histories(runs, metric="loss").axes

    (mark,) = [x for x in axes.get_lines() if x.get_gid() == plots.START]

    assert mark.get_color() == axes.get_lines()[4].get_color()
    assert mark.get_color() != GREY


def test_an_overlay_without_phases_names_no_start():
    runs = {str(n): HEAD for n in range(5)}

    assert legend(compare_histories(runs)) == list(runs)


def test_a_run_without_validation_is_overlaid_and_named_as_training():
    runs = {str(n): HEAD for n in range(5)} | {"bare": {"loss": [4.0, 2.0]}}

    loss, accuracy = compare_histories(runs).axes

    assert curves(loss)["bare (training)"] == ([1, 2], [4.0, 2.0])
    assert list(curves(accuracy)) == ["0", "1", "2", "3", "4"]


def test_an_overlay_of_training_curves_alone_is_called_so():
    (axes,) = compare_histories({str(n): {"loss": [1.0]} for n in range(5)}).axes

    assert axes.get_ylabel() == "training loss"


def test_more_runs_than_colours_differ_in_their_lines():
    runs = {str(n): HEAD for n in range(20)}
    (axes,) = compare_histories(runs, metric="val_loss").axes

    looks = {(x.get_color(), x.get_linestyle()) for x in axes.get_lines()}

    assert len(looks) == 20
    assert axes.get_ylabel() == "validation loss"


@pytest.mark.parametrize("count", [2, 6])
def test_names_are_drawn_letter_by_letter(count, tmp_path):
    names = ["_hidden", "$x_{$", "a" * 300, "5 % of $\\alpha$", "", "run\n2"]
    runs = {f"{name}{n}": HEAD for n, name in enumerate(names[:count])}

    figure = compare_histories(runs, title="$_$", path=tmp_path / "names.png")

    shown = legend(figure) if count > 4 else [a.get_title() for a in figure.axes[:2]]
    assert shown[:2] == ["_hidden0", "$x_{$1"]


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ({}, {}, r"at least 1 run to its history. Received: histories=\{\}"),
        ([HEAD, TUNED], {}, r"Received: histories=\[.*Write compare_histories\(\{"),
        ({"a": ()}, {}, r"histories\['a'\] must hold at least 1 history"),
        ({"a": {}}, {}, r"Received: histories\['a'\] with 0 metrics"),
        ({"a": None}, {}, r"Received: histories\['a'\]=None"),
        (
            {"a": HEAD, "b": (HEAD, HEAD)},
            {},
            r"Expected: epoch=\[3, 4, 5\]. Received: histories\['b'\]\[1\] with",
        ),
        (
            {"a": {"loss": [1], "val_loss": [1]}, "b": {"auc": [1]}},
            {"metric": "acuracy"},
            r"must be one of: loss, val_loss, auc. Received: metric='acuracy'",
        ),
        (
            {"a": {"loss": [1], "per_class": [[1, 2]]}},
            {"metric": "per_class"},
            r"must be one of: loss. Received: metric='per_class'",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(histories, options, message):
    with pytest.raises(ValueError, match=message):
        compare_histories(histories, **options)


# Files

DRAWN = {
    "images": lambda path: plot_images(batches([0, 1, 1, 0]), path=path),
    "history": lambda path: plot_history(HEAD, TUNED, path=path),
    "comparison": lambda path: compare_histories({"a": HEAD, "b": HEAD}, path=path),
    "overlay": lambda path: compare_histories(
        {str(n): (HEAD, TUNED) for n in range(5)}, path=path
    ),
}


@pytest.fixture(params=DRAWN.values(), ids=DRAWN)
def draw(request):
    return request.param


def test_a_figure_is_returned_and_saved(draw, tmp_path):
    figure = draw(tmp_path / "figure.png")

    assert isinstance(figure, Figure)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.format == "PNG"
        assert set(image.info) == {"dpi"}
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_the_same_input_gives_the_same_bytes(draw, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw(first)
    draw(second)

    assert digest(first) == digest(second)


def test_threads_draw_what_one_thread_draws(draw, tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    draw(paths[0])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(draw, paths[1:]))

    assert len({digest(path) for path in paths}) == 1


def test_a_figure_is_freed_with_its_last_reference(draw):
    figure = weakref.ref(draw(None))
    gc.collect()

    assert figure() is None


@pytest.mark.parametrize("name", ["f.PNG", "f.svg", "f.pdf", "f.jpg", "f.tar.webp"])
def test_any_format_of_matplotlib_is_written(name, tmp_path):
    plot_history(HEAD, path=tmp_path / name)

    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["figure.pngg", "figure", "figure.h5", ".png"])
def test_a_suffix_nothing_can_write_is_refused(draw, name, tmp_path):
    message = r"must end in one of: .*\.pdf, .*\.png, .*\.svg.*Received: path='.*"
    with pytest.raises(ValueError, match=message + name):
        draw(tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_utf8_is_drawn_with_marks_in_its_place(tmp_path):
    images = [(np.zeros((1, 8, 8, 3)), [0])]
    name = b"bad\xff".decode("utf-8", "surrogateescape")
    figure = plot_images(images, class_names=[name], path=tmp_path / "images.png")
    assert figure.axes[0].get_title(loc="left") == "bad\N{REPLACEMENT CHARACTER}"


def test_a_folder_that_does_not_exist_is_refused(draw, tmp_path):
    message = r"in a folder that exists. Received: path='.*' *\. Create '.*none' first"
    with pytest.raises(FileNotFoundError, match=message):
        draw(tmp_path / "none" / "figure.png")


def test_a_folder_that_cannot_be_written_to_is_refused(draw, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", refuse)
    message = r"can be written. Received: path='.*figure.png' \(Permission denied\)"
    with pytest.raises(PermissionError, match=message):
        draw(tmp_path / "figure.png")


def test_a_folder_in_the_place_of_the_file_is_refused(draw, tmp_path):
    (tmp_path / "figure.png").mkdir()

    with pytest.raises(IsADirectoryError, match=r"Received: path='.*figure.png' \("):
        draw(tmp_path / "figure.png")


def test_a_figure_half_written_leaves_the_old_file(draw, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def interrupt(figure, aside, **options):
        aside.write_bytes(b"half")
        raise OSError("the encoder failed")

    monkeypatch.setattr(Figure, "savefig", interrupt)
    with pytest.raises(OSError, match="the encoder failed"):
        draw(path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_needs_neither_pyplot_nor_tensorflow_nor_a_display(tmp_path):
    code = """
import sys
from tlcore.plotting import learning_curves as plots
assert "matplotlib" not in sys.modules
plots.plot_history({"loss": [1.0]}, path=sys.argv[1])
plots.compare_histories({"a": {"loss": [1.0]}}, path=sys.argv[1])
assert not {"matplotlib.pyplot", "tensorflow", "keras"} & set(sys.modules)
"""
    root = Path(tlcore.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "figure.png")]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
