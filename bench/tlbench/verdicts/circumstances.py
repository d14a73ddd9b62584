"""Circumstances: what differed around two runs, to explain a figure, never to judge it.

Owns which facts of a context are kept with accepted runs, and the words about them. How
a context is read is in `machine`.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

HIGH_LOAD = 2.0
"""A load is worth a word where it is this many times the accepted one."""

HIGH_PRESSURE = 10.0
"""Percent of the time that something waited for a processor, likewise."""


def of_runs(contexts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what accepted runs keep of their contexts, the newest last.

    >>> of_runs([{"load": 1.0}, {"load": 3.0, "libraries": {"numpy": "2.4.6"}}])
    {'load': 2.0, 'libraries': {'numpy': '2.4.6'}}
    """
    kept: dict[str, Any] = {}
    for name in ("load", "pressure"):
        values = [one[name] for one in contexts if name in one]
        if values:
            kept[name] = round(statistics.median(values), 2)
    libraries = [one["libraries"] for one in contexts if "libraries" in one]
    return kept | ({"libraries": dict(libraries[-1])} if libraries else {})


def load(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the load of both times, "" if one is not known."""
    if "load" not in then or "load" not in now:
        return ""
    return f"load {now['load']:.3g} now, {then['load']:.3g} then"


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what may explain that a figure moved, in words.

    >>> changes({"load": 0.5}, {"load": 16.0}), changes({"load": 0.5}, {"load": 0.9})
    (('load 16 now, 0.5 then',), ())
    """
    found = []
    if now.get("load", 0) >= HIGH_LOAD * max(then.get("load", 1.0), 0.5):
        found.append(load(then, now) or f"load {now['load']:.3g} now")
    pressure, before = now.get("pressure", 0), then.get("pressure", 0)
    if pressure >= max(HIGH_PRESSURE, 2 * before):
        found.append(
            f"something waited for a processor {pressure:.3g}% of the time now, "
            f"{before:.3g}% then"
        )
    ours, theirs = now.get("libraries", {}), then.get("libraries", {})
    found += [
        f"{name} {theirs[name]} -> {ours[name]} since the accepted runs"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]
    return tuple(found)
