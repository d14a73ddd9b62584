"""Arrays: images in memory are read as those of a folder, in a known order."""

import numpy as np
import pytest

from tlcore.data.arrays import are_arrays, image_arrays, tensor_digest
from tlcore.data.spec import DataSpec
from tlcore.plotting.image_grid import plot_images

X = np.random.default_rng(0).integers(0, 256, (10, 8, 6, 3)).astype("uint8")
Y = np.arange(10) % 3


def read(data):
    return [tuple(np.asarray(part) for part in batch) for batch in data]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16"])
def test_an_epoch_has_every_image_with_its_label_in_the_order_of_the_seed(dtype):
    arrays = image_arrays(X.astype(dtype), Y, batch_size=4)
    batches = read(arrays.stream().take(3))
    order = arrays.order(0)
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert batches[0][0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), X[order])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), Y[order])
    assert not np.array_equal(order, np.arange(10))
    assert not np.array_equal(order, arrays.order(1))
    plain = image_arrays(X, Y, shuffle=False)
    np.testing.assert_array_equal(plain.order(3), np.arange(10))


def test_what_is_read_to_predict_is_in_the_order_of_the_arrays():
    arrays = image_arrays(X, Y, batch_size=4)
    assert arrays.labels.tolist() == Y.tolist()
    for _ in range(2):
        images, labels = map(np.concatenate, zip(*read(arrays.dataset()), strict=True))
        np.testing.assert_array_equal(images, X)
        np.testing.assert_array_equal(labels, Y)
    again = np.concatenate([y for _, y in read(arrays.dataset(reshuffle=True))])
    np.testing.assert_array_equal(again, Y[arrays.order(0)])


def test_a_fingerprint_is_of_images_and_labels():
    found = {
        image_arrays(x, y).fingerprint for x, y in ((X, Y), (X, Y % 2), (X[::-1], Y))
    }
    found |= {image_arrays(X, np.eye(3)[Y]).fingerprint}
    assert len(found) == 4
    assert image_arrays(X, Y, seed=1, shuffle=False).fingerprint in found


@pytest.mark.parametrize(
    ("labels", "shape", "dtype"),
    [
        (Y, (), "int32"),
        (Y.astype(float), (), "int32"),
        (Y / 2, (), "float32"),
        (np.eye(3)[Y], (3,), "float32"),
        (Y[:, None] > 0, (1,), "float32"),
        ([int(y) for y in Y], (), "int32"),
    ],
)
def test_labels_are_passed_on_as_they_are(labels, shape, dtype):
    arrays = image_arrays(X, labels, shuffle=False)
    assert DataSpec.of(arrays, "train").label_shape == shape
    ((_, batch),) = read(arrays.dataset())
    assert batch.dtype == dtype
    np.testing.assert_allclose(batch, np.asarray(labels), rtol=1e-6)


def test_weights_come_with_the_images_they_belong_to():
    arrays = image_arrays(X, Y, np.arange(10))
    ((_, _, weights),) = read(arrays.dataset())
    np.testing.assert_array_equal(weights, np.arange(10))
    ((_, _, weights),) = read(arrays.stream().take(1))
    np.testing.assert_array_equal(weights, arrays.order(0))
    rest, held_out = arrays.split_off(30)
    assert set(held_out.weights) | set(rest.weights) == set(range(10))
    assert held_out.weights.tolist() == [
        next(i for i in range(10) if np.array_equal(X[i], image))
        for image in held_out.images
    ]


def test_rows_of_labels_are_not_split_by_class():
    with pytest.raises(
        ValueError, match=r"one class for each.*shape \(10, 3\), float32"
    ):
        image_arrays(X, np.eye(3)[Y]).split_off(20)
    with pytest.raises(ValueError, match=r"shape \(10,\), float32"):
        image_arrays(X, Y / 2).split_off(20)


def test_a_part_of_every_class_is_held_out_with_its_copies():
    twice = np.concatenate([X, X])
    rest, part = image_arrays(twice, np.tile(Y, 2)).split_off(30)
    assert rest.class_names == part.class_names == ()
    assert not set(rest.digests) & set(part.digests)
    assert set(part.labels) == {0, 1, 2}
    for side in (rest, part):
        for image, digest in zip(side.images, side.digests, strict=True):
            assert tensor_digest(image) == digest
    with pytest.raises(ValueError, match="at least 2 images .* Received: 1 with 1"):
        image_arrays(X[:5], [0, 0, 1, 2, 2]).split_off(20)


def test_arrays_are_drawn():
    arrays = image_arrays(X, Y, class_names=("a", "b", "c"))
    assert len(plot_images(arrays, per_class=2).axes) >= 6


def test_an_image_is_known_by_type_shape_and_values():
    image = X[0]
    others = [image.astype("float32"), image.reshape(6, 8, 3), X[1], image[::-1]]
    assert len({tensor_digest(x) for x in [image, *others]}) == 5
    assert tensor_digest(image) == tensor_digest(np.array(image, order="F"))


def test_a_tuple_of_arrays_is_told_from_batches():
    assert are_arrays((X, Y))
    assert are_arrays((X, Y.tolist(), np.ones(10)))
    assert not are_arrays([X, Y])
    assert not are_arrays(((X, Y), (X, Y)))
    assert not are_arrays((X,))
    spec = DataSpec.of((X, Y), "train")
    assert (spec.image_shape, spec.batches, spec.source) == ((8, 6, 3), 1, None)
    assert spec.folder.notes() == "10 images of 8 x 6 x 3 in memory (uint8)"


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (X[0], Y, {}, r"\(n, height, width, 3\).*shape \(8, 6, 3\).*np.stack"),
        (X[:0], Y[:0], {}, "at least one image"),
        (X.astype(str), Y, {}, "one array of numbers"),
        ([X[0], X[0][:4]], Y[:2], {}, "NumPy makes none.*Resize them to one size"),
        (X, Y[:9], {}, r"a label for each image.*shape \(9,\) for 10 images"),
        (X, np.zeros((10, 2, 2)), {}, r"shape \(10, 2, 2\)"),
        (X, ["cat"] * 10, {}, "such as 'cat'.*np.unique.labels, return_inverse=True"),
        (X, Y, {"weights": np.ones(9)}, "Weights must be.*shape"),
        (X, Y, {"weights": -np.ones(10)}, "Weights must be a finite factor"),
        (X, Y, {"batch_size": 0}, "batch_size must be a whole number of at least 1"),
    ],
)
def test_what_are_no_images_with_labels_is_refused(images, labels, options, message):
    with pytest.raises(ValueError, match=message):
        image_arrays(images, labels, **options)
