"""On Weights & Biases: runs in its service, or in a folder of this machine.

Owns that it never asks a question, prints nothing, and sends neither the command line
nor the program, its version control or the host. Which epochs an
offline run has is read from its files by `wandb_files`.
"""

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlcore.tracking.tracker import (
    FAILED,
    FINISHED,
    KILLED,
    TrackerError,
    answering,
    check_installed,
)
from tlcore.tracking.wandb_files import kept_epochs

PROJECT = "tlcore"
"""The project, where neither the caller nor the environment names one."""

# It knows no third ending: any other code than 0 is shown as failed. 255 is what it
# uses itself after Ctrl-C.
_EXIT_CODES = {FINISHED: 0, FAILED: 1, KILLED: 255}
_LOCAL = ("offline", "dryrun")
_INIT_SECONDS = 30.0
_FINISH_SECONDS = 60.0


class WandbTracker:
    """A run in Weights & Biases.

    Args:
        project: its name; None is `WANDB_PROJECT`, or "tlcore".
        run_name: the name of the run; None leaves it to Weights & Biases.
        folder: the folder of its folder `wandb`; None is `WANDB_DIR`, or this one.

    Raises:
        ValueError: the package is not installed.
    """

    name = "Weights & Biases"
    remedy = (
        "Run `wandb login`, or set WANDB_API_KEY; or set WANDB_MODE=offline, which "
        "logs to a folder that `wandb sync` sends later"
    )

    def __init__(
        self,
        project: str | None = None,
        *,
        run_name: str | None = None,
        folder: Path | None = None,
    ) -> None:
        check_installed("Tracking with Weights & Biases", "wandb", "wandb")
        self.group = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self.run_name, self._folder = run_name, folder
        self._run: Any = None
        self._mode = "online"
        self.address = ""
        self.id = ""

    @property
    def look(self) -> str:
        """Return where to look at the open run."""
        if self._mode == "disabled":
            return "disabled by WANDB_MODE, nothing is kept"
        if self._mode in _LOCAL:
            return f"offline; to send it: wandb sync {self.address}"
        return self.address

    def connect(self) -> None:
        """Find out whether the service knows who this is, without asking."""
        with answering():
            # Late: it takes a second.
            import wandb

            settings = wandb.setup().settings
            self._mode, self.address = settings.mode, settings.base_url
            # With a run of the program's own open, it has logged in already, and
            # refuses to do so again.
            if self._mode in {*_LOCAL, "disabled"} or wandb.run is not None:
                return
            if not wandb.login(prompt=False, verify=True):
                raise TrackerError("no API key")

    def open(self, key: str) -> set[int]:
        """Begin the run of this key, or go on with it; return the epochs it has."""
        with answering():
            import wandb

            self._run = wandb.init(
                project=self.group,
                dir=self._folder,
                id=key,
                name=self.run_name,
                resume="allow",
                # Next to a run that the program itself has begun.
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    save_code=False,
                    symlink=False,  # what it links to may have gone before `wandb sync`
                    init_timeout=_INIT_SECONDS,
                    finish_timeout=_FINISH_SECONDS,
                    finish_timeout_raises=True,
                    host="",
                    x_disable_meta=True,
                ),
            )
            self.id = key
            if self._mode == "disabled":
                return set()
            if self._mode in _LOCAL:
                own = Path(self._run.settings.sync_dir).absolute()
                self.address = str(own)
                return kept_epochs(own.parent, key, but=own)
            self.address = self._run.url
            return set(range(self._run.starting_step))

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Set both in the configuration of the run."""
        with answering():
            self._run.config.update({**params, **tags}, allow_val_change=True)

    def log(self, epoch: int, moment: float, phase: str, figures: Any) -> None:
        """Add an epoch; those before it must have been added."""
        with answering():
            values = {**figures, "phase": phase, "epoch": epoch, "_timestamp": moment}
            self._run.log(values, step=epoch, commit=True)

    def conclude(self, figures: Mapping[str, float]) -> None:
        """Set the final figures in the summary."""
        with answering():
            self._run.summary.update(dict(figures))

    def attach(self, path: Path) -> None:
        """Add a file, under its name."""
        with answering():
            name = glob.escape(str(path))
            self._run.save(name, base_path=str(path.parent), policy="now")

    def end(self, status: str) -> None:
        """End the run."""
        with answering():
            self._run.finish(exit_code=_EXIT_CODES[status])
