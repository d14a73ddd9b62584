"""Conviction: suspects are measured in turn with the commit that was accepted.

Owns which commit a suspect is compared with, and what is said where that cannot be
done. The measuring is in `pairing`, what it means for a verdict in `verdicts.trials`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlbench.pairing.comparison import Comparison
from tlbench.pairing.judging import Row
from tlbench.pairing.running import run, run_cases
from tlbench.settings import Settings
from tlbench.storage.history import Entry
from tlbench.verdicts.figures import Figures
from tlbench.verdicts.trials import Trial
from tlbench.verdicts.verdict import Verdict

Say = Callable[[str], None]

_OUTCOMES: Mapping[Verdict, str] = {
    "pass": "equal",
    "improvement": "faster",
    "regression": "slower",
}


@dataclass(frozen=True, kw_only=True)
class Convictions:
    """What came of trying suspects.

    Attributes:
        trials: by case, what the pair says.
        notes: why some could not be tried, or how many.
    """

    trials: Mapping[str, Trial] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def convict(
    suspects: Sequence[str],
    commits: Mapping[str, str],
    *,
    root: Path,
    settings: Settings,
    options: Sequence[str],
    say: Say,
    devices: bool = False,
    compare: Callable[..., Comparison] = run,
) -> Convictions:
    """Measure suspects in turn with their accepted commits.

    Args:
        suspects: node ids, relative to `root`.
        commits: by case, the accepted commit; "" if it is not known.
        root: the folder of the project.
        settings: how a side is installed, how long the measuring may take, and what
            each case is judged by.
        options: the session's own options for pytest.
        say: called with a line for each step.
        devices: whether the session had devices; then the pair must have them too.
        compare: compares two sides.
    """
    by_commit: dict[str, list[str]] = {}
    for case in suspects:
        by_commit.setdefault(commits.get(case, ""), []).append(case)
    unknown = by_commit.pop("", [])
    notes = []
    if unknown:
        notes.append(
            f"{_cases(unknown)} could not be compared with the accepted commit: their "
            "accepted runs name none, or one with changes that were not committed"
        )
    trials: dict[str, Trial] = {}
    for commit, cases in by_commit.items():
        say(f"{_cases(cases)}: in turn with the accepted commit {commit}")
        try:
            done = run_cases(
                cases,
                commit,
                options,
                root=root,
                settings=settings,
                say=say,
                compare=compare,
            )
        except (ValueError, OSError) as error:
            notes.append(
                f"{_cases(cases)} could not be compared with the accepted commit "
                f"{commit}: {error}"
            )
            continue
        rows = [row for row in done.rows if row.case in cases]
        # On processors alone a case that got slower on a device would be cleared.
        blind = [row.case for row in rows if devices and not row.device]
        if blind:
            notes.append(
                f"{_cases(blind)} could not be compared with the accepted commit "
                f"{commit}: the pair had no device. Pass --tl-install with what "
                "installs its support"
            )
        trials |= {
            row.case: _trial(row, commit) for row in rows if row.case not in blind
        }
    return Convictions(trials=trials, notes=tuple(notes))


def accepted_commits(
    figures: Mapping[str, Figures],
    entries: Iterable[Entry],
    *,
    drifted: Iterable[str] = (),
) -> dict[str, str]:
    """Return, by case, the newest commit of its accepted runs that can be built.

    Args:
        figures: the accepted figures, by case.
        entries: the history of the machine.
        drifted: the cases that are compared with the oldest run of their anchor.
    """
    old = set(drifted)
    runs = {
        case: {
            run
            for series in (one.anchor if case in old else one.series).values()
            for run in series
        }
        for case, one in figures.items()
    }
    found: dict[str, str] = {}
    for entry in entries:
        # "+": files were changed since the commit, and nobody has those.
        if entry.run in runs.get(entry.case, ()) and entry.commit.rstrip("+"):
            if entry.case in old and entry.case in found:
                continue
            found[entry.case] = "" if entry.commit.endswith("+") else entry.commit
    return found


def _trial(row: Row, commit: str) -> Trial:
    outcome = _OUTCOMES.get(row.verdict, "unknown")
    said = "; ".join(one.why for one in row.findings)
    if outcome == "equal":
        said = row.equality
    return Trial(commit=commit, outcome=outcome, why=said)  # type: ignore[arg-type]


def _cases(cases: Sequence[str]) -> str:
    return "1 suspect" if len(cases) == 1 else f"{len(cases)} suspects"
