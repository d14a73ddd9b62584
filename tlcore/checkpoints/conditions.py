"""Conditions: all that must be as it was for a training to go on as if unbroken.

Owns what is compared, under five words that a user can name: the model and how it is
trained ("recipe"), which of its weights train ("trainable"), its frozen weights
("weights"), the images ("data"), and what the bits of arithmetic depend on
("versions"); and the sentence for what differs.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tlcore.backbones.weights import fingerprint
from tlcore.checkpoints.variables import frozen_digest, trained_places
from tlcore.data.image_folder import ImageFolder
from tlcore.data.spec import DataSpec
from tlcore.determinism import arithmetic
from tlcore.freezing import child_layers, find_backbone, layer_tree

KINDS = ("recipe", "trainable", "weights", "data", "versions")

_REMEDIES = {
    "recipe": "Build, compile and fit it as it was, or start anew",
    "trainable": "Freeze and unfreeze as it was, or pass fresh_optimizer=True, which "
    "starts the optimizer anew",
    "weights": "Build the model with the weights that it had, or allow it "
    "(allow_changed='weights'), which takes those kept with the state",
    "data": "Give it the images that it had, or allow it (allow_changed='data')",
    "versions": "Install the versions that it had, or allow it "
    "(allow_changed='versions'): the figures are then not those of an unbroken "
    "training",
}
_APART = {"name", "dtype", "trainable"}
"""Of a config: names are numbered anew, the others are compared on their own."""


class Conditions:
    """What must stay as it is, to be asked for now or later.

    How the model is compiled is noted at once: callbacks change learning rates.

    Args:
        model: compiled as it is trained.
        train: the images, None where they are not known.
        validation: the same.
        fitting: the arguments of `fit` that change what is trained, None where they are
            not known.

    Attributes:
        compiled: how the model is compiled.
    """

    def __init__(
        self,
        model: keras.Model,
        train: DataSpec | None = None,
        validation: DataSpec | None = None,
        fitting: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._specs = {"train": train, "validation": validation}
        self._fitting = fitting
        self.compiled: Mapping[str, Any] = _plain(model.get_compile_config() or {})

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return them, as JSON can hold them."""
        # What "auto" means follows from the backend.
        compiled = {n: x for n, x in self.compiled.items() if n != "jit_compile"}
        optimizer = compiled.get("optimizer")
        if isinstance(optimizer, dict):
            config = {n: x for n, x in optimizer["config"].items() if n not in _APART}
            compiled["optimizer"] = {**optimizer, "config": config}
        recipe = {
            "layers": _layers(self._model),
            "compile": compiled,
            "fit": self._fitting,
        }
        specs = {name: x for name, x in self._specs.items() if x is not None}
        found: dict[str, Any] = _plain(
            {
                "recipe": recipe,
                "trainable": _ranges(trained_places(self._model)),
                "weights": frozen_digest(self._model),
                "data": {name: _data(spec) for name, spec in specs.items()},
                "versions": arithmetic(),
            }
        )
        return found


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs, by kind, in words; what is not known is passed over.

    Example:
        >>> then = {"recipe": {"fit": {"views": 2}}, "weights": "ab"}
        >>> differences(then, {"recipe": {"fit": {"views": 4}}, "weights": "ab"})
        {'recipe': 'fit.views: 2 in the state, 4 now'}
    """
    found = {}
    for kind in (kind for kind in KINDS if kind in then and kind in now):
        one, other = then[kind], now[kind]
        if kind in {"data", "recipe"}:
            one, other = _known(one, other)
        lines = list(_compare(one, other, ""))
        if lines:
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            found[kind] = f"{lines[0]}{more}"
    return found


def refuse_differences(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    where: str,
    allowed: Collection[str],
) -> dict[str, str]:
    """Refuse to go on under other conditions; return the differences that are allowed.

    Raises:
        ValueError: something differs that is not allowed.
    """
    found = differences(then, now)
    if "trainable" in found and "trainable" in allowed:
        found.pop("weights", None)  # those that are frozen are others
    refused = {kind: text for kind, text in found.items() if kind not in allowed}
    if refused:
        what = "; ".join(f"{kind}: {text}" for kind, text in refused.items())
        remedy = ". ".join(_REMEDIES[kind] for kind in refused)
        raise ValueError(
            f"A training goes on as it was. Received, for {where}: changed {what}. "
            f"{remedy}."
        )
    return found


def sha256(array: Any) -> str | None:
    """Return the sha256 of numbers, None for None."""
    if array is None:
        return None
    return hashlib.sha256(np.asarray(array, np.float64).tobytes()).hexdigest()


def _known(one: Any, other: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two mappings without what one of them does not know."""
    known = [
        name
        for name in one.keys() & other.keys()
        if one[name] is not None and other[name] is not None
    ]
    return {n: one[n] for n in known}, {n: other[n] for n in known}


def _layers(model: keras.Model) -> list[Any]:
    """Return the classes and options of all layers, those of a backbone as a digest."""
    holder, network = find_backbone(model)
    within = set() if holder is model else {id(x) for x in layer_tree([network])}
    outside: list[Any] = []
    inside: list[Any] = []
    for layer in layer_tree([model]):
        (inside if id(layer) in within else outside).append(_layer(layer))
    digest = hashlib.sha256(json.dumps(_plain(inside)).encode()).hexdigest()
    return [*outside, ["backbone", digest]]


def _layer(layer: keras.Layer) -> list[Any]:
    options: Any = {}
    if not child_layers(layer):
        try:
            config = layer.get_config()
        except (NotImplementedError, TypeError, AttributeError):
            config = {}  # a layer of the user's own that says nothing of itself
        options = {name: x for name, x in config.items() if name not in _APART}
    shapes = [list(weight.shape) for weight in layer._trainable_variables]  # noqa: SLF001
    return [type(layer).__name__, layer.dtype_policy.name, options, shapes]


def _data(spec: DataSpec) -> dict[str, Any]:
    folder = spec.folder
    if folder is not None:
        return _folder(folder)
    about = {"kind": type(spec.data).__name__, "batches": spec.batches}
    source = spec.source
    if source is None or source.is_begun:  # its first batch is gone
        return about
    # Of the epoch that is read next.
    first = [part for part in source.first() if part is not None]
    return about | {"first": fingerprint(first)}


def _folder(folder: ImageFolder) -> dict[str, Any]:
    return {
        "images": folder.num_images,
        "fingerprint": folder.fingerprint,
        "image_size": list(folder.image_size),
        "batch_size": folder.batch_size,
        "label_mode": folder.label_mode,
        "shuffle": folder.shuffle,
        "seed": folder.seed,
        "weights": sha256(getattr(folder, "weights", None)),
    }


def _ranges(places: list[int]) -> list[list[int]]:
    """Return numbers as ranges, [first, last] each: a backbone has hundreds."""
    ranges: list[list[int]] = []
    for place in places:
        if ranges and place == ranges[-1][1] + 1:
            ranges[-1][1] = place
        else:
            ranges.append([place, place])
    return ranges


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back; what JSON lacks, as its text."""
    return json.loads(json.dumps(value, default=_text, sort_keys=True))


def _text(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    # Not `repr`, which holds an address.
    return getattr(value, "__name__", type(value).__name__)


def _compare(then: Any, now: Any, at: str) -> Any:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted(then.keys() | now.keys()):
            below = f"{at}.{name}" if at else name
            yield from _compare(then.get(name), now.get(name), below)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _compare(one, other, f"{at}[{i}]")
    elif then != now:
        place = f"{at}: " if at else ""
        yield f"{place}{_short(then)} in the state, {_short(now)} now"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
