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


def test_the_strength_has_the_smallest_leave_one_out_error():
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 10)
    features = random.normal(size=(30, 50)) + np.eye(3)[labels] @ random.normal(
        size=(3, 50)
    )
    head = linear_probe._fit(features, labels, 3)
    assert (head.classes(features) == labels).mean() > 0.9

    def left_out_errors(strength):
        # The slow way: one fit for each image left out, scaled as with all images.
        x = (features - features.mean(axis=0)) / features.std(axis=0)
        unit = np.mean(np.linalg.svd(x, compute_uv=False) ** 2)
        targets = np.eye(3)[labels]
        wrong = 0
        for i in range(30):
            kept = np.arange(30) != i
            centre, bias = x[kept].mean(axis=0), targets[kept].mean(axis=0)
            z = x[kept] - centre
            weights = np.linalg.solve(
                z.T @ z + strength * unit * np.eye(50), z.T @ (targets[kept] - bias)
            )
            wrong += np.argmax((x[i] - centre) @ weights + bias) != labels[i]
        return wrong

    errors = {s: left_out_errors(s) for s in linear_probe.STRENGTHS}
    x = (features - head.centre) / head.scale
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ (np.eye(3)[labels] - 1 / 3)
    # The chosen strength follows from the norm of the weights.
    shrink = np.linalg.norm(head.weights) / np.linalg.norm(projected)
    chosen = min(
        linear_probe.STRENGTHS,
        key=lambda k: abs(
            np.linalg.norm((s / (s**2 + k * np.mean(s**2)))[:, None] * projected)
            / np.linalg.norm(projected)
            - shrink
        ),
    )
    assert errors[chosen] <= min(errors.values()) + 1
