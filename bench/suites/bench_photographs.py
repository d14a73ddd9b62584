"""Photographs: accuracy over seeds and epoch time on real images.

Images and pretrained weights are expected in `../shared`; without them these cases are
skipped. No exact values are recorded, because an exact value that is missing is a
regression, and these are missing on most machines.
"""

from functools import partial
from pathlib import Path

import pytest

import tlcore as tl

SHARED = Path(__file__).parents[3] / "shared"
PHOTOGRAPHS = SHARED / "data/pizza_steak_sushi"
WEIGHTS = SHARED / "weights/mobilenet_v2_035_224_notop.weights.h5"
SEEDS = tuple(range(1, 6))


@pytest.fixture(scope="module")
def photographs():
    """450 + 150 photographs of three classes at 224 pixels."""
    if not PHOTOGRAPHS.is_dir() or not WEIGHTS.is_file():
        pytest.skip("no photographs or no weights beside the project")
    return tl.load_splits(
        PHOTOGRAPHS, image_size=(224, 224), batch_size=32, label_mode="categorical"
    )


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["feature_extraction", "fine_tuning"])
def bench_photographs(phase, photographs, time_epochs, record):
    """MobileNetV2 0.35 with ImageNet weights: the head, then the last 10 layers."""
    import keras

    from tlcore.evaluation import evaluate

    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        model = tl.create_model("mobilenet_v2_035", 3, weights=WEIGHTS)
        train, epochs = photographs.train, 5
        first = tl.feature_extract(model, train, epochs=epochs, verbose=0)
        if phase == "fine_tuning":
            tl.fine_tune(model, train, history=first, epochs=epochs, verbose=0)
        score = evaluate(model, photographs.test)["accuracy"]
        correct = round(score.value * score.n)
        record.metric("test_accuracy", correct=correct, n=score.n, seed=seed)
    fit = partial(tl.fit, model, train, cache="off", verbose=0)
    time_epochs(lambda i: fit(initial_epoch=10 + i, epochs=11 + i), epochs=6)
