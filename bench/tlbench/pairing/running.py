"""Running: a comparison from its checkouts to its verdicts.

Owns what the processes of the sides need from this one: a copy of tlbench, and a folder
for what they print.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlbench.pairing.comparison import Comparison, Say, compare
from tlbench.pairing.pairs import Launch, Name
from tlbench.pairing.sides import Request, Side, two_sides
from tlbench.settings import Settings
from tlbench.verdicts.limits import DEFAULT, Policy


def run(
    request: Request,
    options: Sequence[str] = (),
    *,
    say: Say,
    budget: float,
    only: Sequence[str] = (),
    whole: bool = False,
    policy: Policy = DEFAULT,
) -> Comparison:
    """Compare two sides, from their checkouts to the verdicts.

    Args:
        request: which sides.
        options: further arguments for pytest.
        say: called with a line for each step.
        budget: the seconds that the measuring may take.
        only: the cases to compare; all if empty.
        whole: whether `options` are all there are: then neither those of
            `PYTEST_ADDOPTS` nor those of the suite's configuration apply.
        policy: the limits of each case.

    Raises:
        ValueError: there is nothing to compare, or a side cannot be had.
        OSError: a file cannot be read or written.
    """
    with two_sides(request, say) as sides, tempfile.TemporaryDirectory() as aside:
        # A copy: the interpreters of the sides need not have tlbench, and must not
        # find this one's other packages.
        tool = Path(aside) / "tool"
        package = Path(__file__).resolve().parents[1]
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, tool / package.name, ignore=ignore)
        launch = Launch(
            sides=sides,
            paths=request.paths,
            options=tuple(options),
            tool=tool,
            aside=Path(aside),
        )
        return compare(
            _without_addopts(launch) if whole else launch,
            say=say,
            budget=budget,
            only=only,
            foreign=_foreign(sides),
            policy=policy,
        )


def run_cases(
    cases: Sequence[str],
    commit: str,
    options: Sequence[str],
    *,
    root: Path,
    settings: Settings,
    say: Say,
    compare: Callable[..., Comparison] = run,
) -> Comparison:
    """Compare cases of a session in turn with a commit, as the session ran them.

    Args:
        cases: node ids, relative to `root`.
        commit: what they are compared with.
        options: the session's own options for pytest.
        root: the folder of the project.
        settings: how a side is installed, how long the measuring may take, and what
            each case is judged by.
        say: called with a line for each step.
        compare: compares two sides.

    Raises:
        ValueError: a side cannot be had.
        OSError: a file cannot be read or written.
    """
    request = Request(
        folder=root,
        # Files, as the node ids of a whole suite may be too long for a command line.
        paths=tuple(dict.fromkeys(case.partition("::")[0] for case in cases)),
        base=commit,
        install=settings.install,
    )
    return compare(
        request,
        options,
        say=say,
        budget=settings.budget,
        only=list(cases),
        whole=True,
        policy=settings.policy,
    )


def _without_addopts(launch: Launch) -> Launch:
    # Blank, not absent: both sides keep environments of one length.
    base, head = (
        replace(side, environ={**side.environ, "PYTEST_ADDOPTS": " "})
        for side in launch.sides
    )
    options = (*launch.options, "-o", "addopts=")
    return replace(launch, sides=(base, head), options=options)


def _foreign(sides: tuple[Side, Side]) -> Mapping[Name, Sequence[Path]]:
    """Return, by side, the folders whose code is not its own."""
    base, head = sides
    if base.tree is None or head.tree is None:
        return {}
    return {"base": [head.tree], "head": [base.tree]}
