"""Presets of KerasHub: folders that it saved, names, downloads that fail."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.backbones.presets import list_presets, load_preset

keras_hub = pytest.importorskip("keras_hub")
hub = keras_hub.models
SHAPE = (32, 32, 3)
SCALE, OFFSET = [0.02, 0.01, 0.03], [-1.0, 0.5, -0.2]


def vit(**options):
    keras.utils.set_random_seed(5)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return hub.ViTBackbone(image_shape=SHAPE, patch_size=8, **sizes, **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a backbone and the folder of a preset that KerasHub saved of it."""
    folder = tmp_path_factory.mktemp("presets") / "my vit"
    backbone = vit()
    backbone.save_to_preset(str(folder))
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(32, 32), scale=SCALE, offset=OFFSET
    )
    converter.save_to_preset(str(folder))
    return backbone, folder


@pytest.fixture
def copied(saved, tmp_path):
    """Return a folder of its own with the files of that preset."""
    for file in saved[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype("float32")


@pytest.mark.parametrize("prefix", ["", "kerashub:"])
def test_a_folder_brings_weights_and_converter(saved, pixels, prefix):
    backbone, folder = saved
    model = tl.create_model(f"{prefix}{folder}", 3)
    assert model.input_shape == (None, *SHAPE)
    network = model.get_layer("kerashub_my_vit").network
    theirs = backbone(pixels * np.float32(SCALE) + np.float32(OFFSET))[:, 0]
    np.testing.assert_allclose(
        *(keras.ops.convert_to_numpy(x) for x in (network(pixels), theirs)),
        rtol=1e-4,
        atol=1e-5,
    )
    assert [x.name for x in model.layers] == ["image", "kerashub_my_vit", "classifier"]


def test_weights_none_are_random_ones(saved):
    backbone, folder = saved
    keras.utils.set_random_seed(6)
    network = load_preset(str(folder), pretrained=False, input_shape=SHAPE)
    assert network.count_params() == backbone.count_params()
    kernels = [keras.ops.convert_to_numpy(x.weights[0]) for x in (network, backbone)]
    assert (kernels[0] != kernels[1]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "mine.h5"}, "brings its own weights. Received: weights='mine.h5'"),
        ({"input_contract": "unit"}, "brings its own image converter.*contract='unit'"),
        ({"input_shape": (48, 48, 3)}, r"takes, \(32, 32, 3\). Received: input_shape"),
    ],
)
def test_what_contradicts_the_preset_is_refused(saved, options, message):
    with pytest.raises(ValueError, match=message):
        tl.create_model(saved[1], 3, **options)


def test_a_folder_without_a_converter_is_refused(copied):
    (copied / "image_converter.json").unlink()
    with pytest.raises(
        ValueError, match="must hold an image converter.*ViTImageConverter.*input_contr"
    ):
        tl.create_model(copied, 3)


def test_a_converter_that_does_more_is_refused(copied, monkeypatch):
    def flipped(self, inputs):
        return inputs[:, ::-1]

    kind = keras_hub.layers.ViTImageConverter
    monkeypatch.setattr(kind, "_call_python", flipped, raising=False)
    with pytest.raises(ValueError, match="only resize, scale and shift.*ViTImageConv"):
        tl.create_model(copied, 3)


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("config.json", b'{"registered_name": "keras_hub>NoBackbone"}'),
        ("model.weights.h5", b"HDF"),
        ("image_converter.json", b"{"),
    ],
)
def test_a_damaged_folder_is_refused(copied, file, data):
    (copied / file).write_bytes(data)
    with pytest.raises(
        ValueError, match="must be one that KerasHub can load. Received: preset="
    ):
        tl.create_model(copied, 3)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    text = hub.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        max_sequence_length=4,
    )
    text.save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="RGB images alone.*Received: BertBackbone"):
        tl.create_model(tmp_path, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_base_patch16_244_imagenet", "mean 'vit_base_patch16_224_imagenet'"),
        ("bert_tiny_en_uncased", "of an image backbone: ViT.*which is of another kind"),
        ("no/such/folder", "a folder that it saved. Received: preset='no/such/folder'"),
    ],
)
def test_an_unknown_name_is_refused_before_any_download(name, message):
    with pytest.raises(ValueError, match=message):
        tl.create_model(f"kerashub:{name}", 3)


def test_a_download_that_fails_names_the_way_out(monkeypatch):
    class FetchError(OSError):
        pass

    def fail(*_, **__):
        raise FetchError("no route to host")

    monkeypatch.setattr(hub.Backbone, "from_preset", fail)
    with pytest.raises(
        ConnectionError,
        match=r"'dinov2_small' must be downloaded once.*no route.*save_to_preset",
    ):
        tl.create_model("kerashub:dinov2_small", 3)


def test_dinov2_is_built_for_the_images(monkeypatch):
    asked = {}

    def note(preset, **options):
        asked.update(options)
        raise OSError("noted")

    monkeypatch.setattr(hub.Backbone, "from_preset", note)
    with pytest.raises(ConnectionError, match="noted"):
        tl.create_model("kerashub:dinov2_small", 3, input_shape=(56, 56, 3))
    assert asked == {"load_weights": True, "image_shape": (56, 56, 3)}


def test_presets_are_listed_with_family_and_parameters():
    rows = {row["name"]: row for row in list_presets()}
    row = rows["kerashub:vit_base_patch16_224_imagenet"]
    assert (row["family"], row["params"]) == ("ViT", 85_798_656)
    assert not any("bert" in name for name in rows)
    families = {row["family"] for row in rows.values()}
    assert {"DINOV2", "SigLIP", "ResNet", "SwinTransformer"} <= families
