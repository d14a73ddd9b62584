"""Overview: everything that the `run.json` of a run says, as titled tables.

Owns what is shown of a run, in which order, and what may leave this machine: the public
overview does not reveal who ran it, or where. It prints and draws nothing; tables are
laid out by `cli` and `publishing`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tlcore.hub.handles import is_kaggle_handle
from tlcore.runs.recipes import RECIPES
from tlcore.runs.run import Run, reading

_FOLDERS = re.compile(r"[/\\]")
"""Separates the parts of a path; a run may come from a machine with Windows."""


@dataclass(frozen=True)
class Section:
    """A titled table.

    Attributes:
        title: of the table.
        rows: cells by column name; every row has the same names.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]


def overview(run: Run, *, public: bool) -> list[Section]:
    """Return the tables that describe a run; empty ones are left out.

    Args:
        run: the run.
        public: whether anyone may read them. If so, host, process, folders, error
            messages, notes on caching and the exact operating system are left out, and
            a weights file is given by its name only.

    Raises:
        ValueError: its `run.json` does not have the structure that a run writes.

    Example:
        >>> from pathlib import Path
        >>> run = Run(Path("runs/model_3/20260102-030405"), {
        ...     "recipe": {"name": "model_3"},
        ...     "status": "done",
        ...     "process": {"pid": 1, "host": "a"},
        ... })
        >>> for section in overview(run, public=True):
        ...     print(section.title, section.rows[0])
        Run {'name': 'id', 'value': 'model_3/20260102-030405'}
        Recipe {'name': 'name', 'value': 'model_3', 'changed from': ''}
    """
    with reading(run):
        document = run.document
        sections = (
            Section("Run", _named(_run(run, public=public))),
            Section("Recipe", _recipe(document)),
            Section("Data", _named(_data(document, public=public))),
            Section("Images", _images(document)),
            Section("Phases", _phases(document, public=public)),
            Section("Final figures", _final(document)),
            Section("Epochs", _epochs(document)),
            Section("Trackers", [] if public else _trackers(document)),
            Section("Versions", _named(document.get("versions", {}))),
            Section("Machine", _named(_machine(document, public=public))),
        )
        return [section for section in sections if section.rows]


def hyperparameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a run by name, without paths of its machine.

    Args:
        document: what `run.json` says.

    Example:
        >>> recipe = {"name": "model_3", "weights": "/home/ada/best.weights.h5"}
        >>> hyperparameters({"recipe": recipe, "seed": 42})
        {'recipe': 'model_3', 'weights': 'best.weights.h5', 'seed': 42}
    """
    recipe = dict(document["recipe"])
    recipe.pop("title", None)
    if "backbone" in recipe:
        recipe["backbone"] = _public_handle(str(recipe["backbone"]))
    if "weights" in recipe:
        recipe["weights"] = _last_part(recipe["weights"])
    options = ("seed", "deterministic", "early_stopping")
    return {
        "recipe": recipe.pop("name"),
        **recipe,
        **{name: document[name] for name in options if name in document},
    }


def _named(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": value}
        for name, value in values.items()
        if value not in (None, "", [], {})
    ]


def _run(run: Run, *, public: bool) -> dict[str, Any]:
    document = run.document
    process, error = document["process"], str(document.get("error", ""))
    shown = {
        "id": run.name,
        "status": run.status,
        "started": document.get("started"),
        "finished": document.get("finished"),
        # Messages of errors name paths; the type of the error does not.
        "error": error.partition(":")[0] if public else error,
        "seed": document.get("seed"),
        "deterministic": document.get("deterministic"),
        "early stopping": document.get("early_stopping"),
    }
    if "selected_epoch" in document:
        shown["selected epoch"] = document["selected_epoch"] + 1
    if not public:
        shown["process"] = f"{process['pid']} on {process['host']}"
        shown["folder"] = str(run.path)
    return shown


def _recipe(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the values of the recipe, each changed one with its original."""
    given = dict(document["recipe"])
    name = given.pop("name")
    # A recipe of another version of tlcore has no originals here.
    known = RECIPES[name].as_dict() if name in RECIPES else given
    shown = hyperparameters(document)
    rows = [{"name": "name", "value": name, "changed from": ""}]
    for key, value in given.items():
        before = known.get(key, value)
        rows.append(
            {
                "name": key,
                "value": shown.get(key, value),
                "changed from": "" if before == value else _text(before),
            }
        )
    return rows


def _text(value: Any) -> str:
    return "none" if value is None else f"{value}"


def _data(document: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    data = document.get("data", {})
    weights = document.get("weights", {})
    shared = data.get("shared_with_train", {})
    between = data.get("shared", {}).get("validation and test")
    split = data.get("split", {})
    source = weights.get("source")
    if source is not None and source == document["recipe"].get("weights"):
        source = _last_part(source)
    return {
        "folder": None if public else data.get("folder"),
        "classes": ", ".join(data.get("classes", ())),
        "images trained on": data.get("trained_on"),
        "validated on": data.get("validated_on"),
        "selected on": data.get("selected_on"),
        "divided by": _division(split) if split else None,
        "also in train": ", ".join(f"{n} of {name}" for name, n in shared.items()),
        "also in validation": None if between is None else f"{between} of test",
        "weights": source,
        "fingerprint of the weights": weights.get("fingerprint"),
    }


def _division(split: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in split["counts"].items())
    return f"{split['rule']}, seed {split['seed']}: {counts}"


def _images(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "split": name,
            "images": split["images"],
            "converted": sum(split["converted"].values()),
            "skipped": len(split["skipped"]),
            "fingerprint": split["fingerprint"],
        }
        for name, split in document.get("data", {}).get("splits", {}).items()
    ]


def _phases(document: Mapping[str, Any], *, public: bool) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase.get("name", ""),
            "from epoch": phase["first_epoch"] + 1,
            "learning rate": phase.get("learning_rate"),
            **phase["counts"],
            **({} if public else {"data": phase.get("caching", "")}),
        }
        for phase in document.get("phases", ())
    ]


def _final(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = ("value", "low", "high", "n")
    figures = dict(document.get("final", {}))
    if "ceiling" in document:  # the name of the linear probe in the format
        figures["linear probe"] = document["ceiling"]
    return [
        {
            "figure": figure,
            **{name: estimate[name] for name in names},
            "measured on": _measured_on(estimate),
        }
        for figure, estimate in figures.items()
    ]


def _measured_on(estimate: Mapping[str, Any]) -> str:
    also = [f"{n} of them in {name}" for name, n in estimate.get("also_in", {}).items()]
    return ", ".join([str(estimate.get("split", "")), *also])


def _epochs(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(_rows(document.get("history", {})))


def _rows(history: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*history.values(), strict=True):
        row = dict(zip(history, values, strict=True))
        yield {**row, "epoch": row["epoch"] + 1}


def _trackers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "tracker": entry["tracker"],
            "experiment or project": entry["group"],
            "id": entry.get("id", ""),
            "address": entry["address"],
            "all logged": entry.get("complete"),
        }
        for entry in document.get("trackers", ())
    ]


def _machine(document: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    machine = dict(document.get("machine", {}))
    if "devices" in machine:
        machine["devices"] = ", ".join(machine["devices"])
    if public and "system" in machine:
        # "Linux-6.1.0-custom-x86_64": the kernel may be named after its owner.
        machine["system"] = machine["system"].partition("-")[0]
    return machine


def _last_part(path: Any) -> str:
    return _FOLDERS.split(str(path))[-1]


def _public_handle(handle: str) -> str:
    """Return a handle without folders of this machine and without credentials."""
    if is_kaggle_handle(handle):
        return handle
    if re.match(r"(https?|gs)://", handle):
        parts = urlsplit(handle)
        # user:password@ in front of the host, and signed queries behind the path.
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()
    return _last_part(handle)
