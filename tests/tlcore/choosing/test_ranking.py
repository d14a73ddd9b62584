"""Ranking: a linear head by cross-validation, on training images alone."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import tlcore as tl
from tlcore.choosing.ranking import Ranked, _ordered, _parts
from tlcore.data.sample_images import write_sample_splits
from tlcore.evaluation import proportion
from tlcore.runs.linear_probe import cross_validated

QUICK = {"image_size": 32, "folds": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    directory = tmp_path_factory.mktemp("photos")
    write_sample_splits(directory, classes=3, per_class=10, size=96)
    return directory


@pytest.mark.matrix
def test_trained_weights_come_before_random_ones(photos):
    said = []
    names = ["mobilenet_v2_035", "sample_net"]
    files = {"mobilenet_v2_035": "none"}
    options = {"weights": files, "image_size": 96}
    best, other = tl.rank(photos, names, say=said.append, **options)
    assert (best.backbone, other.backbone) == ("sample_net", "mobilenet_v2_035")
    assert (best.worse, type(other.worse)) == (None, bool)
    assert best.accuracy.n == other.accuracy.n == 30
    assert (other.params, other.features) == (410_208, 1280)
    assert best.megabytes == pytest.approx(best.params * 4 / 1e6, rel=0.01)
    assert [line.partition(":")[0] for line in said] == ["train", *names]


def test_only_training_images_are_read(photos, tmp_path):
    copy = shutil.copytree(photos, tmp_path / "photos")
    for split in ("validation", "test"):
        for path in (copy / split).rglob("*.png"):
            path.write_bytes(b"")
    (found,) = tl.rank(copy, ["sample_net"], **QUICK)
    assert found.accuracy.n == 30
    (same,) = tl.rank(copy / "train", ["sample_net"], **QUICK)
    assert same.accuracy == found.accuracy


def test_features_that_are_there_are_not_computed_again(photos, tmp_path):
    options = {"cache": tmp_path / "features", **QUICK}
    (first,) = tl.rank(photos, ["sample_net"], **options)
    (second,) = tl.rank(photos, ["sample_net"], **options)
    assert first.seconds > 0
    assert second == replace(first, seconds=None)


def test_copies_of_an_image_are_in_one_fold(photos, tmp_path):
    copy = shutil.copytree(photos / "train", tmp_path / "train")
    for folder in copy.iterdir():
        for path in sorted(folder.iterdir())[:5]:
            shutil.copy(path, folder / f"again_{path.name}")
    images = tl.image_folder(copy, image_size=32, shuffle=False)
    parts = _parts(images, 5, 42)
    by_digest = {}
    for digest, part in zip(images.digests, parts, strict=True):
        by_digest.setdefault(digest, set()).add(int(part))
    assert all(len(found) == 1 for found in by_digest.values())
    assert set(parts) == set(range(5))


def test_a_part_is_predicted_without_its_labels():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 8)), rng.integers(0, 3, 60)
    parts = np.arange(60) % 4
    before = cross_validated(features, labels, parts)
    other = np.where(parts == 1, (labels + 1) % 3, labels)
    after = cross_validated(features, other, parts)
    np.testing.assert_array_equal(before[parts == 1], after[parts == 1])
    assert (before == labels).mean() < 0.6  # of noise


def row(name, right, params=1):
    accuracy = proportion(int(right.sum()), len(right))
    return Ranked(name, accuracy, None, 32, 1.0, params, 1.0, 8), right


def test_equal_ones_come_by_size_and_the_limit_counts_the_comparisons():
    all_right = np.ones(40, bool)
    some = all_right.copy()
    some[:6] = False  # p = 0.031: below 0.05, and above 0.05 / 2
    found = _ordered([row("c", some), row("b", all_right, 9), row("a", all_right, 5)])
    assert [(x.backbone, x.worse) for x in found] == [
        ("a", None),
        ("b", False),
        ("c", False),
    ]
    assert _ordered([row("a", all_right), row("c", some)])[1].worse


@pytest.mark.parametrize(
    ("backbones", "options", "message"),
    [
        ("sample_net", {}, r"list of names.*'sample_net'"),
        ([], {}, r"list of names"),
        (["sample_net", "sample_net"], {}, r"named once.*sample_net twice"),
        (["sample_nte"], {}, r"Did you mean 'sample_net'"),
        (["sample_net"], {"weights": {"vgg16": "x.h5"}}, r"weights of vgg16"),
        (
            ["sample_net"],
            {"weights": {"sample_net": "x.weights.h5"}},
            r"x\.weights\.h5",
        ),
        (["sample_net"], {"folds": 1}, r"folds must .* at least 2"),
        (["sample_net"], {"folds": 11}, r"folds=11 with 10 images of"),
        (["sample_net"], {"image_size": 0}, r"image_size must .* at least 1 pixels"),
        (["sample_net"], {"cache": "off"}, r"stored features.*Leave cache out"),
        (["vgg16"], {"image_size": 8}, r"32"),
    ],
)
def test_what_cannot_be_ranked_is_refused(photos, backbones, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tl.rank(photos, backbones, **({"image_size": 32} | options))


def test_the_picture_has_the_best_on_top(tmp_path):
    right = np.arange(40) % 4 > 0
    found = _ordered([row("first", right), row("second", ~right)])
    figure = tl.plot_ranking(found, path=tmp_path / "r.png")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.partition("\n")[0] for label in labels] == ["first", "second"]
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]
    assert (tmp_path / "r.png").stat().st_size > 0


def test_copies_of_an_image_are_one_image_to_the_folds(photos, tmp_path):
    for name in ("a", "b"):
        source = sorted((photos / "train").rglob("*.png"))[ord(name) - ord("a")]
        (tmp_path / name).mkdir()
        for number in range(6):
            shutil.copy(source, tmp_path / name / f"{number}.png")
    with pytest.raises(
        ValueError, match=r"folds=2 with 1 image of 'a', copies counted"
    ):
        tl.rank(tmp_path, ["sample_net"], say=[].append, **QUICK)
