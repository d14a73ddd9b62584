"""The committed portable figures: an honest run passes, and a planted fault is red."""

import shutil
from functools import partial
from pathlib import Path

import bench_training
import pytest

import tlcore as tl
from tlbench import baseline
from tlbench.recorder import Recorder, version_of
from tlbench.settings import read_settings
from tlbench.storage.baselines import read_accepted
from tlbench.verdicts.judge import judge
from tlcore.evaluation import evaluate

ROOT = Path(__file__).parents[2]
CASE = "bench/suites/bench_training.py::bench_accuracy[feature_extraction]"
NOWHERE = {"system": "none", "frameworks": {"keras": "0"}, "gpus": [], "cpu": "none"}
"""A machine that nobody has measured."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The images of the suite."""
    folder = tmp_path_factory.mktemp("images") / "sample_images"
    tl.write_sample_splits(folder, classes=10, per_class=20, size=96)
    return folder


def splits_of(folder):
    return tl.load_splits(
        folder, image_size=(96, 96), batch_size=32, label_mode="categorical"
    )


def verdict_on(splits, *, correct=None):
    """Return the judgement on the accuracy of the first seed, trained here."""
    if correct is None:
        model, _ = bench_training.trained("feature_extraction", splits, seed=1)
        score = evaluate(model, splits.test)["accuracy"]
        correct = round(score.value * score.n)
    recorder = Recorder(CASE, version_of(bench_training.bench_accuracy))
    recorder.metric("test_accuracy", correct=correct, n=100, seed=1, portable=True)
    here = baseline.Machine.of({**NOWHERE, "cpus": 1})
    results = ROOT / "results"
    accepted = baseline.gather(results, here, read_accepted(results))
    (case,) = judge(
        {CASE: recorder.snapshot("passed")},
        accepted,
        policy=read_settings(ROOT).policy,
    )
    (judgement,) = case.judgements
    return judgement


@pytest.mark.matrix
def test_an_honest_run_passes_on_a_machine_that_nobody_has_measured(folder):
    found = verdict_on(splits_of(folder))
    assert found.verdict == "pass", found.why
    assert found.detectable < 0.05


@pytest.mark.matrix
def test_a_learning_rate_of_nothing_is_red(folder, monkeypatch):
    still = partial(tl.feature_extract)

    def feature_extract(*arguments, **options):
        return still(*arguments, **{**options, "learning_rate": 1e-12})

    monkeypatch.setattr(tl, "feature_extract", feature_extract)
    found = verdict_on(splits_of(folder))
    assert found.verdict == "regression", found.why


@pytest.mark.matrix
def test_shuffled_labels_are_red(folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    train = images / "train"
    classes = sorted(path.name for path in train.iterdir())
    for name in classes:
        (train / name).rename(train / f"{name}.aside")
    for name, other in zip(classes, classes[1:] + classes[:1], strict=True):
        (train / f"{name}.aside").rename(train / other)
    found = verdict_on(splits_of(images))
    assert found.verdict == "regression", found.why


def test_five_points_less_are_red(folder):
    honest = verdict_on(splits_of(folder), correct=95)
    assert honest.verdict == "pass"
    found = verdict_on(splits_of(folder), correct=90)
    assert found.verdict == "regression", found.why
