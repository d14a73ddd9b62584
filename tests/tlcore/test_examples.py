"""Examples: those in docstrings run, in a folder with generated images."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import tlcore as tl

PACKAGE = Path(tl.__file__).parent
MODULES = sorted(
    path
    for path in PACKAGE.rglob("[a-z]*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)
OF_TENSORFLOW = {
    "tlcore.backend.installed",  # its examples show the default backend
    "tlcore.backend.seam",
    "tlcore.data.dataset_orders",
    "tlcore.data.random_maps",
    "tlcore.exporting.exporting",
    "tlcore.hub.layer",
    "tlcore.hub.operations",
    "tlcore.hub.saved_models",
}
TRAINING_MORE_THAN_ONCE = {
    "tlcore.evaluation",
    "tlcore.exporting.exporting",
    "tlcore.resuming",
    "tlcore.runs.going_on",
    "tlcore.runs.runner",
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def dotted(path):
    return ".".join(("tlcore", *path.relative_to(PACKAGE).with_suffix("").parts))


def marks(name):
    of_tensorflow, long = name in OF_TENSORFLOW, name in TRAINING_MORE_THAN_ONCE
    return [pytest.mark.tensorflow] * of_tensorflow + [pytest.mark.matrix] * long


@pytest.fixture
def _beside_images(tmp_path, monkeypatch):
    """Change to a folder with `photos/train`, `validation` and `test`, 3 classes."""
    monkeypatch.chdir(tmp_path)
    tl.write_sample_splits("photos", classes=3, per_class=4, size=32)


@pytest.mark.usefixtures("_beside_images")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=dotted(path),
            marks=marks(dotted(path)),
        )
        for path in MODULES
    ],
)
def test_the_examples_of_a_module_are_right(path):
    module = importlib.import_module(dotted(path))
    failed, tried = doctest.testmod(module, extraglobs={"tl": tl}, optionflags=FLAGS)
    assert tried
    assert not failed


@pytest.mark.parametrize("name", tl.__all__)
def test_every_public_function_has_an_example(name):
    value = getattr(tl, name)
    if callable(value):
        assert ">>>" in (inspect.getdoc(value) or "")
