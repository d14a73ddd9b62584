"""How every figure is saved: whole or not at all, the same bytes for the same input."""

import errno
import gc
import hashlib
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import tlcore
from tlcore.plotting.figures import checked_path, new_figure, save_figure, wrapped
from tlcore.plotting.image_grid import plot_images
from tlcore.plotting.learning_curves import compare_histories, plot_history

HEAD = {"loss": [3.0, 2.0, 1.5], "accuracy": [0.3, 0.5, 0.6]}
TUNED = {"loss": [1.0, 0.8], "accuracy": [0.7, 0.8]}
BATCH = np.full((4, 4, 4, 3), 7.0), [0, 1, 1, 0]
DRAWN = {
    "images": lambda path: plot_images([BATCH], path=path),
    "history": lambda path: plot_history(HEAD, TUNED, path=path),
    "comparison": lambda path: compare_histories({"a": HEAD, "b": HEAD}, path=path),
    "overlay": lambda path: compare_histories(
        {str(n): (HEAD, TUNED) for n in range(5)}, path=path
    ),
}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(params=DRAWN.values(), ids=DRAWN)
def draw(request):
    return request.param


@pytest.fixture
def figure():
    return new_figure(1.0, width=1.0)


# What every function that draws does with its figure


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


@pytest.mark.matrix
def test_threads_draw_what_one_thread_draws(draw, tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    draw(paths[0])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(draw, paths[1:]))

    assert len({digest(path) for path in paths}) == 1


@pytest.mark.matrix
def test_a_figure_is_freed_with_its_last_reference(draw):
    figure = weakref.ref(draw(None))
    gc.collect()

    assert figure() is None


@pytest.mark.parametrize("name", ["figure.pngg", "figure", "figure.h5", ".png"])
def test_a_suffix_nothing_can_write_is_refused(draw, name, tmp_path):
    message = r"must end in one of: .*\.pdf, .*\.png, .*\.svg.*Received: path='.*"
    with pytest.raises(ValueError, match=message + name):
        draw(tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused(draw, tmp_path):
    message = r"in a folder that exists. Received: path='.*' *\. Create '.*none' first"
    with pytest.raises(FileNotFoundError, match=message):
        draw(tmp_path / "none" / "figure.png")


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


# Saving


@pytest.mark.parametrize("name", ["f.PNG", "f.svg", "f.pdf", "f.jpg", "f.tar.webp"])
def test_any_format_of_matplotlib_is_written(figure, name, tmp_path):
    save_figure(figure, checked_path(tmp_path / name))

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_without_a_path_nothing_is_saved(figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_figure(figure, checked_path(None))

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused(figure, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Figure, "savefig", refuse)
    message = r"can be written\. Received: path='.*figure.png' \(Permission denied\)"
    with pytest.raises(PermissionError, match=message):
        save_figure(figure, tmp_path / "figure.png")


def test_a_folder_where_the_file_should_be_is_refused(figure, tmp_path):
    (tmp_path / "figure.png").mkdir()

    with pytest.raises(IsADirectoryError, match=r"Received: path='.*figure.png' \("):
        save_figure(figure, tmp_path / "figure.png")


def test_a_figure_half_written_leaves_the_old_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def interrupt(figure, aside, **options):
        aside.write_bytes(b"half")
        raise OSError("the encoder failed")

    monkeypatch.setattr(Figure, "savefig", interrupt)
    with pytest.raises(OSError, match="the encoder failed"):
        save_figure(figure, path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Text


def test_bytes_that_are_not_utf8_are_drawn_as_replacement_characters(tmp_path):
    images = [(np.zeros((1, 8, 8, 3)), [0])]
    name = b"bad\xff".decode("utf-8", "surrogateescape")
    figure = plot_images(images, class_names=[name], path=tmp_path / "images.png")
    assert figure.axes[0].get_title(loc="left") == "bad\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("validation accuracy", "validation\naccuracy"),
        ("short", "short"),
        ("", ""),
        ("   ", "   "),
        ("a" * 30, "a" * 12 + "\n" + "a" * 12 + "\n" + "a" * 6),
    ],
)
def test_text_is_wrapped_to_a_width(text, expected):
    assert wrapped(text, 12) == expected
