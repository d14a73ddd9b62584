"""How visits become batches, and how a process that reads them ends."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.backend.transport import Plan
from tlcore.data import pipeline
from tlcore.data.failures import as_raised
from tlcore.data.image_folder import image_folder

SIZE = 4
QUICK = {"image_size": SIZE, "batch_size": 3}


@pytest.mark.parametrize(
    ("label_mode", "counts", "dtype", "labels"),
    [
        ("categorical", (1, 1, 1), "float32", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("int", (1, 1, 1), "int32", [0, 1, 2]),
        ("binary", (2, 1), "float32", [[0], [0], [1]]),
    ],
)
def test_labels_have_the_form_asked_for(
    tmp_path, write_folder, label_mode, counts, dtype, labels
):
    names = dict(zip("abc", counts, strict=False))
    directory = write_folder(tmp_path / "photos", names)
    images = image_folder(directory, label_mode=label_mode, shuffle=False, **QUICK)
    dataset = images.dataset()
    ((pixels, found),) = list(dataset)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(pixels[2], np.full((4, 4, 3), (2, 0, 255)))
    if keras.backend.backend() != "tensorflow":
        return
    shape = np.shape(labels)[1:]
    for spec in (dataset.element_spec, images.stream().element_spec):
        assert spec[0].shape.as_list() == [None, SIZE, SIZE, 3]
        assert spec[0].dtype == "float32"
        assert spec[1].shape.as_list() == [None, *shape]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data only")
def test_an_iterator_that_is_dropped_waits_for_no_tuning(folder):
    """Tuned, one in three of those left for 25 s is dropped in 15 to 60 s."""
    images = image_folder(folder, **QUICK)
    listed = [(np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32))]
    signature = (((None, 3), "float32"), ((None, 1), "float32"))
    for dataset in (
        images.dataset(),
        images.stream(),
        seam.current().generated(lambda: iter(listed), signature, 1),
    ):
        assert dataset.options().autotune.enabled is False


def test_images_are_resized_to_height_and_width(folder):
    images = image_folder(folder, image_size=(5, 7), batch_size=8)
    ((pixels, _),) = list(images.dataset())
    assert pixels.shape == (8, 5, 7, 3)


@pytest.mark.parametrize(
    "batch_size",
    [
        2,
        3,
        7,
        8,
        100,
        pytest.param(1, marks=pytest.mark.matrix),
        pytest.param(9, marks=pytest.mark.matrix),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_stream_is_the_epochs_of_the_dataset(folder, visited, batch_size, shuffle):
    images = image_folder(
        folder,
        image_size=SIZE,
        batch_size=batch_size,
        label_mode="int",
        shuffle=shuffle,
    )
    dataset = images.dataset(reshuffle=True)
    assert len(dataset) == len(images)
    epochs = [visited(dataset) for _ in range(3)]
    flat = [[image for batch in epoch for image, _ in batch] for epoch in epochs]
    # Shades count up in the order of writing: b, a, c.
    first = {"a": 3, "b": 0, "c": 7}
    places = [Path(path) for path in images.paths]
    shade = [first[path.parent.name] + int(path.stem) for path in places]
    rank = images.labels
    for epoch, found in enumerate(flat):
        assert found == [shade[i] for i in images.order(epoch)]
    batches = list(itertools.chain(*epochs))
    for batch in batches:
        assert all(label == rank[shade.index(image)] for image, label in batch)
    assert visited(images.stream(), 3 * len(images)) == batches
    assert len({tuple(epoch) for epoch in flat}) == (3 if shuffle else 1)


def test_each_image_comes_with_its_weight(folder):
    images = image_folder(folder, **QUICK)
    weights = np.arange(8.0)
    batches = itertools.islice(images.stream(weights=weights), len(images))
    found = np.concatenate([batch[2] for batch in batches])
    assert found.dtype == np.float32
    assert found.tolist() == images.order(0).tolist()


def test_decoded_images_are_not_held(monkeypatch):
    # How many are read ahead for each core is tuned by what else the machine does.
    ahead = 16 + 8 * (os.cpu_count() or 1)
    count, decoded = 2 * ahead, []

    def read(path, digest, image_size, reading):
        decoded.append(path)
        return np.zeros((*image_size, 3), np.uint8)

    monkeypatch.setattr(pipeline, "read_checked_image", read)
    images = pipeline.Pipeline(
        paths=[f"{index}.png" for index in range(count)],
        digests=[str(index) for index in range(count)],
        labels=np.zeros(count, np.int64),
        image_size=(SIZE, SIZE),
        label_mode="int",
        num_classes=2,
    )
    plan = Plan(lambda step: np.array([step]), (1,), count=count)
    content = images.labelled(rows=None, bank=None)
    iterator = iter(seam.current().batches(plan, content))
    next(iterator)
    before = 0
    while len(decoded) > before:  # a slow machine reads less, which is no failure
        before = len(decoded)
        time.sleep(0.1)
    assert 1 <= len(decoded) <= ahead


def remove(path):
    path.unlink()


def change(path):
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("what", "problem"),
    [(remove, "cannot be read: No such file"), (change, "its bytes have changed")],
)
def test_an_image_that_is_not_as_it_was_when_it_was_checked_is_named(
    folder, what, problem
):
    images = image_folder(folder, shuffle=False, **QUICK)
    what(Path(images.paths[1]))
    message = rf"must stay as it was .*001\.png' \({problem}.*open the folder again"
    with pytest.raises(Exception, match=message) as raised:
        list(images.dataset())
    wrapped = not isinstance(raised.value, ValueError)
    assert wrapped == (keras.backend.backend() == "tensorflow")
    with pytest.raises(ValueError, match=message) as raised, as_raised():
        list(images.dataset())
    assert str(raised.value).startswith("An image must stay")
    assert "Traceback" not in str(raised.value)


# Processes of their own: op determinism and the end of the interpreter are for good


SCRIPT = """
import sys, threading, time
from tlcore.data import image_folder, pipeline
from tlcore.determinism import make_deterministic, set_seed

set_seed(0)
make_deterministic()
images = image_folder.image_folder(sys.argv[1], image_size=4, batch_size=2)
read, lock, running, most = pipeline.read_checked_image, threading.Lock(), 0, 0

def slowly(*args):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(0.05)
    with lock:
        running -= 1
    return read(*args)

pipeline.read_checked_image = slowly
iterator = iter(images.stream())
for _ in range(8):
    next(iterator)
print(most)
"""


@pytest.fixture(scope="module")
def abandoned(large):
    """Return a process that ended while its iterator was still reading ahead."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(large)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.matrix
def test_a_process_ends_although_its_stream_is_still_read(abandoned):
    assert abandoned.returncode == 0, abandoned.stderr


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two cores")
@pytest.mark.matrix
def test_images_are_decoded_in_parallel_under_op_determinism(abandoned):
    assert int(abandoned.stdout) > 1
