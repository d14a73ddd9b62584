"""States: where the states of a run's phases are, and whether it can go on.

Owns the names of their folders. What a state holds is in the wing
`checkpoints`; how a run goes on is in `going_on`.
"""

import shlex
from typing import TYPE_CHECKING

from tlcore.runs.run import CHECKPOINTS, Run

if TYPE_CHECKING:
    from tlcore.checkpoints.state_folder import StateFolder

_BROKEN = ("interrupted", "terminated", "failed", "killed")
"""How a run ends that does not reach its end."""


def states_of(run: Run, phase: str) -> "StateFolder":
    """Return the folder of the states of a phase.

    Example:
        >>> from datetime import datetime
        >>> from tlcore.runs.run import start_run
        >>> run = start_run("states", "model_3", {}, now=datetime(2026, 1, 2))
        >>> states_of(run, "fine_tuning").path.name
        'fine_tuning.states'
    """
    from tlcore.checkpoints.state_folder import StateFolder  # late: it loads NumPy

    return StateFolder(run.path / CHECKPOINTS / f"{phase}.states")


def is_broken_off(run: Run) -> bool:
    """Return whether a run ended early and can go on."""
    return run.status in _BROKEN and "options" in run.document


def resume_line(run: Run) -> str:
    """Return the command that goes on with a run.

    Example:
        >>> from datetime import datetime
        >>> from tlcore.runs.run import start_run
        >>> run = start_run("runs", "model_3", {}, now=datetime(2026, 1, 2))
        >>> resume_line(run)
        'tlcore run --resume model_3/20260102-000000'
    """
    out = run.path.parent.parent
    elsewhere = f" --out {shlex.quote(str(out))}" if str(out) != "runs" else ""
    return f"tlcore run --resume {shlex.quote(run.name)}{elsewhere}"
