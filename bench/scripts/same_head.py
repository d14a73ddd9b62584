"""Train `model_3`'s two phases from one initial head on the backend that Keras has.

Initial weights that a backend draws itself differ from backend to backend. Here NumPy
draws the head, so that what is left is how each framework computes. Every backend adds
its file to the folder; the table shows all that are there, beside TensorFlow's.

    KERAS_BACKEND=tensorflow python bench/scripts/same_head.py PHOTOGRAPHS WEIGHTS OUT
    KERAS_BACKEND=jax python bench/scripts/same_head.py PHOTOGRAPHS WEIGHTS OUT
"""

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tlcore as tl

SIZE = 224
AUGMENTED = {"without augmentation": None, "as in model_3": "tutorial"}
"""Random layers draw other numbers on each backend, so that only the first compares."""


def main() -> None:
    """Train each kind of run with each seed, keep the figures and show the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", type=Path, help="with train and test in it")
    parser.add_argument("weights", type=Path, help="of MobileNetV2 0.35, without top")
    parser.add_argument("out", type=Path, help="a folder for all backends")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    splits = tl.load_splits(
        chosen.photographs,
        image_size=(SIZE, SIZE),
        batch_size=32,
        label_mode="categorical",
    )
    figures: dict[str, list[int]] = {}
    for name, augmentation in AUGMENTED.items():
        figures[name] = [
            correct(splits, chosen.weights, augmentation, seed)
            for seed in range(1, chosen.seeds + 1)
        ]
    backend = keras.backend.backend()
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / f"{backend}.json").write_text(json.dumps(figures))
    print(f"| backend | run | correct of {splits.test.num_images}, by seed | apart |")
    print("| --- | --- | --- | --- |")
    files = sorted(chosen.out.glob("*.json"))
    found = {file.stem: json.loads(file.read_text()) for file in files}
    for other, runs in found.items():
        for name, counts in runs.items():
            base = found.get("tensorflow", {}).get(name, [])
            apart = [a - b for a, b in zip(counts, base, strict=False)]
            print(f"| {other} | {name} | {counts} | {apart} |")


def correct(splits: Any, weights: Path, augmentation: str | None, seed: int) -> int:
    """Return how many test images the model of `model_3` gets right."""
    keras.utils.set_random_seed(seed)
    train, recipe = splits.train, tl.RECIPES["model_3"]
    model = tl.create_model(
        "mobilenet_v2_035",
        train.num_classes,
        weights=weights,
        augmentation=augmentation,
    )
    kernel, bias = model.layers[-1].weights
    limit = np.sqrt(6 / sum(kernel.shape))  # as Keras's own initializer
    kernel.assign(np.random.default_rng(seed).uniform(-limit, limit, kernel.shape))
    bias.assign(np.zeros(bias.shape))
    first = tl.feature_extract(model, train, epochs=recipe.epochs, verbose=0)
    epochs, last = recipe.fine_tune_epochs, recipe.last
    tl.fine_tune(model, train, history=first, last=last, epochs=epochs, verbose=0)
    score = tl.evaluate(model, splits.test)["accuracy"]
    return round(score.value * score.n)


if __name__ == "__main__":
    main()
