"""Why a session, or a case of it, recorded nothing.

A gate that saw nothing must not be green. Owns what is known of the collected cases
(which fixtures they use, how they ended) and the sentences that name the cause. It does
not know pytest.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Switch: TypeAlias = Literal["", "--benchmark-disable", "--benchmark-skip", "xdist"]
"""What keeps pytest-benchmark from timing: an option, pytest-xdist, or nothing."""

_OFF: Mapping[Switch, str] = {
    "--benchmark-disable": "--benchmark-disable keeps pytest-benchmark from timing: "
    "leave it out, or give --benchmark-enable",
    "--benchmark-skip": "--benchmark-skip skips what uses `benchmark`: leave it out",
    "xdist": "pytest-benchmark times nothing under pytest-xdist: run with -n 0",
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a case that was chosen to run uses.

    Attributes:
        record: whether it uses the fixture `record`.
        benchmark: whether it uses a fixture named `benchmark`.
        owner: the module of that fixture, "" if it is pytest-benchmark's.
    """

    record: bool = False
    benchmark: bool = False
    owner: str = ""


class Uses:
    """Gathers which cases could have recorded something, and how they ended.

    Args:
        switch: what keeps pytest-benchmark from timing.
        takes_all: whether every case that uses the fixture `benchmark` is recorded.
    """

    def __init__(self, *, switch: Switch, takes_all: bool) -> None:
        self._switch = switch
        self._takes_all = takes_all
        self._collected = 0
        self._chosen: dict[str, Use] = {}
        self._outcomes: dict[str, str] = {}

    def choose(self, chosen: Mapping[str, Use], *, collected: int) -> None:
        """Take what was collected and, of that, chosen to run."""
        self._chosen |= chosen
        # Each worker of pytest-xdist collects the same cases.
        self._collected = max(self._collected, collected)

    def to_json(self) -> dict[str, Any]:
        """Return what a worker of pytest-xdist found, as plain values."""
        chosen = {case: vars(use) for case, use in self._chosen.items()}
        return {"chosen": chosen, "collected": self._collected}

    def add_json(self, found: Mapping[str, Any]) -> None:
        """Add what a worker of pytest-xdist found."""
        chosen = {case: Use(**use) for case, use in found["chosen"].items()}
        self.choose(chosen, collected=found["collected"])

    def end(self, node: str, outcome: str) -> None:
        """Take how a phase of a case ended: "passed", "failed" or "skipped"."""
        if outcome != "passed" or node not in self._outcomes:
            self._outcomes[node] = outcome

    def silent(self, recorded: Collection[str]) -> dict[str, str]:
        """Return why cases that use `benchmark` and passed recorded nothing."""
        return {
            case: f"nothing was recorded: {self._cause(use)}"
            for case, use in self._chosen.items()
            if self._takes_all
            and use.benchmark
            and case not in recorded
            and self._ended(case) == "passed"
        }

    def why(self) -> str:
        """Return why a session recorded nothing at all."""
        return f"nothing was recorded: {self._session_cause()}"

    def _session_cause(self) -> str:
        if not self._collected:
            return "no case was collected; name the files or folders of the suite"
        if not self._chosen:
            return f"all {_cases(self._collected)} were deselected; check -k and -m"
        using = {k: x for k, x in self._chosen.items() if x.record or x.benchmark}
        if not using:
            whole = _cases(len(self._chosen))
            return f"none of {whole} uses the fixture `benchmark` or `record`"
        ended = Counter(map(self._ended, using))
        if not ended["passed"]:
            if self._switch == "--benchmark-skip" and ended["skipped"]:
                return _OFF[self._switch]
            ends = ", ".join(f"{n} {word}" for word, n in sorted(ended.items()))
            return f"no case that could record passed ({ends})"
        return "; ".join(dict.fromkeys(self._causes(using)))

    def _causes(self, using: Mapping[str, Use]) -> Iterable[str]:
        for case, use in using.items():
            if self._ended(case) == "passed":
                yield self._cause(use)

    def _cause(self, use: Use) -> str:
        if not use.benchmark:
            return "cases use the fixture `record`, but never call it"
        if use.owner:
            return (
                f"the fixture `benchmark` is that of {use.owner}, not of "
                "pytest-benchmark; leave that plugin out (-p no:NAME), or record the "
                "seconds with `record.timing`"
            )
        if not self._takes_all:
            return "--tl-results DIR is needed to record what uses `benchmark`"
        return _OFF.get(self._switch) or "`benchmark` is used, but never called"

    def _ended(self, case: str) -> str:
        # pytest-xdist appends the name of a group to a node id.
        ends = [x for k, x in self._outcomes.items() if k.startswith(f"{case}@")]
        return self._outcomes.get(case) or (ends[0] if ends else "not run")


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
