"""Structure: what the values of a `run.json` are, where they are there.

Owns the types of every field that a run writes. Which of them a reader needs is up to
the reader: a run that was killed early has few. What is done with them is in `run`,
`overview` and `publishing`.
"""

from typing import Any

from tlcore.data import fields
from tlcore.data.fields import by_name, items, optional, record, whole

_LARGEST_PROCESS = 2**31 - 1

_ESTIMATE = record(
    {
        **dict.fromkeys(("value", "low", "high"), optional(fields.number)),
        "n": whole(),
        "split": optional(fields.text),
        "also_in": by_name(whole()),
    },
    required=("value", "low", "high", "n"),
)

_PHASE = record(
    {
        "name": fields.text,
        "first_epoch": whole(),
        "learning_rate": optional(fields.number),
        "counts": by_name(optional(fields.number)),
        "caching": optional(fields.text),
    },
    required=("first_epoch", "counts"),
)

_SPLIT = record(
    {
        "images": whole(),
        "fingerprint": fields.text,
        "converted": by_name(whole()),
        "rotated": whole(),
        "composed": whole(),
        "first_frames": whole(),
        "left_out": by_name(whole()),
        "skipped": items(items(fields.text)),
    }
)

_DATA = record(
    {
        "folder": optional(fields.text),
        "classes": optional(items(fields.text)),
        "validated_on": optional(fields.text),
        "selected_on": optional(fields.text),
        "trained_on": optional(whole()),
        "names": by_name(fields.text),
        "reading": record(
            {
                "version": whole(),
                "fit": fields.text,
                "background": items(whole(0, 255)),
                "orientation": fields.text,
            }
        ),
        "shared_with_train": by_name(whole()),
        "shared": by_name(whole()),
        "findings": items(fields.text),
        "splits": by_name(_SPLIT),
        "split": record(
            {
                "rule": fields.text,
                "seed": whole(),
                "counts": by_name(whole()),
                "file": fields.text,
            }
        ),
    }
)


_PREDICTIONS = record(
    {
        "split": fields.text,
        "n": whole(),
        "classes": items(fields.text),
        "accuracy": _ESTIMATE,
        "mistakes": whole(),
        "per_class": items(
            record(
                {
                    "name": fields.text,
                    "images": whole(),
                    "predicted": whole(),
                    **dict.fromkeys(("precision", "recall", "f1"), optional(_ESTIMATE)),
                },
                required=("name", "images", "predicted"),
            )
        ),
        "confusion": items(items(whole())),
    }
)


def _scalar_or_list(value: Any, at: str) -> None:
    if isinstance(value, list):
        items(fields.scalar)(value, at)
    else:
        fields.scalar(value, at)


_COLUMNS = record(
    {"epoch": items(whole()), "phase": items(fields.text)},
    others=items(optional(fields.number)),
)


def _history(value: Any, at: str) -> None:
    _COLUMNS(value, at)
    lengths = {name: len(column) for name, column in value.items()}
    if len(set(lengths.values())) > 1:
        raise fields.wrong(at, "columns of equal length", lengths)


_RUN = record(
    {
        "id": fields.text,
        "status": fields.text,
        "started": fields.moment,
        "finished": fields.moment,
        "error": optional(fields.text),
        "code": fields.scalar,
        "process": record(
            {
                "pid": whole(1, _LARGEST_PROCESS),
                "host": fields.text,
                "mark": fields.text,
            },
            required=("pid", "host"),
        ),
        "recipe": record(
            {"name": fields.text, "backbone": fields.text},
            required=("name",),
            others=_scalar_or_list,
        ),
        "seed": optional(whole()),
        "deterministic": optional(fields.flag),
        "early_stopping": optional(whole()),
        "selected_epoch": whole(),
        "data": _DATA,
        "weights": record(
            {"source": optional(fields.text), "fingerprint": optional(fields.text)}
        ),
        "counts": by_name(optional(fields.number)),
        "phases": items(_PHASE),
        "history": _history,
        "final": by_name(_ESTIMATE),
        "ceiling": _ESTIMATE,
        "predictions": _PREDICTIONS,
        "versions": by_name(fields.scalar),
        "trackers": items(
            record(
                {
                    **dict.fromkeys(
                        ("tracker", "key", "id", "address", "group"), fields.text
                    ),
                    "complete": fields.flag,
                },
                required=("tracker", "key", "address", "group"),
            )
        ),
        "machine": record(
            {"devices": items(fields.text), "system": fields.text},
            others=_scalar_or_list,
        ),
    }
)


def check_structure(document: Any) -> None:
    """Refuse a `run.json` in which a value is of another type than a run writes.

    Raises:
        ValueError: the message names the field and what is there.

    Example:
        >>> check_structure({"schema": 1, "status": "done"})
        >>> check_structure({"phases": [{"first_epoch": "0", "counts": {}}]})
        Traceback (most recent call last):
        ValueError: phases[0].first_epoch must be a whole number. Received: '0'
    """
    _RUN(document, "")
