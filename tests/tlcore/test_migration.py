"""Migration table: every old line fails as quoted, and every new line works."""

import builtins
import re
import shlex
import subprocess
import sys
import tomllib
import types
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

import tlcore as tl
from tlcore.cli.main import main
from tlcore.data.sample_images import write_sample_images
from tlcore.runs.run import start_run

tf = pytest.importorskip("tensorflow")

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs/migration.md"
pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(not TABLE.exists(), reason="docs/ is not next to the tests"),
    # Keras 3.15 warns so about every dataset.
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]


@dataclass(frozen=True)
class Row:
    """A section of the page: the old code, the quoted error, the new code."""

    name: str
    before: str
    today: str
    after: str

    def old(self, **names):
        return run(self.before, names)

    def new(self, **names):
        return run(self.after, names)

    def fails(self, **names):
        """Run the old code, which must raise the error that is quoted."""
        kind, text = self.today.split(": ", 1)
        with pytest.raises(getattr(builtins, kind)) as caught:
            self.old(**names)
        assert caught.type.__name__ == kind
        assert quotes(text, str(caught.value))

    def warns(self, **names):
        """Run the old code, which must give the warning that is quoted."""
        kind, text = self.today.split(": ", 1)
        with pytest.warns(getattr(builtins, kind)) as caught:
            scope = self.old(**names)
        assert any(quotes(text, str(warning.message)) for warning in caught)
        return scope

    def says(self, start):
        """Return whether what happens today starts like this and is not an error."""
        return self.today.startswith(start)


def run(code, names):
    scope = {"keras": keras, "np": np, "tf": tf, "tl": tl, **names}
    exec(compile(code, TABLE.name, "exec"), scope)
    return scope


def plain(text):
    return " ".join(text.split())


def quotes(quoted, message):
    """Return whether a message starts as quoted; "…" stands for anything."""
    parts = [re.escape(plain(part)) for part in quoted.split("…")]
    return re.match(r"\s?.*?\s?".join(parts), plain(message)) is not None


def rows():
    sections = re.split(r"^### ", TABLE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        blocks = re.findall(r"^```\w+\n(.*?)\n```$", section, re.DOTALL | re.MULTILINE)
        yield Row(section.splitlines()[0], *blocks[:3])


ROWS = {row.name: row for row in rows()} if TABLE.exists() else {}
TESTED = []


def of(name):
    """Mark the test of a row; a row has exactly one."""
    TESTED.append(name)
    return pytest.mark.parametrize("row", [pytest.param(name, id=name)], indirect=True)


@pytest.fixture
def row(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ROWS[request.param]


def experiments_does(line, *more):
    """Run a line of `tlcore experiments` on a run of this folder."""
    recipe = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
    run = start_run("runs", "model_3", recipe, now=datetime(2026, 1, 2))
    run.write_history({"epoch": [0], "loss": [1.0]})
    run.finish("done")
    program, *arguments = shlex.split(line.replace("RUN...", run.name))
    assert program == "tlcore"
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *more])
    return ended.value.code == 0


class Tiny(tf.train.Checkpoint):
    """A SavedModel in the form TF Hub publishes: colours to four features."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.ones([3, 4]), name="kernel")
        self.variables = self.trainable_variables = [self.kernel]
        self.regularization_losses = []

    @tf.function
    def __call__(self, inputs, training=False):
        return tf.reduce_mean(inputs, [1, 2]) @ self.kernel


def save_tiny(path):
    tiny = Tiny()
    images = tf.TensorSpec([None, None, None, 3])
    for training in (False, True):
        tiny.__call__.get_concrete_function(images, training=training)
    tf.saved_model.save(tiny, str(path))
    return str(path)


@pytest.fixture(scope="module")
def handle(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("hub") / "tiny")


@contextmanager
def pkg_resources_there():
    """Let TensorFlow Hub and TensorBoard 2.18 import what setuptools 82 dropped."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources and its users are deprecated
        if find_spec("pkg_resources") is None:
            stub = types.ModuleType("pkg_resources")
            stub.parse_version = Version
            patch.setitem(sys.modules, "pkg_resources", stub)
        yield


@pytest.fixture(scope="module")
def hub():
    with pkg_resources_there():
        import tensorflow_hub
    return tensorflow_hub


@pytest.fixture
def base():
    return tl.load_backbone("sample_net", weights=None, input_shape=(96, 96, 3))


@pytest.fixture(scope="module")
def _efficientnet():
    return keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )


@pytest.fixture
def efficientnet(_efficientnet):
    """Return one network for all tests, of which all layers train."""
    _efficientnet.trainable = True
    for layer in _efficientnet.layers:
        layer.trainable = True
    return _efficientnet


@pytest.fixture
def without_download(monkeypatch):
    """Let weights="imagenet" build the same network and load nothing."""
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    with monkeypatch.context() as patch:
        patch.setattr(module.file_utils, "get_file", lambda *_, **__: "none")
        patch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
        yield


@pytest.fixture
def pretrained(without_download):
    """Return an EfficientNetB0 as ImageNet's weights have it, 238 layers."""
    return keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=(32, 32, 3)
    )


def small_model(classes=3, size=8, **compiled):
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    options = {"optimizer": "adam", "loss": "categorical_crossentropy"}
    model.compile(**{**options, "metrics": ["accuracy"], **compiled})
    return model


def small_data(count=10, classes=3):
    """Return images of noise and labels, class by class."""
    images = np.random.default_rng(1).uniform(0, 255, (count, 8, 8, 3))
    labels = np.eye(classes)[np.arange(count) * classes // count]
    return images.astype("float32"), labels.astype("float32")


@pytest.fixture
def training():
    """Return a compiled model, arrays, and a dataset of 5 batches of them."""
    images, labels = small_data()
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    return {
        "model": small_model(run_eagerly=True),  # without seconds of tracing
        "images": images,
        "labels": labels,
        "train": dataset,
        "validation": dataset,
    }


@pytest.fixture
def photos(tmp_path):
    for split, seed in (("train", 1), ("test", 2)):
        write_sample_images(
            tmp_path / "photos" / split, classes=2, per_class=4, size=32, seed=seed
        )
    return tmp_path / "photos"


@pytest.fixture
def dtype_policy_restored():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def test_every_row_has_one_test_and_every_test_a_row():
    assert sorted(TESTED) == sorted(ROWS)


def test_the_tables_lead_to_the_sections_in_order_and_quote_what_these_quote():
    lines = re.findall(r"^\| \[.*$", TABLE.read_text("utf-8"), re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert [re.search(r"\(#(.+)\)$", first)[1] for first, *_ in cells] == list(ROWS)
    for row, (_, today, instead) in zip(ROWS.values(), cells, strict=True):
        text, why = today.split("<br>")
        assert why
        assert instead
        if row.says("silently"):
            assert text.startswith("silently: ")
            continue
        assert row.says("works today") == text.startswith("works today")
        quoted = re.findall(r"`(.+?)`", text)
        assert quoted or text == "works today"
        assert all(part in plain(row.today) for part in quoted)


def test_a_quotation_holds_only_where_the_message_begins_so():
    assert quotes("named x… to\n1", "named x_7  to 1, or 2")
    assert not quotes("named x… to 1", "named y to 1")
    assert not quotes("x to 1", "named x to 1")


def test_an_old_name_of_compat_says_what_is_quoted():
    section = TABLE.read_text("utf-8").split("\n## Old names\n")[1]
    code, text = re.findall(r"^```\w+\n(.*?)\n```$", section, re.DOTALL | re.MULTILINE)
    Row("compat", code, text, "").fails()


# TF Hub


@of("hub-import")
def test_tensorflow_hub_needs_the_pkg_resources_of_older_setuptools(row, handle):
    # Its absence is simulated; TensorFlow, of which hub only asks whether it is there,
    # is an empty module here.
    program = f"""
import sys, types
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "pkg_resources":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
{row.before}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == row.today
    assert row.new(handle=handle)["layer"](np.ones((2, 8, 8, 3))).shape == (2, 4)


@of("hub-sequential")
def test_a_layer_of_tensorflow_hub_goes_into_no_sequential_model(row, hub, handle):
    row.fails(hub=hub, handle=handle)
    model = row.new(handle=handle)["model"]
    assert model(np.ones((2, 8, 8, 3), "float32")).shape == (2, 10)


@of("hub-functional")
def test_a_layer_of_tensorflow_hub_takes_no_tensor_of_keras(row, hub, handle):
    row.fails(hub=hub, handle=handle)
    scope = row.new(handle=handle)
    assert scope["features"].shape == (None, 4)
    assert scope["model"].output_shape == (None, 10)


@of("hub-address")
def test_tensorflow_hub_still_asks_tfhub_dev(row, hub, tmp_path, monkeypatch):
    asked = []

    def refuse(request, *_, **__):
        asked.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(urllib.error.URLError) as caught:
        row.old(hub=hub)
    assert row.says("silently")
    assert quotes(row.today.split("URLError: ")[1], str(caught.value))
    assert [address.split("/")[2] for address in asked] == ["tfhub.dev"]
    save_tiny("efficientnet_b0_vector")
    assert row.new()["layer"](np.ones((2, 8, 8, 3), "float32")).shape == (2, 4)


# Layers and augmentation


@of("experimental-preprocessing")
def test_preprocessing_layers_are_experimental_no_more(row):
    row.fails()
    assert row.new()["layer"](np.ones((1, 4, 4, 3))).shape == (1, 4, 4, 3)


@of("experimental-import")
def test_experimental_layers_cannot_be_imported(row):
    row.fails()
    assert row.new()["layer"](np.full((1, 1), 255.0)) == 1


@of("random-height")
def test_random_height_is_gone_and_a_zoom_of_the_height_keeps_the_shape(row):
    row.fails()
    assert row.new()["layer"](np.ones((1, 8, 8, 3)), training=True).shape[1] == 8


@of("random-width")
def test_random_width_is_gone_and_a_zoom_of_the_width_keeps_the_shape(row):
    row.fails()
    assert row.new()["layer"](np.ones((1, 8, 8, 3)), training=True).shape[2] == 8


@of("random-height-flatten")
def test_random_height_of_tf_keras_lets_no_dense_head_follow(row, base):
    row.fails()
    model = row.new(base=base)["model"]
    assert "flatten" in [layer.name for layer in model.layers]
    assert model.output_shape == (None, 10)


@of("symbolic-tensor")
def test_a_function_of_tensorflow_takes_no_tensor_of_keras(row):
    row.fails()
    assert row.new()["features"].shape == (None, 1280)


@of("batch-input-shape")
def test_a_layer_takes_no_batch_input_shape(row):
    row.fails()
    assert row.new()["model"].output_shape == (None, 10)


@of("augmentation-xla")
def test_one_random_rotation_keeps_xla_off_the_model(row, base):
    from keras.src.trainers.trainer import model_supports_jit

    assert model_supports_jit(base)
    assert row.says("silently")
    assert not model_supports_jit(row.old(base=base)["model"])
    images, labels = small_data()
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
    ((augmented, kept),) = row.new(dataset=dataset)["augmented"]
    assert augmented.shape == images.shape
    assert not np.array_equal(augmented, images)
    np.testing.assert_array_equal(kept, labels)


# Backbones and freezing


@of("training-false")
def test_keras_overwrites_training_false(row):
    images = keras.Input((96, 96, 3))
    base = keras.Model(images, keras.layers.Dropout(0.5)(images))
    ones = np.ones((2, 96, 96, 3), "float32")
    assert row.says("silently")
    seen = row.old(base=base)["model"](ones, training=True)
    overwritten = bool(np.any(np.asarray(seen) == 0))
    assert overwritten == (Version(keras.__version__) < Version("3.16.0.dev0"))
    model = row.new(base=base)["model"]
    np.testing.assert_array_equal(
        model(ones, training=True), model(ones, training=False)
    )


@of("frozen-batch-norm")
def test_statistics_of_a_frozen_batch_norm_stay(row, base):
    assert row.says("works today")
    for freeze in (row.old, row.new):
        base.trainable = True
        freeze(base=base)
        before = tl.frozen_fingerprint(base)
        model = keras.Sequential([base, keras.layers.GlobalAveragePooling2D()])
        model(np.ones((2, 96, 96, 3), "float32"), training=True)
        assert not base.trainable_variables
        assert tl.frozen_fingerprint(base) == before


@of("unfreeze-last")
def test_the_last_ten_layers_begin_within_a_block(row, efficientnet):
    assert row.says("silently")
    row.old(base=efficientnet)
    first = next(layer for layer in efficientnet.layers if layer.trainable)
    assert first.name in row.today
    before = tl.frozen_fingerprint(efficientnet)
    efficientnet(np.ones((2, 32, 32, 3), "float32"), training=True)
    assert tl.frozen_fingerprint(efficientnet) != before

    row.new(base=efficientnet)
    first = next(layer for layer in efficientnet.layers if layer.trainable)
    assert first.name == "block7a_expand_conv"
    model = tl.create_model(efficientnet, 10, input_shape=(32, 32, 3))
    tl.unfreeze(model, last=10)
    assert tl.trainable_summary(model).trainable_tensors == 12


@of("frozen-parent")
def test_layers_of_a_frozen_parent_do_not_train(row, base):
    assert row.says("silently")
    row.old(base=base)
    assert sum(len(layer.trainable_variables) for layer in base.layers) > 0
    assert not base.trainable_variables
    model = tl.create_model(base, 3)
    row.old(base=base)
    model.compile("adam", "categorical_crossentropy")
    data = [(np.ones((1, 96, 96, 3), "float32"), np.eye(1, 3, dtype="float32"))]
    with pytest.raises(ValueError, match="only if every layer around it is trainable"):
        tl.fit(model, data, epochs=1)
    plan = row.new(base=base)["plan"]
    assert len(base.trainable_variables) == plan.counts.trainable_tensors > 0


@of("trainable-after-compile")
def test_a_layer_that_is_frozen_after_compile_trains_on(row, training, monkeypatch):
    model = training["model"] = small_model()
    seen = {"old": [], "new": []}

    def moved(which, run_row):
        fit = type(model).fit

        def watched(self, *args, **kwargs):
            before = self.layers[1].get_weights()
            fit(self, *args, **kwargs, verbose=0)
            after = self.layers[1].get_weights()
            seen[which].append(not all(map(np.array_equal, before, after)))

        with monkeypatch.context() as patch:
            patch.setattr(type(model), "fit", watched)
            run_row(**training)

    assert row.says("silently")
    moved("old", row.old)
    with pytest.raises(ValueError, match="compile"):
        tl.fit(model, training["train"], epochs=1)
    moved("new", row.new)
    assert seen == {"old": [True, True], "new": [False]}


@of("double-rescaling")
def test_rescaled_images_are_rescaled_again(row, efficientnet):
    assert row.says("silently")
    white = np.full((1, 32, 32, 3), 255, "float32")
    kind = keras.layers.Rescaling
    own = next(layer for layer in efficientnet.layers if isinstance(layer, kind))
    first, network = row.old(base=efficientnet)["model"].layers
    seen = keras.Model(network.input, own.output)(first(white))
    assert float(np.max(seen)) == pytest.approx(1 / 255)
    model = row.new(base=efficientnet)["model"]
    assert not [layer for layer in model.layers if isinstance(layer, kind)]
    assert float(np.max(keras.Model(network.input, own.output)(white))) == 1


@of("grey-images")
def test_imagenet_weights_take_no_grey_images(row, tmp_path):
    row.fails()
    write_sample_images(tmp_path / "photos/train", classes=2, per_class=1, size=32)
    for path in (tmp_path / "photos/train").rglob("*.png"):
        with Image.open(path) as image:
            image.convert("L").save(path)
    scope = row.new(grey=np.ones((2, 32, 32, 1)))
    assert scope["images"].shape == (2, 32, 32, 3)
    images, _ = next(iter(scope["train"].dataset()))
    assert images.shape[-1] == 3


@of("grey-weights")
@pytest.mark.matrix
def test_weights_of_colours_do_not_fit_a_grey_network(row, efficientnet):
    efficientnet.save("efficientnet_b0.h5")
    row.fails()
    network = row.new()["base"]
    for ours, saved in zip(network.weights, efficientnet.weights, strict=True):
        np.testing.assert_array_equal(ours, saved)


@of("efficientnet-weights")
@pytest.mark.usefixtures("without_download")
def test_the_stem_of_efficientnet_takes_the_weights_of_three_channels(row):
    assert row.says("works today. Keras 3.11")
    assert row.old()["base"].get_layer("stem_conv").kernel.shape == (3, 3, 3, 32)
    requirement = Requirement(shlex.split(row.after)[-1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert requirement in map(Requirement, project["dependencies"])
    assert requirement.specifier.contains(keras.__version__, prereleases=True)
    assert not any(requirement.specifier.contains(f"3.11.{i}") for i in range(4))


@of("efficientnet-counts")
def test_efficientnet_of_keras_has_seven_numbers_more_than_that_of_hub(
    row, efficientnet
):
    assert row.says("silently")
    assert not row.old(base=efficientnet)["equal"]
    assert row.new(base=efficientnet)["equal"]
    kind = keras.layers.Normalization
    (layer,) = (layer for layer in efficientnet.layers if isinstance(layer, kind))
    assert layer.count_params() == 4_049_571 - 4_049_564


@of("efficientnet-layers")
@pytest.mark.usefixtures("without_download")
def test_imagenet_weights_move_the_layers_of_efficientnet_by_one(row, efficientnet):
    assert row.says("silently")
    assert efficientnet.layers[4].name == "stem_conv"
    scope = row.old()
    assert len(scope["base"].layers) == 238 == len(efficientnet.layers) + 1
    assert scope["stem"].name == "stem_conv_pad"
    assert scope["stem"].name in row.today
    assert row.new(base=scope["base"])["stem"].name == "stem_conv"


@of("efficientnet-save")
@pytest.mark.matrix
def test_efficientnet_of_imagenet_can_be_saved(row, pretrained):
    assert row.says("works today. TensorFlow 2.10 to 2.12")
    for save, path in ((row.old, "base.h5"), (row.new, "base.keras")):
        save(base=pretrained)
        assert Path(path).stat().st_size > 16_000_000
    with ZipFile("base.keras") as file:
        assert "2.0896" in file.read("config.json").decode()


@of("efficientnet-float16")
@pytest.mark.usefixtures("dtype_policy_restored")
def test_efficientnet_runs_in_mixed_precision(row):
    assert row.says("works today. TensorFlow 2.5")
    base = row.old()["base"]
    assert base(np.ones((1, 32, 32, 3), "float32")).dtype == "float16"
    assert row.new(base=base)["model"].output.dtype == "float32"


# Optimizers and compile


@of("adam-lr")
def test_adam_takes_no_lr(row):
    row.fails()
    assert float(row.new()["optimizer"].learning_rate) == pytest.approx(1e-3)


@of("rmsprop-lr")
def test_rmsprop_takes_no_lr(row):
    row.fails()
    assert float(row.new()["optimizer"].learning_rate) == pytest.approx(2e-5)


@of("adam-decay")
def test_decay_is_ignored_and_a_schedule_is_not(row):
    def rate(optimizer):
        optimizer.iterations.assign(10_000)
        return float(optimizer.learning_rate)

    assert rate(row.warns()["optimizer"]) == pytest.approx(1e-3)
    assert rate(row.new()["optimizer"]) == pytest.approx(5e-4)


@of("optimizers-legacy")
def test_legacy_optimizers_are_gone(row):
    row.fails()
    assert isinstance(row.new()["optimizer"], keras.optimizers.Adam)


@of("compile-positional")
def test_the_third_argument_of_compile_is_no_metric(row, training):
    row.fails(**training)
    assert "accuracy" in row.new(**training)["model"].history.history


@of("mixed-precision-experimental")
@pytest.mark.usefixtures("dtype_policy_restored")
def test_mixed_precision_is_experimental_no_more(row):
    row.fails()
    row.new()
    assert keras.config.dtype_policy().name == "mixed_float16"


# Training and callbacks


@of("fit-generator")
def test_fit_generator_is_gone(row, training):
    row.fails(**training)
    row.new(**training)
    assert training["model"].history.epoch == [0, 1]


@of("predict-classes")
def test_predict_classes_is_gone(row, training):
    row.fails(**training)
    classes = row.new(**training)["classes"]
    assert classes.shape == (10,)
    assert set(classes) <= {0, 1, 2}


@of("checkpoint-ckpt")
def test_a_checkpoint_of_weights_must_end_in_weights_h5(row):
    row.fails()
    assert row.new()["callback"].save_weights_only


@of("checkpoint-folder")
def test_a_checkpoint_is_no_folder(row):
    row.fails()
    assert row.new()["callback"].filepath.endswith(".keras")


@of("checkpoint-period")
def test_a_checkpoint_takes_no_period(row, training):
    row.fails()
    callback = row.new(**training)["callback"]
    callback.set_model(training["model"])
    saved = []
    for epoch in range(10):
        callback.on_epoch_begin(epoch)
        for batch in range(5):
            callback.on_train_batch_end(batch, {})
        callback.on_epoch_end(epoch, {})
        if Path("model.keras").exists():
            saved.append(epoch)
            Path("model.keras").unlink()
    assert saved == [4, 9]


@of("latest-checkpoint")
def test_latest_checkpoint_sees_no_checkpoint_of_keras(row, training):
    assert row.says("silently")
    Path("checkpoints").mkdir()
    training["model"].save_weights("checkpoints/00.weights.h5")
    assert row.old()["path"] is None
    path = row.new(**training)["path"]
    assert path.name == "02.weights.h5"
    training["model"].load_weights(path)


@of("monitor-val-acc")
@pytest.mark.matrix
def test_early_stopping_cannot_watch_val_acc(row, training):
    row.fails(**training)
    row.new(**training)
    assert training["model"].history.epoch == [0, 1]
    stopping = keras.callbacks.EarlyStopping(monitor="val_acc")
    with pytest.raises(ValueError, match="Did you mean 'val_accuracy'"):
        tl.fit(
            training["model"],
            training["train"],
            validation=training["validation"],
            epochs=1,
            callbacks=[stopping],
        )


@of("monitor-val-acc-mode")
@pytest.mark.matrix
def test_the_best_val_acc_is_never_saved(row, training):
    model = row.warns(**training)["model"]
    kept = keras.models.load_model("best.keras").get_weights()
    assert all(map(np.array_equal, kept, model.get_weights()))  # the last epoch's
    row.new(**training)
    assert Path("best.weights.h5").exists()


@of("history-acc")
def test_the_history_has_no_acc(row, training):
    row.fails(**training)
    assert len(row.new(**training)["accuracy"]) == 1


@of("initial-epoch")
@pytest.mark.matrix
def test_the_last_epoch_is_no_count_of_epochs(row, training):
    def epochs(scope):
        return scope["history"].epoch, scope["more"].epoch

    assert row.says("silently")
    first, more = epochs(row.old(**training))
    # History is one object per fit, and epochs count from 0.
    assert [*first, *more] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9]
    first, more = epochs(row.new(**training))
    assert [*first, *more] == list(range(10))


@of("load-weights")
def test_weights_alone_come_back_from_a_checkpoint(row, training):
    training["model"].fit(training["images"], training["labels"], verbose=0)
    training["model"].save_weights("checkpoint.weights.h5")
    steps = int(training["model"].optimizer.iterations)
    assert steps > 0
    assert int(row.warns(model=small_model())["model"].optimizer.iterations) == 0
    assert int(row.new(model=small_model())["model"].optimizer.iterations) == steps


class Steps(keras.callbacks.Callback):
    """Counts the steps of a model over several fits."""

    def __init__(self, model, monkeypatch):
        super().__init__()
        self.count = 0
        fit = model.fit

        def counted(*args, callbacks=(), **kwargs):
            return fit(*args, callbacks=[*callbacks, self], **kwargs)

        monkeypatch.setattr(model, "fit", counted)

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


@of("steps-per-epoch")
def test_a_dataset_that_ends_makes_short_epochs(row, training, monkeypatch):
    steps = Steps(training["model"], monkeypatch)
    row.warns(**training)
    assert steps.count == 9
    row.new(**training)
    assert steps.count == 9 + 10


@pytest.fixture
def constant():
    """Return a model that always predicts class 0, and data of 4 classes."""
    keras.utils.set_random_seed(1)  # of what is drawn for each epoch, too
    model = small_model(4, optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    model.layers[-1].set_weights([np.zeros((4, 4)), np.array([9, 0, 0, 0])])
    dataset = tf.data.Dataset.from_tensor_slices(small_data(16, 4))
    shuffled = dataset.shuffle(16, seed=1, reshuffle_each_iteration=True)
    return {
        "model": model,
        "train": dataset.batch(4),
        "test": dataset.batch(2),
        "shuffled": shuffled.batch(2),
    }


@of("validation-steps-unshuffled")
def test_the_first_steps_validate_the_first_classes(row, constant):
    assert row.says("silently")
    history = row.old(**constant)["history"].history
    assert history["val_accuracy"] == [1.0]
    scope = row.new(**constant)
    assert scope["history"].history["val_accuracy"] == [0.25]
    assert (scope["accuracy"].value, scope["accuracy"].n) == (0.25, 16)


@of("validation-steps-shuffled")
@pytest.mark.matrix
def test_some_steps_of_shuffled_images_validate_another_sample_each_epoch(
    row, constant
):
    assert row.says("silently")
    history = row.old(**constant)["history"].history
    assert len(set(history["val_accuracy"])) > 1
    history = row.new(**constant)["history"].history
    assert history["val_accuracy"] == [0.25] * 5


@of("selection-on-test")
def test_keras_selects_on_test_images_and_tlcore_refuses(row, photos):
    train = tl.image_folder(photos / "train", image_size=32)
    test = tl.image_folder(photos / "test", image_size=32, shuffle=False)
    names = {
        "model": small_model(2, 32, run_eagerly=True),
        "train": train,
        "test": test,
    }
    assert row.says("silently")
    stopping = row.old(**names)["stopping"]
    kept = names["model"].evaluate(test.dataset(), return_dict=True, verbose=0)
    assert kept["loss"] == pytest.approx(stopping.best)
    with pytest.raises(ValueError, match="Nothing may be selected on test data"):
        tl.fit(names["model"], train, validation=test, epochs=1, callbacks=[stopping])
    assert row.new(**names)["held_out"].num_images == 2


# Saving


@of("save-folder")
def test_a_model_is_saved_to_no_folder(row, training):
    row.fails(**training)
    training["model"].fit(training["images"], training["labels"], verbose=0)
    scope = row.new(**training)
    np.testing.assert_array_equal(
        scope["again"](training["images"]), training["model"](training["images"])
    )


@of("load-folder")
def test_a_model_is_loaded_from_no_folder(row):
    save_tiny("saved_model")
    row.fails()
    assert row.new()["layer"](np.ones((2, 8, 8, 3), "float32")).shape == (2, 4)


# Data


@of("image-data-generator")
def test_keras_has_no_image_data_generator(row, photos, base):
    row.fails()
    assert hasattr(tf.keras.preprocessing.image, "ImageDataGenerator")
    scope = row.new(base=base)
    images, labels = next(iter(scope["train"].dataset()))
    assert scope["model"](images, training=True).shape == labels.shape == (8, 1)


@of("np-utils")
def test_np_utils_is_gone(row):
    row.fails()
    np.testing.assert_array_equal(row.new()["labels"].argmax(axis=1), [0, 2, 1])


@of("keras-wrappers")
def test_the_wrappers_for_scikit_learn_have_new_names(row):
    row.fails()
    assert row.new()["SKLearnClassifier"] is keras.wrappers.SKLearnClassifier


# Tools


@pytest.fixture
def tensorboard(monkeypatch):
    """Return a function that parses a TensorBoard command and runs nothing."""
    import absl.logging

    def call(command):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        main_lib.global_init()
        board = program.TensorBoard(plugins=[CorePluginLoader()])
        board.configure(sys.argv)
        return board.flags

    monkeypatch.setattr(absl.logging, "set_verbosity", lambda _: None)
    monkeypatch.setenv("GCS_READ_CACHE_DISABLED", "1")
    with pkg_resources_there():
        from tensorboard import main_lib, program
        from tensorboard.plugins.core.core_plugin import CorePluginLoader

        yield call


def refused(row, tensorboard, capsys):
    with pytest.raises(SystemExit, match="1"):
        tensorboard(row.before)
    return row.today in capsys.readouterr().err


@of("tensorboard-dev-upload")
def test_tensorboard_uploads_nothing(row, tensorboard, capsys):
    assert refused(row, tensorboard, capsys)
    local, published = row.after.splitlines()
    assert tensorboard(local).logdir == "runs"
    assert experiments_does(published)
    assert list(Path("published").glob("*/index.html"))


@of("tensorboard-dev-list")
def test_tensorboard_lists_no_experiments(row, tensorboard, capsys):
    assert refused(row, tensorboard, capsys)
    assert experiments_does(row.after)
    assert "model_3/20260102-000000" in capsys.readouterr().out


@of("tensorboard-dev-delete")
def test_tensorboard_deletes_no_experiments(row, tensorboard, capsys):
    assert refused(row, tensorboard, capsys)
    assert experiments_does(row.after, "--yes")
    assert not list(Path("runs/model_3").iterdir())
