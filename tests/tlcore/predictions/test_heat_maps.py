"""Heat maps: against networks whose answer is known, and by finite differences."""

import keras
import numpy as np
import pytest
from PIL import Image

import tlcore as tl
from tlcore.predictions import heat_maps
from tlcore.predictions.heat_maps import overlay


def colour_network():
    """Return a network whose three channels are the red, green and blue of a place."""
    inputs = keras.Input((16, 16, 3))
    pooled = keras.layers.AveragePooling2D(2, name="pool")(inputs)
    same = keras.layers.Conv2D(3, 1, use_bias=False, name="same")(pooled)
    return keras.Model(inputs, same, name="colours")


def colour_model(classes=3, **options):
    """Return a classifier of the colour that an image has most of."""
    model = tl.create_model(
        colour_network(),
        classes,
        input_shape=(16, 16, 3),
        **options,
    )
    model.get_layer("colours").network.get_layer("same").set_weights(
        [np.eye(3, dtype="float32")[None, None]]
    )
    dense = model.layers[-1]
    dense.set_weights([np.eye(3, dtype="float32")[:, :classes], np.zeros(classes)])
    return model


@pytest.fixture
def spots():
    """Return an image with a red spot at the upper left and a blue one at the right."""
    image = np.zeros((1, 16, 16, 3), np.float32)
    image[0, 2:6, 2:6, 0] = 200
    image[0, 8:12, 10:14, 2] = 100
    return image


@pytest.mark.parametrize("style", ["functional", "sequential"])
def test_a_class_is_where_its_colour_is(spots, style):
    model = colour_model(style=style)
    red, green, blue = (tl.heat_map(model, spots, classes=i)[0] for i in range(3))
    assert red.shape == (16, 16)
    assert red[3:5, 3:5].min() == 1
    assert red[8:, 8:].max() == 0
    assert green.max() == 0
    assert blue[9:11, 11:13].min() == 1
    assert blue[:7, :7].max() == 0


def test_by_default_the_predicted_class_is_explained(spots):
    model = colour_model()
    np.testing.assert_array_equal(
        tl.heat_map(model, spots), tl.heat_map(model, spots, classes=0)
    )


def test_with_pooling_and_one_layer_it_is_the_class_activation_map():
    """Zhou et al. (2016): there both are the features weighed by the kernel."""
    keras.utils.set_random_seed(1)
    model = tl.create_model("sample_net", 3, input_shape=(64, 64, 3))
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    holder = model.get_layer("sample_net")
    until = keras.Model(model.inputs[0], holder.output)
    features = keras.ops.convert_to_numpy(until(images))
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    for c in range(3):
        expected = np.maximum(features @ kernel[:, c], 0)
        highest = expected.max(axis=(1, 2), keepdims=True)
        expected /= np.where(highest > 0, highest, 1)
        halves = heat_maps._halves(model, None)
        found = heat_maps._maps(halves, images, np.full(3, c), 0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def smooth_network():
    """Return a network without a ReLU, whose kinks finite differences would cross."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="tanh", name="first"),
            layers.Conv2D(8, 3, strides=2, activation="tanh", name="second"),
        ],
        name="smooth",
    )


def test_within_the_backbone_it_is_the_gradient_by_finite_differences():
    keras.utils.set_random_seed(2)
    model = tl.create_model(smooth_network(), 3, input_shape=(16, 16, 3))
    images = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype("float32")
    halves = heat_maps._halves(model, "first")
    features = keras.ops.convert_to_numpy(halves.before(images)).astype("float64")
    slopes = np.zeros(features.shape[-1])
    for channel in range(len(slopes)):
        up, down = features.copy(), features.copy()
        up[..., channel] += 1e-2
        down[..., channel] -= 1e-2
        scores = [
            float(keras.ops.convert_to_numpy(halves.after(x.astype("float32")))[0, 1])
            for x in (up, down)
        ]
        slopes[channel] = (scores[0] - scores[1]) / 2e-2
    expected = np.maximum((features * slopes).sum(axis=-1), 0)
    expected /= expected.max()
    found = heat_maps._maps(halves, images, np.array([1]), 0)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_one_sigmoid_speaks_for_either_class(spots):
    model = colour_model(1)
    yes, no = (tl.heat_map(model, spots, classes=i)[0] for i in (1, 0))
    assert yes[3:5, 3:5].min() == 1
    assert no.max() == 0


def test_nothing_of_the_model_changes(spots):
    model = colour_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.get_weights()]
    names = [layer.name for layer in model.layers]
    tl.heat_map(model, spots, layer="pool")
    assert names == [layer.name for layer in model.layers]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_of_another_origin_has_a_map_as_well(spots):
    inputs = keras.Input((16, 16, 3))
    places = keras.layers.AveragePooling2D(2)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(places)
    scores = keras.layers.Dense(2)(pooled)
    for end in (keras.layers.Softmax(), keras.layers.Activation("softmax")):
        model = keras.Model(inputs, end(scores))
        model.layers[-2].set_weights([np.eye(3, 2), np.zeros(2)])
        assert tl.heat_map(model, spots, classes=0)[0, 3:5, 3:5].min() == 1


def test_more_images_than_a_batch_are_all_there(spots, monkeypatch):
    monkeypatch.setattr(heat_maps, "_BATCH_IMAGES", 2)
    images = np.concatenate([spots, spots[:, ::-1], spots])
    found = tl.heat_map(colour_model(), images, classes=[0, 0, 2])
    assert found[1, 11:13, 3:5].min() == 1
    assert found[2, 9:11, 11:13].min() == 1


def test_files_are_read_as_in_training(spots, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(spots[0].astype("uint8")).save(path)
    model = colour_model()
    np.testing.assert_array_equal(tl.heat_map(model, [path]), tl.heat_map(model, spots))


def around():
    inputs = keras.Input((16, 16, 3))
    inner = keras.layers.Conv2D(3, 1, name="inner")(inputs)
    return keras.Model(inputs, keras.layers.Add()([inner, inputs]), name="around")


@pytest.mark.parametrize(
    ("network", "layer", "images", "message"),
    [
        (colour_network, "smae", (1, 16, 16, 3), r"layer of colours.*Did you mean"),
        (
            around,
            "inner",
            (1, 16, 16, 3),
            r"all of the model goes.*whole block",
        ),
        (colour_network, None, (16, 16, 3), r"shape \(16, 16, 3\).*images\[None\]"),
        (colour_network, None, (0, 16, 16, 3), r"shape \(0, 16, 16, 3\)"),
    ],
)
def test_what_has_no_map_is_refused(network, layer, images, message):
    model = tl.create_model(network(), 3, input_shape=(16, 16, 3))
    with pytest.raises(ValueError, match=message):
        tl.heat_map(model, np.zeros(images, np.float32), layer=layer)


@pytest.mark.parametrize("classes", [3, -1, 0.5, [0, 1]])
def test_a_class_that_is_not_there_is_refused(spots, classes):
    with pytest.raises(ValueError, match=r"index from 0 to 2.*Received: classes="):
        tl.heat_map(colour_model(), spots, classes=classes)


def test_feature_vectors_have_no_places(spots):
    inputs = keras.Input((16, 16, 3))
    vector = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(vector))
    found = tl.heat_map(model, spots, classes=0)  # the images themselves have places
    assert found.shape == (1, 16, 16)
    with pytest.raises(ValueError, match=r"outputs with places.*\(None, 3\)"):
        tl.heat_map(model, spots, layer=model.layers[2].name)


def test_an_overlay_has_the_size_of_the_image():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    drawn = np.asarray(overlay(np.zeros((40, 60, 3)), heat), int)
    assert drawn.shape == (40, 60, 3)
    assert drawn[0, 0].sum() > drawn[-1, -1].sum() + 100
