"""Tracker: what the callback needs of MLflow, of Weights & Biases, or of a test.

Owns the seam between this package and those two: which calls there are, the one error
that they fail with, and that what they print, log and warn of is not shown. Nothing
here knows of training.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

FINISHED, FAILED, KILLED = "finished", "failed", "killed"
"""How the run of a tracker ends."""

_REASON_CHARACTERS = 300
_CREDENTIALS = r"(://)[^/\s]*@"


class TrackerError(Exception):
    """A tracker does not answer, or refuses what it is sent; one line says why."""


class Tracker(Protocol):
    """A place that keeps the figures of trainings. Every call may raise TrackerError.

    Attributes:
        name: how it is called in sentences.
        remedy: what to do if it does not answer.
        run_name: the name of a run that is begun, None for one that it chooses.
    """

    name: str
    remedy: str
    run_name: str | None

    @property
    def address(self) -> str:
        """Return where it is, without credentials."""

    @property
    def group(self) -> str:
        """Return the name of the experiment or project."""

    @property
    def id(self) -> str:
        """Return the id of the open run, "" before."""

    @property
    def look(self) -> str:
        """Return where to look at the open run."""

    def connect(self) -> None:
        """Find out whether it answers; no run is begun."""

    def open(self, key: str) -> set[int]:
        """Begin the run of this key, or go on with it.

        Returns:
            The epochs that it has.
        """

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Set what was chosen, and what identifies the training; both may nest."""

    def log(self, epoch: int, moment: float, phase: str, figures: Any) -> None:
        """Add an epoch, of a moment in seconds since 1970."""

    def conclude(self, figures: Mapping[str, float]) -> None:
        """Set the final figures."""

    def attach(self, path: Path) -> None:
        """Add a file, under its name."""

    def end(self, status: str) -> None:
        """End the run."""


@contextmanager
def answering() -> Iterator[None]:
    """Run what belongs to a tracker: it prints nothing, and fails with one error.

    Raises:
        TrackerError: whatever it raised.

    Example:
        >>> with answering():
        ...     raise OSError("no route to host")
        Traceback (most recent call last):
        tlcore.tracking.tracker.TrackerError: no route to host
    """
    unseen = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(unseen),
            redirect_stderr(unseen),
        ):
            warnings.simplefilter("ignore")
            yield
    except TrackerError:
        raise
    except Exception as error:
        # Of HTTP, of a database, of a disk, of a cloud: each store has its own errors.
        raise TrackerError(_reason(error)) from error


def check_installed(what: str, extra: str, *modules: str) -> None:
    """Refuse a tracker whose packages are missing.

    Raises:
        ValueError: the message has the line that installs them.

    Example:
        >>> check_installed("Tracking with Aim", "aim", "aim_of_nobody")
        Traceback (most recent call last):
        ValueError: Tracking with Aim needs a package that is not installed. ...
    """
    missing = [module for module in modules if not _is_there(module)]
    if missing:
        raise ValueError(
            f"{what} needs a package that is not installed. Received: no "
            f'{", ".join(missing)}. Run: pip install "tlcore[{extra}]"'
        )


def without_credentials(uri: str) -> str:
    """Return an address without the user, the password and the query in it.

    Example:
        >>> without_credentials("https://ada:secret@host:5000/mlflow?token=1")
        'https://host:5000/mlflow'
        >>> without_credentials("sqlite:////home/ada/mlflow.db")
        'sqlite:////home/ada/mlflow.db'
    """
    place = re.split(r"[?#]", uri, maxsplit=1)[0]
    return re.sub(_CREDENTIALS, r"\1", place)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under names with dots; those that are None are left out.

    Example:
        >>> flat({"recipe": {"epochs": 2, "steps": None}, "seed": 42})
        {'recipe.epochs': 2, 'seed': 42}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = value
    return found


def _is_there(module: str) -> bool:
    # A folder of that name, such as the `wandb` that Weights & Biases writes to, looks
    # like a package without a file.
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def _reason(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    # Messages repeat the address that was asked, the password in it too.
    line = re.sub(_CREDENTIALS, r"\1", text.splitlines()[0].rstrip(". "))
    if len(line) <= _REASON_CHARACTERS:
        return line
    return f"{line[:_REASON_CHARACTERS]}..."
