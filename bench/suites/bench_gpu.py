"""One GPU: images a second, epochs cached and end to end, plain PyTorch beside them.

`pytest -m gpu` runs it on a machine with a GPU, `bench/scripts/gpu_session.py` several
times in a row. `--small` tries it where there is none. Images are decoded already,
except where decoding is the question. Every case waits for the device when a clock is
read: one that does not would time how fast work is queued.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from plain_keras import batches_of, plain_model

import tlcore as tl

pytestmark = pytest.mark.gpu

CLASSES, SEED = 10, 1
BATCHES = {
    "efficientnet_b0": 256,
    "resnet50_v2": 256,
    "vgg16": 128,
    "efficientnet_b4": 64,
}
"""The images of a batch, by network."""
THROUGHPUTS = [(name, "float32") for name in BATCHES]
THROUGHPUTS.insert(1, ("efficientnet_b0", "mixed_bfloat16"))
PHASES = {"feature_extraction": 0, "last_10": 10}
"""The layers of the backbone that train, by phase."""
PEER = Path(__file__).with_name("peer_timm.py")


@dataclass(frozen=True)
class Scale:
    """How much is measured: what a GPU does in a minute, or a CPU with small images."""

    small: bool

    @property
    def size(self):
        """Height and width of the images, in pixels."""
        return 32 if self.small else 224

    @property
    def shape(self):
        """The shape of an image."""
        return self.size, self.size, 3

    @property
    def images(self):
        """The images of an epoch."""
        return 64 if self.small else 2048

    @property
    def steps(self):
        """The steps of a round."""
        return 2 if self.small else 20

    @property
    def rounds(self):
        """The rounds, and the epochs after the first."""
        return 3 if self.small else 8

    @cached_property
    def decoded(self):
        """The images and labels of an epoch, in memory."""
        rng = np.random.default_rng(SEED)
        images = rng.integers(0, 256, (self.images, *self.shape), np.uint8)
        return images, one_hot(rng.integers(0, CLASSES, len(images)))

    def batch(self, whole):
        """Return the images of a batch."""
        return 16 if self.small else whole


@pytest.fixture(scope="session")
def scale(pytestconfig):
    """Return the scale that `--small` asks for; without it a GPU is needed."""
    from tlcore.backend import seam

    small = pytestconfig.getoption("--small", default=False)
    devices = seam.current().devices()
    if not small and all(name.lower().startswith("cpu") for name in devices):
        pytest.skip("no GPU; --small tries the suite on a CPU")
    return Scale(small=small)


@pytest.fixture(scope="module")
def ours():
    """Return the seconds of this session that are compared with those of timm."""
    return {}


def one_hot(labels):
    """Return labels with a column for each class."""
    return np.eye(CLASSES, dtype="float32")[labels]


def epochs_of(fit, count):
    """Return the seconds of epochs, without those of a first one, which compiles."""
    from tlcore.callbacks import EpochClock

    clock = EpochClock()
    fit(epochs=count + 1, callbacks=[clock], verbose=0)
    return clock.seconds[1:]


def record_rate(record, name, taken, images):
    """Record the seconds of rounds, and images a second by their median."""
    record.timing(name, taken, warmup=0)
    rate = images / median(taken)
    record.metric(f"{name}_images_per_second", value=rate, better="higher")


def transfer(phase, train, *, backbone="efficientnet_b0", weights=None, **options):
    """Train a new model on images, as this package does it; return the model."""
    import keras

    keras.utils.set_random_seed(SEED)
    shape = (*train.image_size, 3)
    model = tl.create_model(backbone, CLASSES, weights=weights, input_shape=shape)
    if PHASES[phase]:
        tl.fine_tune(model, train, last=PHASES[phase], **options)
    else:
        tl.feature_extract(model, train, **options)
    return model


@pytest.fixture
def precision(request):
    """Set a precision for one case."""
    from tlcore.backend.precision import precision

    with precision(request.param):
        yield request.param


@pytest.mark.parametrize(("name", "precision"), THROUGHPUTS, indirect=["precision"])
def bench_throughput(name, precision, scale, record, ours):
    """Images a second of inference, and of training all weights, in timm's manner."""
    import keras

    from tlcore.backend import seam

    backend, batch = seam.current(), scale.batch(BATCHES[name])
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (batch, *scale.shape)).astype("float32")
    labels = one_hot(rng.integers(0, CLASSES, batch))
    images, labels = map(keras.ops.convert_to_tensor, (images, labels))
    network = tl.load_backbone(name, weights=None, input_shape=scale.shape)
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    head = keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")
    model = keras.Model(network.input, head(pooled))
    backend.forget_peak_memory()
    before = backend.peak_memory()

    forward, taken = backend.forward(model), []
    for _ in range(scale.rounds + 1):
        begin = time.perf_counter()
        for _ in range(scale.steps):
            outputs = forward(images)
        keras.ops.convert_to_numpy(outputs)  # waits for them, on a CPU as well
        taken.append((time.perf_counter() - begin) / scale.steps)
    record_rate(record, "inference_step", taken[1:], batch)
    ours[f"{name} {precision} inference"] = median(taken[1:])

    model.compile("adam", "categorical_crossentropy", jit_compile=backend.JIT)
    # The same batch again and again: nothing but the device has work to do.
    data = batches_of(scale.steps, lambda _: (images, labels))
    seconds = epochs_of(partial(model.fit, data, shuffle=False), scale.rounds)
    taken = [second / scale.steps for second in seconds]
    record_rate(record, "training_step", taken, batch)
    ours[f"{name} {precision} training"] = median(taken)
    peak = backend.peak_memory()
    # JAX remembers the peak of the process: that of a case before says nothing here.
    if peak and peak != before:
        record.memory("peak_device", peak)


@pytest.mark.parametrize("phase", PHASES)
def bench_epoch(phase, scale, record, ours, tmp_path):
    """An epoch of transfer learning: plain Keras, and this package, cached or not."""
    import keras

    images, labels = scale.decoded
    batch = scale.batch(256)
    keras.utils.set_random_seed(SEED)
    plain = plain_model(CLASSES, size=scale.size, last=PHASES[phase])

    def batch_at(index):
        rows = slice(index * batch, (index + 1) * batch)
        return images[rows], labels[rows]

    data = batches_of(len(images) // batch, batch_at)
    taken = {
        "plain_keras": epochs_of(partial(plain.fit, data, shuffle=False), scale.rounds)
    }
    train = tl.image_arrays(images, labels, batch_size=batch)
    said = []
    for name, cache in (("end_to_end", "off"), ("cached", tmp_path)):
        fit = partial(transfer, phase, train, cache=cache, say=said.append)
        taken[name] = epochs_of(fit, scale.rounds)
    for name, seconds in taken.items():
        record.timing(name, seconds, warmup=0)
    record.exact("is_cached", said[-1].startswith("train: cached"))
    saved = median(taken["plain_keras"]) / median(taken["cached"])
    record.metric("times_plain_keras", value=saved, better="higher")
    ours[f"{phase} epoch"] = median(taken["cached"])


@pytest.mark.parametrize("phase", PHASES)
def bench_exactness(phase, scale, record, tmp_path):
    """The largest difference that caching makes to a weight in two epochs."""
    images, labels = scale.decoded
    train = tl.image_arrays(images[:512], labels[:512], batch_size=scale.batch(64))
    net = {"backbone": "sample_net", "weights": "imagenet"}
    found = []
    for cache in ("off", tmp_path):
        options = {"epochs": 2, "cache": cache, "verbose": 0}
        found.append(transfer(phase, train, **net, **options).get_weights())
    largest = max(float(np.abs(a - b).max()) for a, b in zip(*found, strict=True))
    record.metric("largest_difference", value=largest, better="lower")


def bench_accuracy_over_seeds(scale, record, tmp_path):
    """Accuracy on generated images, which depends on the seed and not on the device."""
    import keras

    from tlcore.evaluation import evaluate

    tl.write_sample_splits(tmp_path, classes=CLASSES, per_class=20, size=96)
    splits = tl.load_splits(
        tmp_path, image_size=(96, 96), batch_size=32, label_mode="categorical"
    )
    for seed in range(1, 3 if scale.small else 6):
        keras.utils.set_random_seed(seed)
        model = tl.create_model("sample_net", CLASSES, input_shape=(96, 96, 3))
        tl.feature_extract(model, splits.train, learning_rate=1e-2, verbose=0)
        score = evaluate(model, splits.test)["accuracy"]
        correct = round(score.value * score.n)
        record.metric("test_accuracy", correct=correct, n=score.n, seed=seed)


def bench_input(scale, record, tmp_path):
    """The share of an epoch that waits for JPEG files, and how decoding scales."""
    from tlcore.data.images import read_checked_image

    # Too many for their pixels to be kept: they are decoded in every epoch.
    count, batch = (64, 16) if scale.small else (1024, 128)
    tl.write_sample_images(
        tmp_path, classes=CLASSES, per_class=count // CLASSES, size=scale.size
    )
    folder = tl.image_folder(
        tmp_path, image_size=scale.shape[:2], batch_size=batch, label_mode="categorical"
    )
    begin = time.perf_counter()
    for path, digest in zip(folder.paths, folder.digests, strict=True):
        read_checked_image(path, digest, folder.image_size)
    one = time.perf_counter() - begin
    begin = time.perf_counter()
    pairs = [[np.asarray(x) for x in batch] for batch in folder.dataset()]
    every = time.perf_counter() - begin
    rate = folder.num_images / every
    record.metric("decoded_images_per_second", value=rate, better="higher")
    record.metric("decoding_speedup", value=one / every, better="higher")

    images, labels = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    held = tl.image_arrays(images.astype("uint8"), labels, batch_size=batch)
    taken = {}
    for name, data in (("files", folder), ("memory", held)):
        fit = partial(transfer, "feature_extraction", data, cache="off")
        taken[name] = epochs_of(fit, 3)
        record.timing(f"epoch_of_{name}", taken[name], warmup=0)
    share = 1 - median(taken["memory"]) / median(taken["files"])
    record.metric("share_waiting_for_files", value=max(0.0, share), better="lower")


def bench_feed(scale, record, tmp_path):
    """Cached rows a second that reach Keras when nothing is computed with them."""
    import keras

    from tlcore.caching.feeds import CacheOptions, training_feed

    images, labels = scale.decoded
    keras.utils.set_random_seed(SEED)
    model = tl.create_model(
        "efficientnet_b0", CLASSES, weights=None, input_shape=scale.shape
    )
    tl.unfreeze(model, last=10)
    model.compile("adam", "categorical_crossentropy")
    train = tl.image_arrays(images, labels, batch_size=scale.batch(256))
    steps = range((scale.rounds + 1) * len(train))
    feed = training_feed(model, train, CacheOptions(cache=tmp_path), steps)
    moments = [time.perf_counter()]
    for done, _ in enumerate(feed.data.take(len(steps)), start=1):
        if done % len(train) == 0:
            moments.append(time.perf_counter())
    taken = [after - before for before, after in pairwise(moments)]
    record_rate(record, "epoch_of_rows", taken[1:], len(images))


def bench_timm(scale, record, ours):
    """EfficientNetB0 of timm in plain PyTorch, in the same run on the same device."""
    pytest.importorskip("timm")
    options = {
        "size": scale.size,
        "batch": scale.batch(256),
        "images": scale.images,
        "steps": scale.steps,
        "rounds": scale.rounds,
    }
    command = [sys.executable, str(PEER)]
    command += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    for name, seconds in theirs.items():
        record.timing(name, seconds, warmup=0)
    pairs = {
        "inference": ("inference_step", "efficientnet_b0 float32 inference"),
        "training": ("training_step", "efficientnet_b0 float32 training"),
        "inference_bfloat16": (
            "inference_step_bfloat16",
            "efficientnet_b0 mixed_bfloat16 inference",
        ),
        "training_bfloat16": (
            "training_step_bfloat16",
            "efficientnet_b0 mixed_bfloat16 training",
        ),
        "feature_extraction": ("feature_extraction_epoch", "feature_extraction epoch"),
        "last_10": ("last_10_epoch", "last_10 epoch"),
    }
    for what, (their_name, our_name) in pairs.items():
        if our_name in ours:  # not where cases were chosen, or divided among workers
            ratio = median(theirs[their_name]) / ours[our_name]
            record.metric(f"{what}_times_timm", value=ratio, better="higher")
