"""Train the weights that `tlcore.backbones.sample_net` brings along.

Draws pictures of `PRETRAINING_KINDS` in memory, trains the sample net with pooling and
a Dense layer on them, and writes the weights of the backbone alone. The kinds that
sample images show (`SAMPLE_KINDS`) are never drawn here.

The packaged file was made by `python bench/scripts/pretrain_sample_net.py` without
options (1000 pictures of each kind, 10 epochs, seed 42) on two CPU cores, with
TensorFlow 2.21 and Keras 3.15. It printed: held-out accuracy 0.927 of 600 pictures.
Another machine rounds otherwise and gets other weights that are as good.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backbones.sample_net import SAMPLE_NET_WEIGHTS, build_sample_net
from tlcore.data.drawing import PRETRAINING_KINDS, draw_sample_image
from tlcore.files import replacing

IMAGE_SIZE_PIXELS = 96
BATCH_SIZE = 64
PEAK_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3
LABEL_SMOOTHING = 0.1
HELD_OUT_PER_KIND = 20

Images = NDArray[np.uint8]
Labels = NDArray[np.float32]


def main() -> None:
    """Train, print the accuracy on held-out pictures, write the weights."""
    options = _parse()
    keras.utils.set_random_seed(options.seed)
    print(f"drawing {len(PRETRAINING_KINDS)} kinds x {options.per_class} pictures")
    images, labels = draw(0, options.per_class, seed=options.seed)
    held_out = draw(options.per_class, HELD_OUT_PER_KIND, seed=options.seed)
    backbone = build_sample_net((IMAGE_SIZE_PIXELS, IMAGE_SIZE_PIXELS, 3))
    model = build_classifier(backbone)
    steps = -(-len(images) // BATCH_SIZE) * options.epochs
    model.compile(
        keras.optimizers.AdamW(schedule(steps), weight_decay=WEIGHT_DECAY),
        keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(
        images,
        labels,
        batch_size=BATCH_SIZE,
        epochs=options.epochs,
        verbose=2,
        validation_data=held_out,
    )
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    print(f"held-out accuracy {accuracy:.3f} of {len(held_out[0])} pictures")
    with replacing(options.out) as aside:
        backbone.save_weights(aside)
    print(f"wrote {options.out} ({options.out.stat().st_size} bytes)")


def draw(first: int, per_class: int, *, seed: int) -> tuple[Images, Labels]:
    """Draw pictures number `first` and on of each kind, with one-hot labels."""
    count = len(PRETRAINING_KINDS) * per_class
    images = np.empty((count, IMAGE_SIZE_PIXELS, IMAGE_SIZE_PIXELS, 3), np.uint8)
    labels = np.zeros((count, len(PRETRAINING_KINDS)), np.float32)
    for i in range(count):
        label, number = divmod(i, per_class)
        images[i] = draw_sample_image(
            PRETRAINING_KINDS[label], first + number, size=IMAGE_SIZE_PIXELS, seed=seed
        )
        labels[i, label] = 1.0
    return images, labels


def build_classifier(backbone: keras.Model) -> keras.Model:
    """Put flips and the input contract before the backbone, and a Dense layer after."""
    return keras.Sequential(
        [
            keras.Input((IMAGE_SIZE_PIXELS, IMAGE_SIZE_PIXELS, 3)),
            keras.layers.RandomFlip("horizontal_and_vertical"),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(PRETRAINING_KINDS), activation="softmax"),
        ]
    )


def schedule(steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a short warm-up and then half a cosine down to zero."""
    warmup = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=PEAK_LEARNING_RATE, warmup_steps=warmup
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train the weights that tlcore.backbones.sample_net brings along.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=SAMPLE_NET_WEIGHTS, help="a .weights.h5 file"
    )
    parser.add_argument("--epochs", type=_positive, default=10, help="at least 1")
    parser.add_argument(
        "--per-class", type=_positive, default=1000, help="pictures of a kind"
    )
    parser.add_argument("--seed", type=int, default=42, help="any integer from 0 on")
    options = parser.parse_args()
    if not options.out.name.endswith(".weights.h5"):
        parser.error(f"--out must end in .weights.h5. Received: --out={options.out}.")
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}.")
    return value


if __name__ == "__main__":
    main()
