"""Preset networks: backbones of KerasHub, built small, with its own outputs beside."""

import sys

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.backbones import preset_network
from tlcore.backbones.preset_network import (
    IMAGE_FAMILIES,
    adapted,
    is_keras_hub_backbone,
)
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.freezing import layer_tree

keras_hub = pytest.importorskip("keras_hub")
hub = keras_hub.models
SHAPE = (32, 32, 3)
TRANSFORMER = {"num_layers": 3, "num_heads": 2, "hidden_dim": 16}
TOWER = {"patch_size": 8, "intermediate_dim": 32, "image_shape": SHAPE, **TRANSFORMER}
TEXT = {"vocabulary_size": 9, "embedding_dim": 16, "intermediate_dim": 8, **TRANSFORMER}


def metaclip():
    return hub.MetaCLIP2Backbone(
        hub.MetaCLIP2VisionEncoder(**TOWER),
        hub.MetaCLIP2TextEncoder(**TEXT),
        projection_dim=4,
    )


def first(backbone, images):
    (key,) = backbone.input if isinstance(backbone.input, dict) else (None,)
    return backbone(images if key is None else {key: images})[:, 0]


def whole(backbone, images):
    (key,) = backbone.input if isinstance(backbone.input, dict) else (None,)
    return backbone(images if key is None else {key: images})


def mean(backbone, images):
    return keras.ops.mean(backbone(images), axis=1)


VIT = {"image_shape": SHAPE, "patch_size": 8, "mlp_dim": 32, **TRANSFORMER}
CASES = {
    "vit": (lambda: hub.ViTBackbone(**VIT), first),
    "vit_without_class_token": (
        lambda: hub.ViTBackbone(**VIT, use_class_token=False),
        mean,
    ),
    "deit": (lambda: hub.DeiTBackbone(**TOWER), first),
    "dinov2": (
        lambda: hub.DINOV2Backbone(**TOWER, position_embedding_shape=(64, 64, 3)),
        first,
    ),
    "dinov3": (lambda: hub.DINOV3Backbone(**TOWER), first),
    "siglip": (
        lambda: hub.SigLIPBackbone(
            hub.SigLIPVisionEncoder(**TOWER), hub.SigLIPTextEncoder(**TEXT)
        ),
        lambda backbone, images: backbone.get_vision_embeddings(images),
    ),
    "clip": (
        lambda: hub.CLIPBackbone(
            hub.CLIPVisionEncoder(**TOWER), hub.CLIPTextEncoder(**TEXT), 4
        ),
        lambda backbone, images: backbone.vision_pooler(
            backbone.vision_encoder({"images": images})
        ),
    ),
    "metaclip_2": (
        metaclip,
        lambda backbone, images: backbone.vision_post_layer_norm(
            backbone.vision_pooler(backbone.vision_encoder({"images": images}))
        ),
    ),
    "swin": (
        lambda: hub.SwinTransformerBackbone(
            image_shape=SHAPE,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
        ),
        mean,
    ),
    "mit": (
        lambda: hub.MiTBackbone(
            layerwise_depths=[1, 1],
            num_layers=2,
            layerwise_num_heads=[1, 2],
            layerwise_sr_ratios=[2, 1],
            max_drop_path_rate=0.1,
            layerwise_patch_sizes=[7, 3],
            layerwise_strides=[4, 2],
            image_shape=SHAPE,
            hidden_dims=[8, 16],
        ),
        whole,
    ),
    "vgg": (
        lambda: hub.VGGBackbone(
            stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 8]
        ),
        whole,
    ),
    "densenet": (
        lambda: hub.DenseNetBackbone(stackwise_num_repeats=[2, 2]),
        whole,
    ),
    "hgnetv2": (
        lambda: hub.HGNetV2Backbone(
            depths=[1, 1],
            embedding_size=16,
            hidden_sizes=[16, 24],
            stem_channels=[3, 8, 16],
            hidden_act="relu",
            use_learnable_affine_block=False,
            stackwise_stage_filters=[(16, 8, 16, 1, 1, 3), (16, 8, 24, 1, 1, 3)],
            apply_downsample=[False, True],
            use_lightweight_conv_block=[False, False],
        ),
        lambda backbone, images: backbone(images)["stage2"],
    ),
}
SLOW_TO_BUILD = {"densenet", "metaclip_2", "clip", "hgnetv2"}


def built(name):
    keras.utils.set_random_seed(5)
    return CASES[name][0]()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype("float32")


def test_every_family_is_one_of_keras_hub():
    for name in IMAGE_FAMILIES:
        assert issubclass(getattr(hub, name), hub.Backbone)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.matrix if name in SLOW_TO_BUILD else ())
        for name in CASES
    ],
)
def test_features_are_those_of_keras_hub_by_the_familys_rule(name, pixels):
    backbone, expected = built(name), CASES[name][1]
    converter = keras_hub.layers.ImageConverter(
        image_size=(8, 8), scale=[0.02, 0.01, 0.03], offset=[-1.0, 0.5, -0.2]
    )
    network = adapted(backbone, input_shape=SHAPE, converter=converter)
    converter.image_size = None  # only the size is not taken over
    theirs = keras.ops.convert_to_numpy(expected(backbone, converter(pixels)))
    ours = keras.ops.convert_to_numpy(network(pixels, training=False))
    assert np.ptp(ours) > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert network.output_shape[1:] == theirs.shape[1:]
    owned = {id(v) for v in backbone.weights}
    assert {id(v) for v in network.weights} <= owned


@pytest.mark.parametrize("name", ["vit", "dinov2", "siglip"])
def test_the_last_blocks_can_be_unfrozen(name):
    model = tl.create_model(built(name), 3, input_contract="signed", input_shape=SHAPE)
    assert tl.freeze(model).counts.trainable_tensors == 2
    plan = tl.unfreeze(model, last=3)
    kinds = [layer.kind for layer in plan.unfrozen]
    assert any("LayerNormalization" in kind for kind in kinds)
    assert sum("Block" in kind or "Layer" in kind for kind in kinds) >= 2


def test_the_encoder_of_deit_is_one_layer():
    network = adapted(built("deit"), input_shape=SHAPE)
    assert [type(layer).__name__ for layer in network.layers][1:3] == [
        "DeiTEmbeddings",
        "DeiTEncoder",
    ]


@pytest.mark.parametrize("name", ["vit", "mit", "deit", "siglip"])
def test_a_model_predicts_the_same_after_it_was_saved(name, pixels, tmp_path):
    model = tl.create_model(built(name), 3, input_contract="unit", input_shape=SHAPE)
    tl.unfreeze(model, last=2)
    model.save(tmp_path / "model.keras")
    again = tl.load_model(tmp_path / "model.keras")
    outputs = [keras.ops.convert_to_numpy(x(pixels)) for x in (model, again)]
    assert np.ptp(outputs[0]) > 1e-3
    np.testing.assert_array_equal(*outputs)
    flags = [
        [x.trainable for x in layer_tree([m]) if x.weights] for m in (model, again)
    ]
    assert flags[0] == flags[1]
    assert any(flags[0])
    assert not all(flags[0])


def test_a_saved_model_needs_keras_hub_to_be_loaded(tmp_path, monkeypatch):
    model = tl.create_model(built("vit"), 3, input_contract="unit", input_shape=SHAPE)
    model.save(tmp_path / "model.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ValueError, match=r'pip install "tlcore\[keras-hub\]"'):
        tl.load_model(tmp_path / "model.keras")


def test_a_backbone_object_needs_the_range_of_its_images():
    with pytest.raises(
        ValueError,
        match=r"must be given.*Received: backbone='.*' \(ViTBackbone\) without inp",
    ):
        tl.create_model(built("vit"), 3, input_shape=SHAPE)


def test_a_fixed_size_is_kept_and_another_one_refused():
    options = {"input_contract": "unit"}
    assert tl.create_model(built("vit"), 3, **options).input_shape[1:] == SHAPE
    with pytest.raises(
        ValueError, match=r"takes, \(32, 32, 3\). Received: input_shape"
    ):
        tl.create_model(built("vit"), 3, input_shape=(48, 48, 3), **options)
    model = tl.create_model(built("vgg"), 3, input_shape=(48, 48, 3), **options)
    assert model.input_shape[1:] == (48, 48, 3)


def test_a_backbone_of_text_is_refused():
    text = hub.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        max_sequence_length=4,
    )
    with pytest.raises(
        ValueError, match="must take RGB images alone.*Received: BertBackbone, which"
    ):
        tl.create_model(text, 3, input_contract="raw", input_shape=SHAPE)


def test_a_family_of_unknown_pooling_is_refused():
    class OtherBackbone(hub.ViTBackbone):
        pass

    with pytest.raises(
        ValueError, match=r"pooling is known.*Received: OtherBackbone with output \(No"
    ):
        adapted(OtherBackbone(**VIT), input_shape=SHAPE)


def test_an_encoder_that_is_called_otherwise_is_refused(monkeypatch):
    def without_the_last(encoder, tokens, **_):
        for block in encoder.encoder_layers:
            tokens = block(tokens)
        return tokens

    openers = {"ViTEncoder": without_the_last}
    monkeypatch.setattr(preset_network, "_OPENERS", openers)
    with pytest.raises(ValueError, match=r"blocks of ViTBackbone must.*keras-hub \d"):
        adapted(built("vit"), input_shape=SHAPE)


def test_only_backbones_of_keras_hub_are_known_as_such():
    assert is_keras_hub_backbone(built("vit"))
    assert not is_keras_hub_backbone(keras.Sequential([keras.Input(SHAPE)]))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("eight")
    write_sample_images(directory, classes=3, per_class=8, size=32)
    return directory


@pytest.mark.matrix
@pytest.mark.usefixtures("deterministic_operations")
@pytest.mark.parametrize(
    "name", ["vit", "deit", "dinov2", "siglip", "swin", "mit", "vgg"]
)
@pytest.mark.parametrize("last", [0, 3])
def test_cached_training_equals_end_to_end(name, last, directory, tmp_path):
    train = image_folder(directory, image_size=32, batch_size=7)
    results = []
    for cache in ("off", tmp_path):
        said = []
        keras.utils.set_random_seed(3)
        model = tl.create_model(
            built(name), 3, input_contract="signed", input_shape=SHAPE
        )
        history = tl.fine_tune(
            model, train, last=last, epochs=2, cache=cache, say=said.append, verbose=0
        )
        results.append((model, history.history))
    (plain, first_history), (cached, second_history) = results
    assert "cached at" in said[0] or "end to end, " in said[0]
    if name == "deit" or (last == 0 and keras.backend.backend() != "tensorflow"):
        # KerasHub's encoder of DeiT cannot say how it was made.
        assert ("cached at" in said[0]) is (name != "deit"), said
    for a, b in zip(plain.variables, cached.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )
    assert first_history == second_history


@pytest.mark.matrix
@pytest.mark.tensorflow
@pytest.mark.usefixtures("deterministic_operations")
def test_batches_of_eight_are_cached_with_tensorflow(directory, tmp_path_factory):
    data = image_folder(directory, image_size=32, batch_size=8)
    results = []
    for cache in ("off", tmp_path_factory.mktemp("cache")):
        said = []
        keras.utils.set_random_seed(3)
        model = tl.create_model(
            built("vit"), 3, input_contract="signed", input_shape=SHAPE
        )
        history = tl.feature_extract(
            model, data, epochs=3, cache=cache, say=said.append, verbose=0
        )
        results.append(([v.numpy() for v in model.variables], history.history))
    assert "cached at token_pool" in said[0]
    (a, first_history), (b, second_history) = results
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)
    assert first_history == second_history
