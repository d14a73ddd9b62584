"""Tracked: what of a run goes to MLflow or Weights & Biases.

Owns what is logged beside the epochs, the entry `trackers` of `run.json`, and that
neither photographs nor paths of this machine leave it: `predictions.csv` stays here,
and `run.json` is sent without folders, host and process. How the epochs get there, once
each, is in the wing `tracking`.
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.runs.overview import hyperparameters
from tlcore.runs.run import CALIBRATION, CONFUSION, CURVES, RUN_FILE, Run, reading

if TYPE_CHECKING:
    from tlcore.tracking.callback import TrackerCallback
    from tlcore.tracking.tracker import Tracker

MODEL_FILE = "model.keras"
_FILES = ("history.csv", CURVES, CONFUSION, CALIBRATION)
"""Pictures of figures only: `images.png` and `mistakes.png` show photographs."""


class RunTracking:
    """The trackers of one run.

    Args:
        callbacks: by the name of the tracker in `run.json`.
        model: whether the trained model is sent too.
    """

    def __init__(
        self, callbacks: "Mapping[str, TrackerCallback]", *, model: bool = False
    ) -> None:
        self._callbacks = dict(callbacks)
        self._model = model
        self._before: list[dict[str, Any]] = []

    @property
    def callbacks(self) -> "list[TrackerCallback]":
        """Return the Keras callbacks that log the epochs, the same for every phase."""
        return list(self._callbacks.values())

    def begin(self, run: Run, *, anew: bool = False) -> None:
        """Begin the runs of the trackers, or go on with those of the run.

        Args:
            run: the run.
            anew: whether epochs that the trackers have are trained otherwise.

        Raises:
            ValueError: a tracker does not answer.
        """
        from tlcore.tracking.callback import no_answer
        from tlcore.tracking.tracker import TrackerError

        kept = _current(run)
        left_out = kept.keys() - self._callbacks.keys()
        self._before = _entries(run) if anew else []
        self._before += [{**kept[name], "complete": False} for name in left_out]
        for name, callback in self._callbacks.items():
            same = not anew and name in kept
            callback.key = kept[name]["key"] if same else secrets.token_hex(8)
            callback.tracker.run_name = run.name
            callback.remember(run.document.get("history", {}))
        self._record(run, complete=False)  # the keys, before anything has them
        for callback in self._callbacks.values():
            try:
                callback.open()
                callback.tracker.describe(*_described(run.document))
            except TrackerError as error:
                raise no_answer(callback.tracker, error) from error
        self._record(run, complete=False)

    def finish(self, run: Run, status: str) -> None:
        """Send the rest, end the runs of the trackers, and record whether all went."""
        from tlcore.tracking.tracker import answering

        def last(tracker: "Tracker") -> None:
            params, tags = _described(run.document)
            tracker.describe(params, {**tags, "phases": _phases(run.document)})
            tracker.conclude(dict(_finals(run.document)))
            for path in self._files(run.path):
                tracker.attach(path)
            with answering(), tempfile.TemporaryDirectory() as folder:
                path = Path(folder, RUN_FILE)
                path.write_text(json.dumps(shareable(run.document), indent=2))
                tracker.attach(path)

        for callback in self._callbacks.values():
            callback.finish(status, last=last)
        if self._callbacks:
            self._record(run)

    def _files(self, folder: Path) -> list[Path]:
        names = [*_FILES, MODEL_FILE] if self._model else _FILES
        return [folder / name for name in names if (folder / name).exists()]

    def _record(self, run: Run, *, complete: bool = True) -> None:
        entries = [
            {
                "tracker": name,
                "key": callback.key,
                "id": callback.tracker.id,
                "address": callback.tracker.address,
                "group": callback.tracker.group,
                "complete": complete and callback.complete,
            }
            for name, callback in self._callbacks.items()
        ]
        if entries or self._before:
            run.update(trackers=[*self._before, *entries])


def connected(
    asked: Mapping[str, str | None] | None,
    say: Callable[[str], None],
    *,
    model: bool = False,
    run: Run | None = None,
) -> RunTracking:
    """Return the trackers of a run, which answer; nothing is begun.

    Args:
        asked: where to, by "mlflow" (an address or a folder) or "wandb" (a project);
            None as a value is the default of the tracker, and None for all of it goes
            on without those that the run has.
        say: called with each line for the user.
        model: whether the trained model is sent too.
        run: what goes on; it goes on in the trackers that it has.

    Raises:
        ValueError: a package is missing, a tracker does not answer, or there is none
            for the model.
    """
    kept = {} if run is None or asked is None else _current(run)
    places = {name: (entry["address"], entry["group"]) for name, entry in kept.items()}
    found = {}
    for name in [*places, *((asked or {}).keys() - places.keys())]:
        address, group = places.get(name, (None, None))
        found[name] = _callback(name, (asked or {}).get(name), address, group, say)
    if model and not found:
        raise ValueError(
            "A model is sent to a tracker. Received: track_model=True without one. Add "
            "--mlflow or --wandb."
        )
    return RunTracking(found, model=model)


def shareable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `run.json` that does not tell who ran it, or where.

    Example:
        >>> shared = shareable({
        ...     "recipe": {"name": "model_3", "weights": "/home/ada/best.weights.h5"},
        ...     "data": {"folder": "/home/ada/photos", "classes": ["cat", "dog"]},
        ...     "error": "OSError: /home/ada is full",
        ... })
        >>> shared["recipe"]["weights"], shared["data"], shared["error"]
        ('best.weights.h5', {'classes': ['cat', 'dog']}, 'OSError')
    """
    private = {"process", "options", "trackers"}
    shared = {name: x for name, x in document.items() if name not in private}
    named = hyperparameters(document)
    recipe = {x: named.get(x, value) for x, value in document["recipe"].items()}
    shared["recipe"] = recipe | {"name": document["recipe"]["name"]}
    data = dict(document.get("data", {}))
    for name in ("folder", "findings"):
        data.pop(name, None)
    if "splits" in data:
        data["splits"] = {
            name: {x: y for x, y in split.items() if x != "skipped"}
            for name, split in data["splits"].items()
        }
    shared["data"] = data
    if "weights" in shared:
        shared["weights"] = _weights(document)
    if "phases" in shared:
        shared["phases"] = [
            {name: x for name, x in phase.items() if name != "caching"}
            for phase in shared["phases"]
        ]
    if "error" in shared:
        shared["error"] = str(shared["error"]).partition(":")[0]
    if "system" in shared.get("machine", {}):
        system = shared["machine"]["system"].partition("-")[0]
        shared["machine"] = {**shared["machine"], "system": system}
    return shared


def _callback(
    name: str,
    asked: str | None,
    address: str | None,
    group: str | None,
    say: Callable[[str], None],
) -> "TrackerCallback":
    """Return the callback of a tracker that answers."""
    from tlcore.tracking.callback import TrackerCallback, connect
    from tlcore.tracking.on_mlflow import MlflowTracker
    from tlcore.tracking.on_wandb import WandbTracker

    tracker: Tracker
    if name == "mlflow":
        tracker = MlflowTracker(asked or address, experiment=group)
    else:
        # Offline, the epochs that it has are in the folder that it had.
        before = Path(address or "")
        folder = before.parents[1] if address and before.is_dir() else None
        tracker = WandbTracker(asked or group, folder=folder)
    connect(tracker)
    return TrackerCallback(tracker, key="", say=say)


def _entries(run: Run) -> list[dict[str, Any]]:
    with reading(run):
        return [dict(entry) for entry in run.document.get("trackers", [])]


def _current(run: Run) -> dict[str, dict[str, Any]]:
    """Return the last entry of each tracker."""
    return {entry["tracker"]: entry for entry in _entries(run)}


def _described(
    document: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of a run, and its tags."""
    splits = document["data"]["splits"]
    params = {
        **hyperparameters(document),
        "counts": document["counts"],
        "images": {name: split["images"] for name, split in splits.items()},
    }
    tags = {
        "run": document["id"],
        "data": {name: split["fingerprint"] for name, split in splits.items()},
        "weights_before": _weights(document),
        "weights_after": document.get("final_weights"),
        "versions": document["versions"],
        "backend": document["machine"]["backend"],
    }
    return params, tags


def _weights(document: Mapping[str, Any]) -> dict[str, Any]:
    weights = dict(document["weights"])
    if weights["source"] == document["recipe"].get("weights"):
        weights["source"] = hyperparameters(document)["weights"]
    return weights


def _phases(document: Mapping[str, Any]) -> dict[str, Any]:
    names = ("first_epoch", "learning_rate", "counts", "frozen_fingerprint")
    return {
        phase["name"]: {name: phase[name] for name in names if name in phase}
        for phase in document["phases"]
    }


def _finals(document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each final figure under its name, its interval and n beside it."""
    for name, estimate in document.get("final", {}).items():
        parts: Sequence[tuple[str, str]] = (
            ("", "value"),
            ("_low", "low"),
            ("_high", "high"),
            ("_n", "n"),
        )
        for end, part in parts:
            if estimate[part] is not None:
                yield f"final_{name}{end}", float(estimate[part])
