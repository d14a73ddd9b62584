"""Rank: what it costs against bare passes, and whether its order is that of training.

Marked slow. It uses the photographs and weights in `../shared` where they stand next to
the project, else sample images and random weights. Networks without weights there have
random ones: as slow as trained ones, and as bad in a ranking as in a run.
"""

import time
from pathlib import Path
from statistics import median

import pytest

import tlcore as tl
from tlcore.backbones.catalogue import find_entry
from tlcore.runs.runner import RunOptions, run_recipe

SHARED = Path(__file__).parents[3] / "shared"
WEIGHTS = SHARED / "weights/mobilenet_v2_035_224_notop.weights.h5"
SETS = ("pizza_steak_sushi", "cats_and_dogs")
SIX = {
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
    "efficientnet_v2_b0": "EfficientNetV2B0",
    "resnet50_v2": "ResNet50V2",
    "inception_v3": "InceptionV3",
}
"""Names of the catalogue, and of `keras.applications`."""
FIVE = (
    "sample_net",
    "mobilenet_v2_035",
    "mobilenet",
    "mobilenet_v2",
    "efficientnet_b0",
)
TURNS = 3


def weights_of(names):
    """Return the weights of each backbone, where it has some here."""
    found = dict.fromkeys(names, "none")
    if WEIGHTS.is_file():
        found["mobilenet_v2_035"] = WEIGHTS
    return found | {"sample_net": "imagenet"}


def photographs(name, tmp_path):
    """Return a folder with train and test."""
    if (SHARED / "data" / name).is_dir():
        return SHARED / "data" / name
    tl.write_sample_splits(tmp_path / name, classes=3, per_class=150, size=96)
    return tmp_path / name


def bare_passes(folder):
    """Run each network over all images, as a tutorial writes it."""
    import keras

    for name, title in SIX.items():
        size = find_entry(name).contract.size
        network = getattr(keras.applications, title)(
            include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3)
        )
        images = keras.utils.image_dataset_from_directory(
            folder, image_size=(size, size), batch_size=32, verbose=False
        )
        network.predict(images.map(lambda batch, _: batch), verbose=0)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.timeout(6000)
def bench_six_backbones(tmp_path, table):
    """Ranking six backbones from a cold cache, against six bare passes of Keras."""
    data = photographs(SETS[0], tmp_path)
    bare, ours = [], []
    for turn in range(TURNS):
        start = time.process_time()
        bare_passes(data / "train")
        middle = time.process_time()
        tl.rank(data, list(SIX), weights="none", cache=tmp_path / str(turn))
        bare.append(middle - start)
        ours.append(time.process_time() - middle)
    table("rank of 6 backbones", median(bare), median(ours), at_least=1 / 1.2)


@pytest.mark.slow
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("name", SETS)
def bench_order(name, tmp_path, table):
    """Kendall's tau of the ranking and of the test accuracy of full runs."""
    from scipy.stats import kendalltau

    data, weights = photographs(name, tmp_path), weights_of(FIVE)
    ranked = tl.rank(data, list(FIVE), weights=weights, cache=tmp_path / "features")
    trained = []
    for row in ranked:
        recipe = tl.RECIPES["model_3"].changed(
            backbone=row.backbone,
            weights=str(weights[row.backbone]),
            image_size=row.image_size,
            percent=100.0,
        )
        options = RunOptions(out=tmp_path / row.backbone, say=[].append)
        final = run_recipe(recipe, data, options).document["final"]
        trained.append(final["test_accuracy"]["value"])
    probed = [row.accuracy.value for row in ranked]
    for row, probe, accuracy in zip(ranked, probed, trained, strict=True):
        table(f"{name}, {row.backbone}: trained / probe", accuracy, probe)
    tau = kendalltau(probed, trained).statistic
    table(f"{name}: Kendall's tau of rank and runs", None, float(tau))
