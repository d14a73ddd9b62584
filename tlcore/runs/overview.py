"""The overview of one run: all that its `run.json` tells, as titled tables.

Owns what is told of a run, in which order, and what of it leaves this machine: the
public overview says nothing of who ran it and where. It draws and prints nothing.
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
"""What separates the parts of a path, here or where the run was."""


@dataclass(frozen=True)
class Section:
    """A titled table.

    Attributes:
        title: of the table.
        rows: the cells by the name of their column, the same names in each.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]


def overview(run: Run, *, public: bool) -> list[Section]:
    """Return the tables that tell a run; empty ones are left out.

    Args:
        run: the run.
        public: whether it is for anyone. Then host, process, folders, the words of an
            error, the notes on caching and the exact system are left out, and of a
            weights file there is the name alone.

    Raises:
        ValueError: its `run.json` is not of the form that a run writes.
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
            Section("Versions", _named(document.get("versions", {}))),
            Section("Machine", _named(_machine(document, public=public))),
        )
        return [section for section in sections if section.rows]


def hyperparameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was asked to do, by name, without a path of its machine."""
    recipe = dict(document["recipe"])
    recipe.pop("title", None)
    if "backbone" in recipe:
        recipe["backbone"] = _public_handle(str(recipe["backbone"]))
    if "weights" in recipe:
        recipe["weights"] = _last_part(recipe["weights"])
    asked = ("seed", "deterministic", "early_stopping")
    return {
        "recipe": recipe.pop("name"),
        **recipe,
        **{name: document[name] for name in asked if name in document},
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
    told = {
        "id": run.name,
        "status": run.status,
        "started": document.get("started"),
        "finished": document.get("finished"),
        "error": error.partition(":")[0] if public else error,
        "seed": document.get("seed"),
        "deterministic": document.get("deterministic"),
        "early stopping": document.get("early_stopping"),
    }
    if "selected_epoch" in document:
        told["selected epoch"] = document["selected_epoch"] + 1
    if not public:
        told["process"] = f"{process['pid']} on {process['host']}"
        told["folder"] = str(run.path)
    return told


def _recipe(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was trained and, where it was changed, what the recipe says."""
    given = dict(document["recipe"])
    name = given.pop("name")
    known = RECIPES[name].as_dict() if name in RECIPES else given
    shown = hyperparameters(document)
    rows = [{"name": "name", "value": name, "changed from": ""}]
    for key, value in given.items():
        before = known.get(key, value)
        rows.append(
            {
                "name": key,
                "value": shown.get(key, value),
                "changed from": "" if before == value else _said(before),
            }
        )
    return rows


def _said(value: Any) -> str:
    return "none" if value is None else f"{value}"


def _data(document: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    data = document.get("data", {})
    weights = document.get("weights", {})
    shared = data.get("shared_with_train", {})
    source = weights.get("source")
    if source is not None and source == document["recipe"].get("weights"):
        source = _last_part(source)
    return {
        "folder": None if public else data.get("folder"),
        "classes": ", ".join(data.get("classes", ())),
        "images trained on": data.get("trained_on"),
        "validated on": data.get("validated_on"),
        "selected on": data.get("selected_on"),
        "also in train": ", ".join(f"{n} of {name}" for name, n in shared.items()),
        "weights": source,
        "fingerprint of the weights": weights.get("fingerprint"),
    }


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
    if "ceiling" in document:
        figures["ceiling of a closed-form head"] = document["ceiling"]
    return [
        {
            "figure": figure,
            **{name: estimate[name] for name in names},
            "measured on": estimate.get("split", ""),
        }
        for figure, estimate in figures.items()
    ]


def _epochs(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(_rows(document.get("history", {})))


def _rows(history: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*history.values(), strict=True):
        row = dict(zip(history, values, strict=True))
        yield {**row, "epoch": row["epoch"] + 1}


def _machine(document: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    machine = dict(document.get("machine", {}))
    if "devices" in machine:
        machine["devices"] = ", ".join(machine["devices"])
    if public and "system" in machine:
        machine["system"] = machine["system"].partition("-")[0]
    return machine


def _last_part(path: Any) -> str:
    return _FOLDERS.split(str(path))[-1]


def _public_handle(handle: str) -> str:
    """Return a handle without folders of this machine and without secrets."""
    if is_kaggle_handle(handle):
        return handle
    if re.match(r"(https?|gs)://", handle):
        parts = urlsplit(handle)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()
    return _last_part(handle)
