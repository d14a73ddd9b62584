"""Models: what create_model builds, and what load_model reads."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from tlcore.augmentation import create_augmentation
from tlcore.backbones.loading import load_backbone
from tlcore.freezing import frozen_fingerprint, trainable_summary
from tlcore.models import create_model, is_multi_label, load_model

SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype("float32")


def network(output="maps", name="own", shape=SHAPE):
    layers = [keras.Input(shape), keras.layers.Conv2D(4, 3, name="conv")]
    if output == "vector":
        layers.append(keras.layers.GlobalAveragePooling2D())
    return keras.Sequential(layers, name=name)


@pytest.mark.parametrize("style", ["functional", "sequential"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["own", "pool", "classifier"]),
        ({"dropout": 0.2}, ["own", "pool", "dropout", "classifier"]),
        ({"head": "dense"}, ["own", "flatten", "hidden", "classifier"]),
        (
            {"augmentation": "tutorial"},
            ["augmentation", "own", "pool", "classifier"],
        ),
    ],
)
def test_a_model_is_made_of_these_layers(style, options, expected):
    model = create_model(network(), 3, style=style, input_shape=SHAPE, **options)
    names = [x.name for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    assert names == expected
    assert model.input_shape == (None, *SHAPE)
    assert model.output_shape == (None, 3)
    is_sequential = isinstance(model, keras.Sequential)
    assert is_sequential == (style == "sequential")


@pytest.mark.parametrize("head", ["pool", "dense"])
def test_both_styles_compute_the_same(head):
    own = network()
    models = [
        create_model(own, 3, head=head, style=style, input_shape=SHAPE)
        for style in ("functional", "sequential")
    ]
    models[1].set_weights(models[0].get_weights())
    np.testing.assert_array_equal(
        *(model.predict(IMAGES, verbose=0) for model in models)
    )


def test_a_feature_vector_is_not_pooled_again():
    model = create_model(network("vector"), 3, input_shape=SHAPE)
    assert [x.name for x in model.layers[1:]] == ["own", "classifier"]


@pytest.mark.parametrize(
    ("num_classes", "activation"), [(1, "sigmoid"), (2, "softmax"), (10, "softmax")]
)
def test_the_last_layer_gives_probabilities(num_classes, activation):
    model = create_model(network(), num_classes, input_shape=SHAPE)
    assert model.layers[-1].activation.__name__ == activation
    outputs = model.predict(IMAGES, verbose=0)
    assert outputs.shape == (4, num_classes)
    assert np.all((outputs >= 0) & (outputs <= 1))


def test_the_backbone_is_frozen_and_the_head_is_not():
    counts = trainable_summary(create_model(network(), 3, input_shape=SHAPE))
    assert (counts.trainable_tensors, counts.non_trainable_tensors) == (2, 2)


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2_035",
        pytest.param("vgg16", marks=pytest.mark.matrix),
        pytest.param("efficientnet_b0", marks=pytest.mark.matrix),
    ],
)
def test_images_enter_as_0_to_255_and_meet_the_input_contract(name):
    preprocess = {
        "mobilenet_v2_035": keras.applications.mobilenet_v2.preprocess_input,
        "vgg16": keras.applications.vgg16.preprocess_input,
        "efficientnet_b0": lambda images: images,
    }[name]
    model = create_model(name, 3, weights=None, input_shape=SHAPE)
    bare = model.get_layer(name).network
    features = keras.Model(model.input, model.get_layer(name).output)
    np.testing.assert_allclose(
        features(IMAGES),  # not `predict`: tracing takes seconds
        bare(preprocess(IMAGES.copy()), training=False),
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_network_of_the_catalogue_keeps_its_contract_when_handed_over():
    bare = load_backbone("mobilenet_v2_035", weights=None, input_shape=SHAPE)
    model = create_model(bare, 3, input_shape=SHAPE)
    assert model.get_layer("input_contract").scale == 1 / 127.5


def test_a_network_of_ones_own_brings_its_image_shape():
    assert create_model(network(), 3).input_shape == (None, *SHAPE)


def test_a_network_without_a_fixed_size_takes_the_given_one():
    own = network(shape=(None, None, 3))
    assert create_model(own, 3, input_shape=(48, 64, 3)).input_shape == (
        None,
        48,
        64,
        3,
    )


def test_augmentation_acts_in_training_only():
    model = create_model(network(), 3, input_shape=SHAPE, augmentation="photometric")
    augmentation = model.get_layer("augmentation")
    np.testing.assert_array_equal(augmentation(IMAGES, training=False), IMAGES)
    changed = np.asarray(augmentation(IMAGES, training=True)) - IMAGES
    assert np.abs(changed).max() > 1


def test_a_seed_is_drawn_from_in_the_order_of_the_model():
    # Otherwise the figures of a seed would change with the order of construction.
    def seeds(stack):
        return [np.asarray(layer.generator.state).tolist() for layer in stack.layers]

    keras.utils.set_random_seed(7)
    first = seeds(create_augmentation("tutorial"))
    keras.utils.set_random_seed(7)
    model = create_model(
        "sample_net", 3, weights=None, input_shape=SHAPE, augmentation="tutorial"
    )
    assert seeds(model.get_layer("augmentation")) == first
    keras.utils.set_random_seed(8)
    assert seeds(create_augmentation("tutorial")) != first


def test_a_layer_of_ones_own_can_augment():
    layer = keras.layers.RandomFlip(name="mirror")
    model = create_model(network(), 3, input_shape=SHAPE, augmentation=layer)
    # Within a stack that tells it to act in training only.
    assert model.layers[1].layers == [layer]


@keras.saving.register_keras_serializable(package="test_models")
class Noise(keras.layers.Layer):
    """A layer of one's own that is on unless it is told otherwise."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, images, training=True):
        if not training:
            return images
        noise = keras.random.normal(keras.ops.shape(images), seed=self.seeds)
        return images + 50 * noise


@keras.saving.register_keras_serializable(package="test_models")
class AlwaysNoise(Noise):
    def call(self, images):
        return super().call(images, training=True)


STACKS = {
    "tutorial": lambda: "tutorial",
    "generator": lambda: "generator",
    "layer": lambda: keras.layers.RandomRotation(0.3),
    "stack": lambda: keras.Sequential(
        [keras.layers.RandomFlip(), keras.layers.RandomZoom(0.3)]
    ),
    "own": Noise,
}
PICTURES = np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)).astype("float32")


def stacks(*first):
    """Return all stacks, those that are not among the first ones for the matrix."""
    others = [name for name in STACKS if name not in first]
    return [*first, *(pytest.param(s, marks=pytest.mark.matrix) for s in others)]


numbers = keras.ops.convert_to_numpy


def augmented(stack, **options):
    keras.utils.set_random_seed(2)
    return create_model(
        "sample_net", 3, input_shape=SHAPE, augmentation=STACKS[stack](), **options
    )


@pytest.mark.parametrize("stack", stacks("tutorial", "own"))
def test_augmentation_acts_in_training_only_whatever_is_left_out(stack):
    model = augmented(stack)
    predicted = model.predict(PICTURES, verbose=0)
    for images in (PICTURES, keras.ops.convert_to_tensor(PICTURES)):
        bare = [numbers(model(images)) for _ in range(2)]
        np.testing.assert_array_equal(*bare)
        np.testing.assert_allclose(bare[0], predicted, atol=1e-6)
    trained = [numbers(model(PICTURES, training=True)) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-4

    around = keras.Sequential([keras.Input(SHAPE), model])
    np.testing.assert_allclose(numbers(around(PICTURES)), predicted, atol=1e-6)


@pytest.mark.parametrize("stack", stacks("own"))
def test_what_is_saved_and_loaded_is_what_predicts(tmp_path, stack):
    model = augmented(stack, style="sequential" if stack == "own" else "functional")
    predicted = model.predict(PICTURES, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numbers(loaded(PICTURES)), predicted, atol=1e-6)


@pytest.mark.matrix
@pytest.mark.tensorflow
@pytest.mark.parametrize("stack", stacks("own"))
@pytest.mark.filterwarnings(
    r"ignore:\s*Warning. (tf.lite.Interpreter|Please use the LiteRT):UserWarning"
)
def test_what_is_exported_is_what_predicts(tmp_path, stack):
    import tensorflow as tf

    model = augmented(stack, style="sequential" if stack == "own" else "functional")
    predicted = model.predict(PICTURES, verbose=0)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for _ in range(2):
        np.testing.assert_allclose(served.serve(PICTURES), predicted, atol=1e-6)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "served"))
    lite = tf.lite.Interpreter(model_content=converter.convert())
    lite.resize_tensor_input(lite.get_input_details()[0]["index"], PICTURES.shape)
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], PICTURES)
    lite.invoke()
    answer = lite.get_tensor(lite.get_output_details()[0]["index"])
    np.testing.assert_allclose(answer, predicted, atol=1e-5)


def test_a_layer_that_is_random_whatever_it_is_told_is_refused():
    message = r"training only.*augmentation='always'.*def call\(self, images, train"
    stack = keras.Sequential([AlwaysNoise()], name="always")
    for layer in (AlwaysNoise(name="always"), stack):
        with pytest.raises(ValueError, match=message):
            create_model("sample_net", 3, input_shape=SHAPE, augmentation=layer)


def test_a_multi_label_head_has_a_sigmoid_for_each_class():
    model = create_model("sample_net", 3, input_shape=SHAPE, multi_label=True)
    assert model.get_layer("classifier").activation is keras.activations.sigmoid
    assert is_multi_label(model)
    plain = create_model("sample_net", 3, input_shape=SHAPE)
    assert not is_multi_label(plain)
    plain.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert is_multi_label(plain)
    assert not is_multi_label(create_model("sample_net", 1, input_shape=SHAPE))
    with pytest.raises(ValueError, match="num_classes must be .* at least 2, the cl"):
        create_model("sample_net", 1, input_shape=SHAPE, multi_label=True)


def test_mixed_precision_keeps_pixels_and_probabilities_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = create_model(
            "sample_net", 3, weights=None, input_shape=SHAPE, augmentation="tutorial"
        )
    finally:
        keras.config.set_dtype_policy("float32")
    dtypes = {x.name: x.compute_dtype for x in model.layers[1:]}
    assert dtypes["classifier"] == "float32"
    assert dtypes["input_contract"] == "float32"
    assert dtypes["pool"] == "bfloat16"
    layers = model.get_layer("augmentation").layers
    assert {x.compute_dtype for x in layers} == {"float32"}
    assert keras.backend.standardize_dtype(model(IMAGES).dtype) == "float32"


@pytest.mark.matrix
def test_a_saved_model_is_loaded_where_nothing_else_was_imported(tmp_path):
    model = create_model(network(), 3, input_shape=SHAPE, augmentation="generator")
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, tlcore as tl; model = tl.load_model(sys.argv[1]); "
        "print(tl.frozen_fingerprint(model))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == frozen_fingerprint(model)


@pytest.mark.parametrize("content", [b"", b"PK no zip"])
def test_a_damaged_model_is_refused(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a whole \.keras file. Received: .*Save"):
        load_model(path)


def test_a_model_that_misses_a_part_is_refused(tmp_path):
    whole, part = tmp_path / "model.keras", tmp_path / "part.keras"
    create_model(network(), 3, input_shape=SHAPE).save(whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(part, "w") as copy:
        copy.writestr("config.json", archive.read("config.json"))
    with pytest.raises(ValueError, match=r"Received: path='.*part\.keras', which"):
        load_model(part)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("scheme", "low", "high"), [("raw", 0, 255), ("signed", -1, 1), ("unit", 0, 1)]
)
def test_a_network_of_ones_own_is_given_the_contract_it_asks_for(scheme, low, high):
    inputs = keras.Input(SHAPE)
    own = keras.Model(inputs, keras.layers.ReLU(negative_slope=1.0)(inputs))
    model = create_model(own, 3, input_shape=SHAPE, input_contract=scheme)
    seen = keras.Model(model.input, model.get_layer(own.name).output)
    extremes = np.zeros((1, *SHAPE), "float32")
    extremes[0, 0] = 255
    out = seen.predict(extremes, verbose=0)
    assert (out.min(), out.max()) == pytest.approx((low, high))


@pytest.mark.parametrize(
    "style", [pytest.param("functional", marks=pytest.mark.matrix), "sequential"]
)
def test_a_model_survives_saving(tmp_path, style):
    model = create_model(
        "sample_net",
        3,
        weights=None,
        input_shape=SHAPE,
        augmentation="generator",
        style=style,
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert trainable_summary(again) == trainable_summary(model)
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg61", 3), "must be one of the catalogue"),
        ((42, 3), "a HubLayer or a keras.Model. Received: backbone=42"),
        (("my/model", 3), "brings its own weights. Received: weights=None"),
        (("vgg16", 0), r"at least 1 \(binary\). Received: num_classes=0"),
        (("vgg16", 2.5), "must be a whole number"),
        (("vgg16", True), "must be a whole number"),
    ],
)
def test_a_wrong_backbone_or_number_of_classes_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model(*arguments, weights=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "pol"}, r"pool, dense. Received: head='pol'. Did you mean 'pool'\?"),
        ({"style": "subclassed"}, "style must be one of: functional, sequential"),
        ({"augmentation": "tutorials"}, "tutorial, photometric, generator. Received"),
        ({"augmentation": 5}, "a keras layer or one of.* Received: augmentation=5"),
        ({"dropout": "0.2"}, "Received: dropout='0.2'"),
        ({"input_shape": (32, 32)}, r"Received: input_shape=\(32, 32\)"),
        ({"input_shape": 32}, "Received: input_shape=32"),
        ({"input_contract": "bgr"}, "raw, signed, unit, caffe, torch. Received"),
        ({"dropout": 1.0}, r"a rate in \[0, 1\). Received: dropout=1.0"),
        ({"dropout": float("nan")}, r"a rate in \[0, 1\)"),
        ({"input_shape": (64, 64, 3)}, r"shape that 'own' takes, \(32, 32, 3\)"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        create_model(network(), 3, **{"input_shape": SHAPE, **options})


def test_a_backbone_that_takes_no_images_is_refused():
    text = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)], name="text")
    with pytest.raises(ValueError, match="must take images"):
        create_model(text, 3)


def test_a_backbone_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="is built. Received: backbone='shapeless'"):
        create_model(keras.Sequential([keras.layers.Dense(2)], name="shapeless"), 3)


def test_a_contract_for_a_name_of_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="brings its own input contract. Received"):
        create_model("vgg16", 3, weights=None, input_contract="unit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": 3}, "weights=3, and there is no such file"),
        ({"weights": None, "input_shape": 224}, "Received: input_shape=224"),
    ],
)
def test_a_backbone_by_name_needs_weights_and_shape_of_the_right_kind(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_model("vgg16", 3, **options)
