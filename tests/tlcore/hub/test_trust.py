"""Trust: a .keras file opens no SavedModel without consent, and none that changed."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.hub import handles, trust
from tlcore.hub.layer import HubLayer
from tlcore.hub.trust import Consent, UntrustedError, consent_of, consenting

pytestmark = pytest.mark.tensorflow


@pytest.fixture(autouse=True)
def _nothing_was_opened(monkeypatch):
    monkeypatch.setattr(trust, "_OPENED", {})


@pytest.fixture
def never_resolved(monkeypatch):
    def fail(*_, **__):
        pytest.fail("it was fetched or opened")

    monkeypatch.setattr(handles, "_downloaded", fail)
    monkeypatch.setattr(handles, "_unpacked", fail)


def saved(path, folder, **changes):
    """Save a model around a SavedModel; change what its file says of the layer."""
    layer = HubLayer(folder, trust=True)
    shape = layer.input_forms[0].shape[1:]
    model = keras.Sequential([keras.Input(shape), layer, keras.layers.Dense(2)])
    model.save(path)
    if changes:
        rewrite(path, lambda config: change_layer(config, changes))
    return model


def change_layer(config, changes):
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "HubLayer":
            layer["config"].update(changes)


def rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.usefixtures("never_resolved")
@pytest.mark.parametrize(
    "handle",
    [
        "https://host/model.tar.gz",
        "http://127.0.0.1:1/model",
        "gs://bucket/model.tar.gz",
        "google/resnet-v2/tensorFlow2/50-feature-vector/2",
    ],
)
@pytest.mark.parametrize("loader", [tl.load_model, keras.saving.load_model])
def test_an_address_is_not_downloaded(small_saved_model, tmp_path, handle, loader):
    path = tmp_path / "model.keras"
    saved(path, small_saved_model, handle=handle)
    sentence = (
        f"unless you trust it.*Received: handle='{handle}', which would be downloaded"
        rf".*write tl\.load_model\(path, trust='{handle}'\)"
    )
    with pytest.raises(UntrustedError, match=sentence):
        loader(path)
    with pytest.raises(UntrustedError, match="unless you trust it"):
        tl.load_model(path, trust="https://elsewhere/model.tar.gz")


def test_with_consent_an_address_is_downloaded(
    small_saved_model, tmp_path, monkeypatch
):
    asked = []

    def download(url, *, allowed):
        asked.append((url, allowed))
        return small_saved_model

    monkeypatch.setattr(handles, "_downloaded", download)
    path, handle = tmp_path / "model.keras", "https://host/model.tar.gz"
    model = saved(path, small_saved_model, handle=handle)
    images = np.ones((1, 32, 32, 3), "float32")
    for given in (True, handle, ["a/b", handle]):
        again = tl.load_model(path, trust=given)
        np.testing.assert_array_equal(again(images), model(images))
    assert set(asked) == {(handle, True)}


def test_a_folder_needs_consent_by_any_of_its_names(
    small_saved_model, tmp_path, monkeypatch
):
    folder = shutil.copytree(small_saved_model, tmp_path / "vector")
    path = tmp_path / "model.keras"
    saved(path, folder)
    with pytest.raises(UntrustedError, match=f"Received: handle='{folder}'. If you"):
        tl.load_model(path)
    monkeypatch.chdir(tmp_path)
    for given in (True, folder, str(folder), "vector", [folder]):
        assert tl.load_model(path, trust=given).count_params() == 1_522


def test_what_its_graph_holds_is_listed_without_loading_it(writing, tmp_path):
    folder, owned = writing
    path = tmp_path / "model.keras"
    saved(path, folder)
    owned.unlink()
    trust._OPENED.clear()
    with pytest.raises(UntrustedError, match=r"whose graph holds .*WriteFile in .*If"):
        tl.load_model(path)
    assert not owned.exists()
    tl.load_model(path, trust=True)
    assert owned.exists()
    owned.unlink()


def test_another_graph_is_refused_before_anything_of_it_runs(writing, tmp_path):
    folder, owned = writing
    path, copy = tmp_path / "model.keras", tmp_path / "vector"
    shutil.copytree(folder, copy)
    saved(path, copy)
    owned.unlink()
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets/more.txt").write_text("other")
    for fingerprint in ("the one that the layer was saved with.*whose graph has",):
        with pytest.raises(UntrustedError, match=fingerprint):
            tl.load_model(path, trust=True)
    rewrite(path, lambda config: change_layer(config, {"fingerprint": None}))
    with pytest.raises(UntrustedError, match="whose graph has changed"):
        tl.load_model(path, trust=True)
    assert not owned.exists()


def test_a_layer_that_this_process_opened_can_be_copied(small_saved_model):
    layer = HubLayer(small_saved_model)
    model = keras.Sequential([keras.Input((32, 32, 3)), layer])
    copy = keras.models.clone_model(model)
    assert copy.layers[0].fingerprint == layer.fingerprint
    trust._OPENED.clear()
    with pytest.raises(UntrustedError, match="unless you trust it"):
        HubLayer.from_config(layer.get_config())


def test_what_a_copy_may_do_is_what_the_layer_may(writing):
    folder, owned = writing
    config = HubLayer(folder, trust=True).get_config()
    HubLayer.from_config(config)
    trust._OPENED[config["handle"], config["fingerprint"]] = False
    with pytest.raises(UntrustedError, match="nothing but compute"):
        HubLayer.from_config({**config, "trust": True})
    owned.unlink()


def test_without_a_download_only_what_is_here_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv(handles.CACHE_VARIABLE, str(tmp_path))
    url = "https://host/model.tar.gz"
    with pytest.raises(ValueError, match=r"must be on this machine.*url='https://host"):
        handles.resolve(url, download=False)
    assert not list(tmp_path.iterdir())


def test_a_consent_inside_another_is_taken_from_outside(small_saved_model, tmp_path):
    path = tmp_path / "model.keras"
    saved(path, small_saved_model)
    trust._OPENED.clear()
    with consenting(Consent(handles=None)):
        tl.load_model(path)
    trust._OPENED.clear()
    with consenting(Consent(frozenset())), pytest.raises(UntrustedError):
        tl.load_model(path)
    assert trust.current() is None


@pytest.mark.parametrize("given", [3, None, {"a"}, 1.5])
def test_another_kind_of_trust_is_refused(given):
    with pytest.raises(ValueError, match=r"trust must be True, or.*Received: trust="):
        consent_of(given)
