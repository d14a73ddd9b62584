"""How the pixels of image folders differ from those of Keras's own readers.

`python bench/scripts/keras_pixels.py FOLDER` reads the images of a folder with one
folder per class, and prints the mean and the largest of the differences in [0, 255].
From row to row one thing changes, so that the table says what a difference comes from.
"""

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tlcore as tl

SIZE = (224, 224)


def resized(path: str, *, antialias: bool) -> Any:
    """Return an image as `image_dataset_from_directory` reads it, or antialiased."""
    data = tf.io.read_file(path)
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.image.resize(image, SIZE, method="bilinear", antialias=antialias).numpy()


def loaded(path: str) -> Any:
    """Return an image as `load_img` reads it with bilinear interpolation."""
    image = keras.utils.load_img(path, target_size=SIZE, interpolation="bilinear")
    return np.asarray(image, np.float32)


READERS: dict[str, Callable[[str], Any]] = {
    'load_img(interpolation="bilinear")': loaded,
    "tf.image.resize(antialias=True)": lambda path: resized(path, antialias=True),
    "image_dataset_from_directory": lambda path: resized(path, antialias=False),
}


def main(directory: str) -> None:
    """Print the table for the images of a folder."""
    folder = tl.image_folder(directory, image_size=SIZE, batch_size=1, shuffle=False)
    ours = [images[0].numpy() for images, _ in folder.dataset()]
    dataset = keras.utils.image_dataset_from_directory(
        directory, image_size=SIZE, batch_size=1, shuffle=False, verbose=False
    )
    theirs = [images[0].numpy() for images, _ in dataset]
    same = [resized(path, antialias=False) for path in dataset.file_paths]
    if not all(np.array_equal(a, b) for a, b in zip(theirs, same, strict=True)):
        raise SystemExit("image_dataset_from_directory resizes in another way now")
    print(f"{folder}\n\n{'reader':36} {'mean':>6} {'largest':>8}")
    for name, read in READERS.items():
        differences = [
            np.abs(image - read(path))
            for path, image in zip(folder.paths, ours, strict=True)
        ]
        mean = np.mean([difference.mean() for difference in differences])
        largest = max(difference.max() for difference in differences)
        print(f"{name:36} {mean:6.2f} {largest:8.0f}")


if __name__ == "__main__":
    main(sys.argv[1])
