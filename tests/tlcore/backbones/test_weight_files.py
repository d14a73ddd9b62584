"""Weight files: names, addresses and checksums are those that Keras asks for."""

import inspect
import re
import warnings
from urllib.parse import urlparse

import keras
import pytest

from tlcore.backbones.catalogue import CATALOGUE
from tlcore.backbones.weight_files import (
    WEIGHT_FILES,
    weight_file,
    weights_kept_by_keras,
)

DEFAULT = ("vgg16", "mobilenet_v2_035")
"""Built in the default suite; building all takes two minutes of CPU."""


class AskedError(Exception):
    """What Keras asked for, instead of a download."""


def asked(name, *, top, size=224):
    """Return the name, address and checksum that Keras would download by."""
    entry = CATALOGUE[name]
    function = getattr(keras.applications, entry.constructor.partition(":")[2])
    files = inspect.getmodule(keras.utils.get_file)

    def get_file(name, url, *, cache_subdir, file_hash=None):
        assert cache_subdir == "models"
        raise AskedError(name, url, file_hash)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "get_file", get_file)
        with pytest.raises(AskedError) as raised:
            function(
                include_top=top,
                weights="imagenet",
                input_shape=(CATALOGUE[name].contract.size,) * 2 + (3,)
                if top
                else (size, size, 3),
                **entry.arguments,
            )
    keras.backend.clear_session()
    return raised.value.args


def test_every_network_of_keras_has_its_files_and_no_other():
    own = {x.name for x in CATALOGUE.values() if x.constructor.startswith("keras.")}
    assert set(WEIGHT_FILES) == own


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_checksums_are_in_the_source_of_keras(name):
    function = CATALOGUE[name].constructor.partition(":")[2]
    module = inspect.getmodule(getattr(keras.applications, function))
    source = inspect.getsource(module)
    if module.__name__.endswith(".resnet_v2"):  # its table is that of the first version
        source = inspect.getsource(inspect.getmodule(keras.applications.ResNet50))
    for file in WEIGHT_FILES[name]:
        assert urlparse(file.url).scheme == "https"
        if file.checksum is None:
            assert name.startswith(("mobilenet", "mobilenet_v2"))
            assert "file_hash" not in source
        else:
            assert f'"{file.checksum}"' in source
            assert re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", file.checksum)


def test_no_two_files_are_the_same():
    files = [file for pair in WEIGHT_FILES.values() for file in pair]
    assert len({x.name for x in files}) == len({x.url for x in files}) == len(files)


@pytest.mark.parametrize("top", [False, pytest.param(True, marks=pytest.mark.matrix)])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow)
        for name in WEIGHT_FILES
    ],
)
def test_keras_asks_for_this_file(name, top):
    file = weight_file(name, top=top)
    assert asked(name, top=top) == (file.name, file.url, file.checksum)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet", 128),
        ("mobilenet", 96),
        ("mobilenet_v2", 96),
        ("mobilenet_v2_035", 160),
        ("mobilenet_v2_035", 150),
    ],
)
@pytest.mark.matrix
def test_mobilenets_have_files_of_several_sizes(name, size):
    file = weight_file(name, input_shape=(size, size, 3))
    with warnings.catch_warnings():
        # Keras warns where it takes the file of 224 pixels.
        warnings.simplefilter("ignore")
        assert asked(name, top=False, size=size) == (file.name, file.url, None)


def test_the_algorithm_is_known_by_the_length():
    assert weight_file("vgg16").algorithm == "md5"
    assert weight_file("convnext_tiny").algorithm == "sha256"
    assert weight_file("mobilenet").algorithm is None


def test_the_folder_is_that_of_keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights_kept_by_keras() == tmp_path / "models"
