"""Rate picture: what it marks, and the range that it shows."""

import numpy as np
import pytest
from PIL import Image

import tlcore as tl
from tlcore.optimizing.rate_curve import growing_rates, read_curve

RATES = np.array(growing_rates(1e-6, 10.0, 80))


def search(losses, *, diverged=False):
    rates = RATES[: len(losses)]
    at = float(rates[-1]) if diverged else None
    return read_curve(rates, losses, steps=80, diverged_at=at)


def valley():
    return 0.2 + 1 / (1 + RATES / 1e-3) + (RATES / 0.1) ** 2


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_suggestion_is_marked_with_its_figures(tmp_path):
    path = tmp_path / "rates.png"
    found = search(valley(), diverged=True)
    figure = tl.plot_learning_rates(found, path)
    with Image.open(path) as picture:
        assert picture.size == (800, 460)
    assert figure.axes[0].get_xscale() == "log"
    assert labels(figure) == [
        "loss of a step",
        "smoothed",
        f"suggested: {found.suggestion:.2g}",
        f"falls fastest: {found.steepest:.2g}",
        f"least: {10 * found.suggestion:.2g}",
        "diverged: 10",
    ]


def test_without_a_suggestion_it_says_why():
    figure = tl.plot_learning_rates(search(np.ones(80)))
    assert labels(figure) == ["loss of a step", "smoothed"]
    title = " ".join(figure.get_suptitle().split())
    assert title == search(np.ones(80)).sentence


def test_what_exploded_is_cut_off():
    losses = [*valley()[:60], 1e9]
    low, high = tl.plot_learning_rates(search(losses)).axes[0].get_ylim()
    assert low < min(losses)
    assert 1.2 < high < 3


def test_one_step_is_a_picture_too():
    tl.plot_learning_rates(search([1.0], diverged=True))


def test_the_same_search_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        tl.plot_learning_rates(search(valley()), path=tmp_path / name)
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()


def test_a_path_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="path must end in.*rates.xyz"):
        tl.plot_learning_rates(search(valley()), tmp_path / "rates.xyz")
