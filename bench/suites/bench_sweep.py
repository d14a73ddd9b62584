"""Sweep: what fifty heads cost against one, and whether each is what it is alone.

Marked slow. It uses the photographs and weights in `../shared` where they stand next to
the project, else sample images and the small backbone.
"""

import time
from pathlib import Path
from statistics import median

import pytest

import tlcore as tl
from tlcore.choosing.sweep import Grid
from tlcore.runs.runner import RunOptions, fit_phase, seeded_model

SHARED = Path(__file__).parents[3] / "shared"
PHOTOGRAPHS = SHARED / "data/pizza_steak_sushi"
WEIGHTS = SHARED / "weights/mobilenet_v2_035_224_notop.weights.h5"
TURNS, COMPARED = 5, 9
GRID = Grid()


@pytest.fixture
def data(tmp_path):
    """450 images to train on and 150 to choose by, in three classes."""
    folder = tmp_path / "data"
    if PHOTOGRAPHS.is_dir():
        folder.mkdir()
        (folder / "train").symlink_to(PHOTOGRAPHS / "train")
        (folder / "validation").symlink_to(PHOTOGRAPHS / "test")
        return folder
    tl.write_sample_splits(folder, classes=3, per_class=150, test_per_class=50, size=96)
    return folder


def recipe():
    """Return what is common to all heads."""
    changes = {"backbone": "sample_net", "image_size": 96}
    if WEIGHTS.is_file():
        changes = {"backbone": "mobilenet_v2_035", "weights": str(WEIGHTS)}
    return tl.RECIPES["model_0"].changed(percent=100.0, epochs=10, **changes)


def alone(chosen, data, options):
    """Train one head as a run does, without a run folder; return its figures."""
    from tlcore.evaluation import evaluate
    from tlcore.runs.run_data import load_data

    folders = load_data(chosen, data, options)
    model = seeded_model(chosen, folders.train, options)
    fit_phase(model, chosen, chosen.phases[0], (folders.train,), options)
    return evaluate(model, folders.validation, cache=options.cache)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def bench_fifty_heads(data, tmp_path, table):
    """Fifty-four heads on cached features against one, in processor time."""
    common = recipe()
    options = RunOptions(cache=tmp_path / "features", say=[].append)
    found = tl.sweep(common, data, options, grid=GRID)  # the pass, and all code loaded
    alone(common, data, options)
    one, all_of_them = [], []
    for _ in range(TURNS):
        start = time.process_time()
        alone(common, data, options)
        middle = time.process_time()
        tl.sweep(common, data, options, grid=GRID)
        one.append(middle - start)
        all_of_them.append(time.process_time() - middle)
    count = len(found.candidates)
    table(f"{count} heads / one", median(all_of_them), median(one), at_most=3)
    further = found.candidates[:: count // COMPARED]
    losses, right = [], []
    for candidate in further:
        figures = alone(candidate.recipe, data, options)
        losses.append(abs(figures["loss"].value - candidate.loss.value))
        right.append(abs(figures["accuracy"].value - candidate.accuracy.value))
    table(
        f"{len(further)} heads, loss: furthest from alone",
        None,
        max(losses),
        at_most=1e-6,
    )
    table(f"{len(further)} heads, accuracy: the same", None, max(right), at_most=0)
