"""Frozen layers run once: what the cache saves, compared to plain Keras in one run.

The long cases are marked slow and make the table of the README: `tox -e frozen-once`.
They use the photographs in `../shared/data/pizza_steak_sushi` if that folder exists
next to the project, else as many sample images. The two sides of a ratio are measured
in turn, and their medians are compared.
"""

import itertools
import os
import resource
import time
from functools import lru_cache
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image
from plain_keras import batches_of, plain_model

import tlcore as tl
from tlcore.caching.entry import BLOCK_ROWS, Builder, Key
from tlcore.caching.store import FeatureCache
from tlcore.data.splits import load_splits
from tlcore.splitting.tensors import Tensor

PHOTOGRAPHS = Path(__file__).parents[3] / "shared/data/pizza_steak_sushi"
SIZE, BATCH = 224, 32
QUIET = {"verbose": 0}
PLAIN = {"verbose": 0, "shuffle": False}
"""Keras warns if it is asked to shuffle a dataset, and asks by default."""
LAST_10_TARGETS = {"tensorflow": 7, "jax": 7, "torch": 4}
"""How much faster a warm epoch has to be; plain Keras differs by backend."""
TRAIN_IMAGES, VALIDATION_IMAGES = 750, 2500
"""Those of the tutorials' Model 2: 10 % of ten classes of food, all test images."""


def moments():
    """Return a callback that measures when epochs begin and end, from its creation."""
    import keras

    class Moments(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.start = time.perf_counter()
            self.begins, self.ends = [], []

        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            self.begins.append(time.perf_counter() - self.start)

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            self.ends.append(time.perf_counter() - self.start)

    return Moments()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """450 + 150 images of three classes at 224 pixels."""
    directory = PHOTOGRAPHS
    if not directory.is_dir():
        directory = tmp_path_factory.mktemp("frozen_once")
        for name, count in (("train", 150), ("test", 50)):
            tl.write_sample_images(
                directory / name, classes=3, per_class=count, seed=count
            )
    splits = load_splits(
        directory, image_size=(SIZE, SIZE), batch_size=BATCH, label_mode="categorical"
    )
    return splits.train, splits.test


@pytest.fixture(scope="module")
def model_2_images(tmp_path_factory):
    """Generated images, as many as in the tutorials' Model 2."""
    directory = tmp_path_factory.mktemp("model_2")
    folders = []
    for name, count in (("train", TRAIN_IMAGES), ("test", VALIDATION_IMAGES)):
        tl.write_sample_images(directory / name, classes=10, per_class=count // 10)
        folders.append(
            tl.image_folder(directory / name, image_size=(SIZE, SIZE), batch_size=BATCH)
        )
    return folders[0], folders[1].unshuffled()


def keras_folder(folder):
    """Return the same images, read by Keras's own loader.

    It needs TensorFlow: on another backend the images are decoded already, once.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        batches = decoded(folder)
        return batches_of(len(batches), batches.__getitem__)
    return keras.utils.image_dataset_from_directory(
        folder.directory,
        image_size=folder.image_size,
        batch_size=folder.batch_size,
        label_mode="categorical",
        shuffle=folder.shuffle,
        seed=1,
        verbose=False,
    )


@lru_cache
def decoded(folder):
    """Return the batches of an epoch, in memory."""
    return list(folder.dataset())


def our_model(classes, **options):
    """Return the same model, built by this package."""
    return tl.create_model("efficientnet_b0", classes, weights=None, **options)


def plain_fit(model, train, validation, epochs):
    """Fit with Keras; return the moments of the epochs."""
    data, held_out = keras_folder(train), keras_folder(validation)
    clock = moments()
    model.fit(data, validation_data=held_out, epochs=epochs, callbacks=[clock], **PLAIN)
    return clock


def our_fit(model, train, validation, epochs, cache, **options):
    """Extract features with this package; return the moments of the epochs."""
    clock = moments()
    tl.feature_extract(
        model,
        train,
        validation,
        epochs=epochs,
        callbacks=[clock],
        cache=cache,
        **options,
        **QUIET,
    )
    return clock


def plain_predict(train, validation):
    """Return the seconds of one forward pass of Keras over all images."""
    model = plain_model(train.num_classes)
    start = time.perf_counter()
    for folder in (train, validation):
        model.predict(keras_folder(folder), **QUIET)
    return time.perf_counter() - start


def resident_bytes():
    """Return how much memory of this process is resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def bench_cached_beside_end_to_end(sample_splits, tmp_path, record):
    """The same weights to the bit, on sample images, and how much work is saved."""
    import keras

    from tlcore.callbacks import EpochClock

    sides = {}
    for cache in ("off", tmp_path):
        keras.utils.set_random_seed(1)
        model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
        # Of the processor: the ratio means the same while others use the machine.
        clock = EpochClock(time.process_time)
        history = tl.feature_extract(
            model,
            sample_splits.train,
            sample_splits.validation,
            epochs=4,
            cache=cache,
            callbacks=[clock],
            **QUIET,
        )
        sides[cache] = model.get_weights(), history, clock.seconds[1:]
    (plain, end_to_end, slow), (cached, history, quick) = sides.values()
    same = all(np.array_equal(a, b) for a, b in zip(plain, cached, strict=True))
    record.exact("same_weights", same)
    record.exact("same_history", history.history["loss"] == end_to_end.history["loss"])
    saved = median(slow) / median(quick)
    record.metric("warm_epoch_work_ratio", value=saved, better="higher", portable=True)
    assert median(slow) > median(quick)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_feature_extraction(photographs, tmp_path, table):
    """5 and 15 epochs from a cold cache, against plain Keras and one plain predict."""
    train, validation = photographs
    predicted, cached = [], {5: [], 15: []}
    for turn in range(3):
        predicted.append(plain_predict(train, validation))
        for epochs, seconds in cached.items():
            folder = tmp_path / f"{turn}-{epochs}"
            model = our_model(3)
            clock = our_fit(model, train, validation, epochs, folder)
            seconds.append(clock.ends[-1])
        if turn == 1:
            plain = plain_fit(plain_model(3), train, validation, 15)
    ours = {epochs: median(seconds) for epochs, seconds in cached.items()}
    table("feature extraction, 5 epochs, cold", plain.ends[4], ours[5], at_least=4)
    table("feature extraction, 15 epochs, cold", plain.ends[14], ours[15], at_least=10)
    one = median(predicted)
    table("the same beside one plain predict", one, ours[15], at_least=1 / 1.15)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_last_10_warm_epoch(photographs, tmp_path, table):
    """A warm epoch with the last 10 layers unfrozen, against plain Keras."""
    import keras

    from tlcore.callbacks import EpochClock

    train, validation = photographs
    plain, ours = [], []
    sides = plain_model(3, last=10), our_model(3)
    for _ in range(3):
        clock = EpochClock()
        sides[0].fit(
            keras_folder(train),
            validation_data=keras_folder(validation),
            epochs=3,
            callbacks=[clock],
            **PLAIN,
        )
        plain += clock.seconds[1:]
        clock = EpochClock()
        tl.fine_tune(
            sides[1],
            train,
            validation,
            epochs=5,
            cache=tmp_path,
            callbacks=[clock],
            **QUIET,
        )
        ours += clock.seconds[1:]
    target = LAST_10_TARGETS[keras.backend.backend()]
    table("last 10 layers, warm epoch", median(plain), median(ours), at_least=target)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_model_2(model_2_images, tmp_path, table):
    """Augmented training on 750 + 2,500 images: validation cached, then views too."""
    train, validation = model_2_images
    ours = []

    def augmented(turn, **options):
        model = our_model(10, augmentation="tutorial")
        cache = tmp_path / str(turn)
        return our_fit(model, train, validation, 10, cache, **options)

    ours.append(augmented(1))
    plain = plain_fit(plain_model(10, augmented=True), train, validation, 10)
    ours.append(augmented(2))
    views = augmented(3, views=2)
    ours.append(augmented(4))
    five, ten = (median(clock.ends[n - 1] for clock in ours) for n in (5, 10))
    table("model_2, 5 epochs, cold", plain.ends[4], five, at_least=3.2)
    table("model_2, 10 epochs, cold", plain.ends[9], ten, at_least=2.8)
    table("model_2, views=2, 10 epochs", plain.ends[9], views.ends[9], at_least=5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_warm_start(photographs, tmp_path, table):
    """Seconds from a built model to its first epoch, with a warm cache."""
    import keras

    train, validation = photographs
    our_fit(our_model(3), train, validation, 1, tmp_path)
    keras.utils.set_random_seed(1)
    weights = our_model(3).get_weights()
    waits = []
    for _ in range(4):
        model = our_model(3)
        model.set_weights(weights)
        waits.append(our_fit(model, train, validation, 1, tmp_path).begins[0])
    table("warm cache, seconds to the first epoch", None, median(waits[1:]), at_most=2)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_20_000_images(tmp_path, table):
    """Memory, and time per image, for 20,000 images of 37 KiB each."""
    from tlcore.caching.feeds import CacheOptions, training_feed

    random = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10_000):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/{name}/{number}.png")
    folder = tl.image_folder(
        tmp_path / "images", image_size=(SIZE, SIZE), batch_size=BATCH
    )
    model = our_model(2)
    tl.unfreeze(model, last=10)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    moments = []

    def progress(_name, done, _total):
        moments.append((done, time.perf_counter()))

    before = resident_bytes()
    peak = before
    options = CacheOptions(tmp_path / "cache", progress=progress)
    feed = training_feed(model, folder, options, range(len(folder)))
    assert "36.8 KiB" in feed.sentence, feed.sentence
    peak = max(peak, resident_bytes())
    for batch, _ in zip(feed.data, range(len(folder)), strict=False):
        del batch
        peak = max(peak, resident_bytes())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 >= peak
    growth = (peak - before) / 1e6
    table("20,000 images: resident memory, MB more", None, growth, at_most=500)
    # The first images also pay for compiling.
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(moments[5:])]
    done = list(itertools.accumulate(count for count, _ in steps))
    costs = [seconds / count for count, seconds in steps]
    few = median(cost for cost, at in zip(costs, done, strict=True) if at <= 2000)
    table("20,000 images: cost per image, by 2,000", few, median(costs), within=0.1)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_cache_input_and_output(photographs, tmp_path, table):
    """What writing adds to the pass alone, and the speed of reading."""
    from tlcore.splitting.split import split

    train, _ = photographs
    model = our_model(3)
    tl.unfreeze(model, last=10)
    halves = split(model)
    from tlcore.splitting.part import Prefix

    prefix = Prefix(halves.prefix, (SIZE, SIZE, 3))
    visits = np.arange(train.num_images)
    prefix(np.zeros((2, SIZE, SIZE, 3), np.float32))
    bare, written = [], []
    for turn in range(3):
        start = time.perf_counter()
        pictures = train.pictures(visits, batch_size=BLOCK_ROWS)
        blocks = [prefix(images) for images in pictures]
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        key = Key(f"{turn:064}", tuple(sorted(set(train.digests))))
        cache = FeatureCache(tmp_path / "written")
        with cache.locked(key), cache.building(key, halves.cut, {}) as builder:
            for number, block in enumerate(blocks):
                builder.write(number, block)
        written.append(time.perf_counter() - start)
    more = median(written) / median(bare)
    table("building beside the bare pass, part more", None, more, at_most=0.03)

    features = synthetic_entry(tmp_path / "read", rows=20_000)
    order = np.random.default_rng(1).permutation(len(features))
    speeds = []
    for _ in range(4):
        start = time.perf_counter()
        count = sum(
            features.take(order[at : at + BATCH])[0].nbytes
            for at in range(0, len(order), BATCH)
        )
        speeds.append(count / (time.perf_counter() - start) / 1e9)
    table("reading in random order, GB/s", None, median(speeds), at_least=1)


def synthetic_entry(folder, rows):
    """Return a cache entry of random rows, 37 KiB each."""
    tensors = [Tensor("block6d_add", (7, 7, 192), "float32")]
    names = tuple(f"{number:064x}" for number in range(rows))
    key, cache = Key("0" * 64, names), FeatureCache(folder)
    block = np.random.default_rng(1).standard_normal((BLOCK_ROWS, 7, 7, 192), "f4")
    with cache.locked(key), cache.building(key, tensors, {}) as builder:
        assert isinstance(builder, Builder)
        for number in range(rows // BLOCK_ROWS):
            builder.write(number, [block])
    return cache.find(key)
