"""Model files: what a `.keras` file says, before Keras builds anything from it.

Owns looking into the configuration that a file holds: which classes it needs and nobody
knows, whether it holds Python code, and under which precision its optimizer was saved.
Building the model is Keras's; `models.load_model` puts both together. Nothing here is
trusted: a file that cannot be read this way says nothing, and Keras refuses it.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras

from tlcore.backend.precision import precision

_CONFIG_FILE = "config.json"
_WEIGHTS_FILE = "model.weights.h5"
_MOST_CONFIG_BYTES = 2**28
_KERAS_PACKAGES = frozenset({"keras", "keras_hub", "keras_cv", "keras_nlp"})
"""The packages whose classes Keras finds by itself."""
_STORED_CODE = "__lambda__"


@dataclass(frozen=True)
class _Named:
    """A class or function that a configuration names."""

    name: str
    registered_name: str
    module: str
    is_function: bool


def read_config(path: Path) -> Any:
    """Return the configuration in a `.keras` file, or None if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_CONFIG_FILE).file_size > _MOST_CONFIG_BYTES:
                return None
            return json.loads(archive.read(_CONFIG_FILE))
    except Exception:  # noqa: BLE001 - of a damaged file; Keras says what it finds
        return None


def unknown_names(
    config: Any, custom_objects: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Return the classes and functions that Keras would not find.

    Args:
        config: as `read_config` returns it.
        custom_objects: those that are passed by name.

    Returns:
        Of each its name and its module, "" where the file does not say.

    Example:
        >>> layer = {"class_name": "Gain", "module": "shop.layers", "config": {}}
        >>> unknown_names({"layers": [layer]}, {})
        (('Gain', 'shop.layers'),)
        >>> unknown_names({"layers": [layer]}, {"Gain": object})
        ()
    """
    found: dict[tuple[str, str], None] = {}
    for one in _named(config):
        package = one.module.partition(".")[0]
        if package in _KERAS_PACKAGES or (one.is_function and _is_of_keras(one.name)):
            continue
        names = (one.registered_name, one.name)
        known = any(keras.saving.get_registered_object(name) for name in names)
        if not known and custom_objects.keys().isdisjoint(names):
            found[one.name, "" if one.is_function else one.module] = None
    return tuple(found)


def by_registered_name(
    config: Any, custom_objects: Mapping[str, Any]
) -> dict[str, Any]:
    """Return custom objects, those under a plain name by their registered one as well.

    A class that was registered as "shop>Gain" when the model was saved is looked up by
    that name only.
    """
    more = {
        one.registered_name: custom_objects[one.name]
        for one in _named(config)
        if one.name in custom_objects
    }
    return {**more, **custom_objects}


def layers_of_code(config: Any) -> tuple[str, ...]:
    """Return the names of the layers whose Python code the file holds."""
    found: dict[str, None] = {}
    for part in _parts(config):
        inner = part.get("config")
        if isinstance(inner, dict) and any(
            isinstance(value, dict) and value.get("class_name") == _STORED_CODE
            for value in inner.values()
        ):
            found[str(inner.get("name", part.get("class_name")))] = None
    return tuple(found)


def holds_class(config: Any, name: str) -> bool:
    """Return whether a configuration names a class of Keras."""
    return any(part.get("class_name") == name for part in _parts(config))


@contextmanager
def precision_of(path: Path, config: Any) -> Iterator[None]:
    """Load a model in this block under the precision that its optimizer was saved in.

    Under "mixed_float16" Keras wraps the optimizer of a model in one that scales the
    loss, by the policy that holds while the model is made. Under another policy the
    optimizer has other variables than the file, and would start anew.
    """
    if not isinstance(config, dict) or not config.get("compile_config"):
        yield
        return
    scales = _scales_the_loss(path)
    if scales == (keras.config.dtype_policy().compute_dtype == "float16"):
        yield
        return
    with precision("mixed_float16" if scales else "float32"):
        yield


def _scales_the_loss(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_WEIGHTS_FILE) as file:
            # Stored as it is, so that HDF5 reads a few kB of it only.
            whole = archive.getinfo(_WEIGHTS_FILE).compress_type != zipfile.ZIP_STORED
            source = io.BytesIO(file.read()) if whole else file
            with h5py.File(source, "r") as weights:
                return "optimizer/inner_optimizer" in weights
    except Exception:  # noqa: BLE001 - of a damaged file; Keras says what it finds
        return False


def _is_of_keras(function: str) -> bool:
    # Keras stores its own functions and foreign ones alike, by their names alone.
    named = {"class_name": "function", "config": function, "module": "builtins"}
    try:
        keras.saving.deserialize_keras_object({**named, "registered_name": "function"})
    except (TypeError, ValueError):
        return False
    return True


def _named(config: Any) -> Iterator[_Named]:
    for part in _parts(config):
        name, module = part.get("class_name"), part.get("module")
        is_function = name == "function"
        if is_function:
            name = part.get("config")
        if not isinstance(name, str) or name.startswith("__"):
            continue
        registered = part.get("registered_name")
        if "module" not in part and registered is None:
            continue  # not the form in which Keras 3 names an object
        yield _Named(
            name,
            registered if isinstance(registered, str) else name,
            module if isinstance(module, str) else "",
            is_function,
        )


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a configuration, from outside to inside."""
    waiting = [config]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict):
            yield part
            waiting[:0] = part.values()
        elif isinstance(part, list):
            waiting[:0] = part
