"""Pictures: what is in the figures, read from their artists."""

import numpy as np
import pytest
from PIL import Image

import tlcore as tl
from tlcore.predictions.values import Predictions

NAMES = ("$cat$", "dog", "a class with a very long name of many words")


@pytest.fixture
def found(tmp_path):
    rows = np.array([[0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.new("RGB", (20 + i, 30), (40 * i, 0, 0)).save(path)
    return Predictions(NAMES, rows, np.array([0, 0, 1, 1]), tuple(map(str, paths)))


def texts(axes):
    return {(t.get_position(), t.get_text()) for t in axes.texts}


def test_a_cell_has_its_number_of_images(found):
    axes = tl.plot_confusion(found).axes[0]
    assert texts(axes) == {
        ((0, 0), "1"),
        ((1, 0), "1"),
        ((1, 1), "1"),
        ((2, 1), "1"),
    }
    np.testing.assert_array_equal(
        axes.images[0].get_array(), [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0]]
    )
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert tuple(labels) == NAMES


def test_many_classes_have_colours_only():
    rows = np.eye(30)
    many = Predictions(tuple(map(str, range(30))), rows, np.arange(30))
    assert not tl.plot_confusion(many).axes[0].texts


def test_the_worst_mistake_comes_first(found):
    figure = tl.plot_mistakes(found)
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes]
    assert titles == [
        "said dog (0.80) is $cat$ 1.png",
        "said a class with a very long name of many words (0.40) is dog 3.png",
    ]
    assert figure.get_suptitle() == "2 of 4 images wrong"
    assert len(tl.plot_mistakes(found, count=1).axes) == 1


def test_a_row_that_is_not_full_has_nothing_after_its_last_image(found):
    rows, paths = np.repeat(found.probabilities[:1], 7, 0), found.paths[:1] * 7
    wrong = Predictions(NAMES, rows, np.ones(7, int), paths)
    assert len(tl.plot_mistakes(wrong).axes) == 7


def test_no_mistake_is_a_picture_as_well(found, tmp_path):
    right = Predictions(NAMES, found.probabilities, found.predicted, found.paths)
    figure = tl.plot_mistakes(right, path=tmp_path / "m.png")
    assert figure.get_suptitle() == "0 of 4 images wrong"
    assert (tmp_path / "m.png").stat().st_size > 0


def test_points_are_accuracy_by_confidence(found):
    axes, images = tl.plot_calibration(found).axes
    points = axes.containers[0].lines[0]
    assert [float(x) for x in points.get_xdata()] == [0.4, 0.7, 0.8, 0.9]
    assert [float(y) for y in points.get_ydata()] == [0, 1, 0, 1]
    assert [bar.get_height() for bar in images.patches] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "plot", [tl.plot_confusion, tl.plot_mistakes, tl.plot_calibration]
)
def test_pictures_of_right_and_wrong_need_the_truth(found, plot, tmp_path):
    unknown = Predictions(NAMES, found.probabilities, paths=found.paths)
    with pytest.raises(ValueError, match=r"truth is known"):
        plot(unknown)
    plot(found, path=tmp_path / "p.png")
    again = (tmp_path / "p.png").read_bytes()
    plot(found, path=tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == again


def test_mistakes_are_of_files_that_are_still_there(found):
    in_memory = Predictions(NAMES, found.probabilities, found.truth)
    with pytest.raises(ValueError, match=r"drawn from image files.*in memory"):
        tl.plot_mistakes(in_memory)
    gone = Predictions(NAMES, found.probabilities, found.truth, ("x.png",) * 4)
    with pytest.raises(OSError, match=r"x\.png"):
        tl.plot_mistakes(gone)
