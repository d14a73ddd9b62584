"""What the tests share: their own caches, modes of Keras, small models and images."""

import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tlcore.caching.store import FOLDER_VARIABLE
from tlcore.data import archive_cache
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.hub import handles
from tlcore.runs.run import start_run

from .scripted import Scripted


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("features")))
        patch.setenv(handles.CACHE_VARIABLE, str(tmp_path_factory.mktemp("hub")))
        patch.setenv(
            archive_cache.FOLDER_VARIABLE, str(tmp_path_factory.mktemp("data"))
        )
        yield


@pytest.fixture
def deterministic_operations():
    import keras

    from tlcore.determinism import make_deterministic

    make_deterministic()
    yield
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import config

        config.disable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(False)


@pytest.fixture
def mixed_float16():
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def five_layers():
    """Return a network of five layers on 32 pixels, two of them convolutions."""
    import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="first"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.3, name="drop"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
        ],
        name="tiny",
    )


@pytest.fixture(scope="session")
def scripted():
    """Return the class of trackers that follow a script."""
    return Scripted


@pytest.fixture(scope="session")
def tiny_network():
    """Return the function that builds a network of five layers, named "tiny"."""
    return five_layers


@pytest.fixture(scope="session")
def tiny():
    """Return the function that puts a head on that network."""
    from tlcore.models import create_model  # late: it loads TensorFlow

    def build(num_classes=3, **options):
        return create_model(
            five_layers(), num_classes, input_shape=(32, 32, 3), **options
        )

    return build


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Return a folder with 18 images of three classes in `train` and in `test`."""
    directory = tmp_path_factory.mktemp("images")
    for name in ("train", "test"):
        write_sample_images(
            directory / name, classes=3, per_class=6, size=32, seed=len(name)
        )
    return directory


@pytest.fixture(scope="session")
def train(images):
    """Return the training images, in five batches."""
    return image_folder(images / "train", image_size=32, batch_size=4)


@pytest.fixture(scope="session")
def held_out(images):
    """Return half of the training images, in one batch."""
    return image_folder(images / "train", image_size=32).split_off(50)[1]


class Batched(list):
    """Batches in memory, with what the tests use of `tf.data`."""

    def map(self, function):
        return Batched(function(*batch) for batch in self)

    def take(self, count):
        return Batched(self[:count])


@pytest.fixture(scope="session")
def noise():
    """Return the function that gives batches of noise with one-hot labels.

    They are a `tf.data.Dataset` with TensorFlow, else in memory.
    """
    import keras

    def build(batches=3):
        rng = np.random.default_rng(0)
        pixels = rng.uniform(0, 255, (4 * batches, 32, 32, 3)).astype("float32")
        labels = np.eye(3, dtype="float32")[rng.integers(0, 3, 4 * batches)]
        if keras.backend.backend() != "tensorflow":
            parts = range(0, 4 * batches, 4)
            return Batched((pixels[i : i + 4], labels[i : i + 4]) for i in parts)
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(4)

    return build


def export_reusable(folder, network, *, modes=(False, True), penalty=0.0):
    """Save a network in TF Hub's reusable form, as publishers do.

    Args:
        folder: where to save it.
        network: a functional model.
        modes: the values of `training` it can be called with later.
        penalty: factor of a regularization loss, the squares of its first variable.
    """
    tf = pytest.importorskip("tensorflow")

    class Reusable(tf.train.Checkpoint):
        @tf.function
        def __call__(self, inputs, training=False):
            return network(inputs, training=training)

    module = Reusable()
    module.variables = [v.value for v in network.weights]
    module.trainable_variables = [v.value for v in network.trainable_weights]
    module.states = [v.value for v in network.variables]  # of Dropout, too
    spec = tf.TensorSpec(network.inputs[0].shape, network.inputs[0].dtype)

    @tf.function(input_signature=())
    def loss():
        return penalty * tf.reduce_sum(tf.square(module.variables[0]))

    module.regularization_losses = [loss] if penalty else []
    for mode in modes:
        module.__call__.get_concrete_function(spec, training=mode)

    @tf.function(input_signature=[spec])
    def serve(inputs):
        features = network(inputs, training=False)
        return {"features": features, "doubled": 2 * features}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def small_network():
    """Return a network with BatchNorm and Dropout on 32 pixels, with random weights."""
    import keras

    keras.utils.set_random_seed(7)
    inputs = keras.Input((32, 32, 3))
    features = inputs
    for filters in (8, 16):
        features = keras.layers.Conv2D(filters, 3, strides=2, name=f"conv_{filters}")(
            features
        )
        features = keras.layers.BatchNormalization(momentum=0.5)(features)
        features = keras.layers.ReLU()(features)
        features = keras.layers.Dropout(0.3, seed=1)(features)
    outputs = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, outputs, name="small")


@pytest.fixture(scope="session")
def export():
    """Return the function that saves a network in TF Hub's reusable form."""
    return export_reusable


@pytest.fixture(scope="session")
def text_saved_model(tmp_path_factory):
    """Return the folder of a SavedModel that returns the length of each string."""
    tf = pytest.importorskip("tensorflow")

    class Text(tf.train.Checkpoint):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, inputs):
            return tf.cast(tf.strings.length(inputs), tf.float32)[:, None]

    folder = tmp_path_factory.mktemp("saved") / "text"
    tf.saved_model.save(Text(), str(folder))
    return folder


@pytest.fixture(scope="session")
def small_saved_model(tmp_path_factory):
    """Return the folder of a SavedModel of 1,488 parameters on 32 pixels."""
    folder = tmp_path_factory.mktemp("saved") / "small"
    return export_reusable(folder, small_network(), penalty=0.01)


@pytest.fixture(scope="session")
def ended():
    """Return a function that writes a finished run and returns its folder."""
    recipe = {"recipe": {"name": "model_3", "backbone": "sample_net"}}

    def write(out):
        run = start_run(out, "model_3", recipe, now=datetime(2026, 1, 2, 3, 4, 5))
        run.write_history({"epoch": [0, 1], "loss": [2.0, 1.0]})
        run.finish("done")
        return run.path

    return write


class Server:
    """A server of archives on the loopback interface that records all requests."""

    def __init__(self):
        self.answers, self.asked = {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                path = self.path.partition("?")[0]
                if path not in server.answers:
                    self.send_error(404)
                    return
                data, announced, seconds = server.answers[path]
                time.sleep(seconds)
                self.send_response(200)
                if announced is not None:
                    self.send_header("Content-Length", str(announced))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # server_close waits for them
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def serve(self, path, data, *, announced=-1, seconds=0):
        size = len(data) if announced == -1 else announced
        self.answers[path] = data, size, seconds
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def stop(self):
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    yield running
    running.stop()
