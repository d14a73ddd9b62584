"""Baseline: all that a run on one machine is compared with, read from `results/`.

Owns putting together what `storage` keeps in several files for the machine at hand, and
finding the most similar other machine where this one has no figures. It judges nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from tlbench import kinds, machine
from tlbench.machine import Identity
from tlbench.storage.baselines import Baselines, figures_path, read_figures
from tlbench.storage.machines import read_machines
from tlbench.verdicts.figures import Accepted


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine at hand.

    Attributes:
        identity: what must match.
        name: the name of its folder.
        versions: the framework versions, the key that costs are accepted under.
    """

    identity: Identity
    name: str
    versions: str

    @classmethod
    def of(cls, identity: Identity) -> "Machine":
        """Return the machine with this identity."""
        versions = machine.framework_key(identity)
        return cls(
            identity=identity, name=machine.machine_id(identity), versions=versions
        )

    @classmethod
    def at(cls, results: Path, identity: Identity) -> "Machine":
        """Return the machine with this identity, under the name that its kind has.

        Raises:
            ValueError: the identity of a known machine is damaged.
        """
        here = cls.of(identity)
        alike = [
            name
            for name, other in read_machines(results).items()
            if kinds.kind(other) == kinds.kind(identity)
        ]
        # Of two folders from before they were one kind, that with a baseline.
        alike.sort(key=lambda name: not figures_path(results, name).exists())
        return replace(here, name=alike[0]) if alike else here


def gather(results: Path, here: Machine, baselines: Baselines) -> Accepted:
    """Return what a run on a machine is compared with.

    Args:
        results: the folder of the baselines.
        here: the machine at hand.
        baselines: the exact baselines, as read.

    Raises:
        ValueError: a file is damaged or of a newer schema.
        OSError: a file cannot be read.
    """
    figures = read_figures(results, here.name)
    return Accepted(
        exact={case: x.exact for case, x in baselines.cases.items()},
        costs={case: x.costs for case, x in baselines.cases.items() if x.costs},
        figures={case: x.figures for case, x in figures.items()},
        portable={
            case: x.portable.figures
            for case, x in baselines.cases.items()
            if x.portable
        },
        versions=here.versions,
        elsewhere=() if figures else _nearest(results, here),
    )


def judged(baselines: Baselines, versions: str) -> Accepted:
    """Return what a case is compared with at its end, on any machine: no figures."""
    return Accepted(
        exact={case: x.exact for case, x in baselines.cases.items()},
        costs={case: x.costs for case, x in baselines.cases.items() if x.costs},
        versions=versions,
    )


def _nearest(results: Path, here: Machine) -> tuple[str, ...]:
    """Return how the most similar machine with figures differs from this one."""
    others = {
        name: identity
        for name, identity in read_machines(results).items()
        if name != here.name and figures_path(results, name).exists()
    }
    found = [machine.differences(here.identity, other) for other in others.values()]
    return min(found, key=len, default=())
