"""Linear probe: a ridge head in closed form, and when it is left out."""

import keras
import numpy as np
import pytest

from tlcore.caching.feeds import CacheOptions
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.models import create_model
from tlcore.runs import linear_probe
from tlcore.runs.linear_probe import linear_probe_accuracy


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("probe")
    write_sample_images(directory, classes=4, per_class=20, size=64)
    return image_folder(directory, image_size=64).split_off(25)


@pytest.mark.matrix
def test_trained_weights_reach_more_than_random_ones(folders, tmp_path):
    accuracies = []
    for weights in ("imagenet", None):
        keras.utils.set_random_seed(1)
        model = create_model("sample_net", 4, weights=weights, input_shape=(64, 64, 3))
        estimate = linear_probe_accuracy(model, *folders, CacheOptions(tmp_path))
        assert estimate.n == 20
        accuracies.append(estimate.value)
    assert accuracies[0] > accuracies[1]
    assert accuracies[0] >= 0.9


def test_it_is_left_out_without_a_cache_or_with_too_many_features(
    folders, tmp_path, monkeypatch
):
    model = create_model("sample_net", 4, input_shape=(64, 64, 3))
    assert linear_probe_accuracy(model, *folders, CacheOptions("off")) is None
    monkeypatch.setattr(linear_probe, "MAX_BYTES", 100)
    assert linear_probe_accuracy(model, *folders, CacheOptions(tmp_path)) is None


@pytest.mark.parametrize(("images", "columns", "seed"), [(30, 50, 1), (12, 4, 3)])
def test_the_strength_has_the_smallest_leave_one_out_error(images, columns, seed):
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], images // 3)
    targets = np.eye(3)[labels]
    features = random.normal(size=(images, columns)) + targets @ random.normal(
        size=(3, columns)
    )
    head = linear_probe._fit(features, labels, 3)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    unit = np.mean(s**2)

    def left_out_errors(strength):
        # The slow way: one fit for each image left out, scaled as with all images.
        wrong, squares = 0, 0.0
        for i in range(images):
            kept = np.arange(images) != i
            centre, bias = x[kept].mean(axis=0), targets[kept].mean(axis=0)
            z = x[kept] - centre
            penalty = strength * unit * np.eye(columns)
            weights = np.linalg.solve(z.T @ z + penalty, z.T @ (targets[kept] - bias))
            scores = (x[i] - centre) @ weights + bias
            wrong += int(np.argmax(scores) != labels[i])
            squares += float(np.sum((targets[i] - scores) ** 2))
        return wrong, squares

    # The chosen strength follows from the norm of the weights.
    projected = u.T @ (targets - targets.mean(axis=0))

    def norm(strength):
        shrunk = (s / (s**2 + strength * unit))[:, None] * projected
        return np.linalg.norm(shrunk)

    strengths = linear_probe.STRENGTHS
    found = np.linalg.norm(head.weights)
    chosen = min(strengths, key=lambda strength: abs(norm(strength) - found))
    assert norm(chosen) == pytest.approx(found)
    assert chosen == min(strengths, key=left_out_errors)
    if columns > images:
        assert (head.classes(features) == labels).mean() > 0.9


def by_svd(features, labels, classes):
    """Return the weights of the head, from a singular value decomposition."""
    x = (features - features.mean(axis=0)) / np.where(
        features.std(axis=0) > 0, features.std(axis=0), 1
    )
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    targets = np.eye(classes)[labels]
    bias = targets.mean(axis=0)
    projected = u.T @ (targets - bias)

    def score(strength):
        shrunk = s**2 / (s**2 + strength * np.mean(s**2))
        residuals = targets - bias - u @ (shrunk[:, None] * projected)
        leverage = (u**2 @ shrunk + 1 / len(labels)).clip(max=1 - 1e-9)
        left_out = targets - residuals / (1 - leverage)[:, None]
        wrong = np.sum(left_out.argmax(axis=1) != labels)
        return wrong, np.sum((targets - left_out) ** 2)

    penalty = min(linear_probe.STRENGTHS, key=score) * np.mean(s**2)
    return vt.T @ ((s / (s**2 + penalty))[:, None] * projected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("images", "columns"), [(30, 200), (200, 30), (40, 40), (12, 900), (60, 2)]
)
def test_the_smaller_matrix_has_the_head_of_the_singular_values(images, columns, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, images)
    features = random.normal(size=(images, columns)) * np.exp(
        random.normal(size=columns)
    ) + np.eye(3)[labels] @ random.normal(size=(3, columns))
    features[:, columns // 2] = 7  # the same for all images
    features[1] = features[0]  # two images alike
    found = linear_probe._fit(features, labels, 3).weights
    expected = by_svd(features, labels, 3)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_features_that_are_all_the_same_make_no_head():
    head = linear_probe._fit(np.ones((6, 4)), np.array([0, 1, 2, 0, 1, 0]), 3)
    assert np.array_equal(head.classes(np.ones((2, 4))), [0, 0])
