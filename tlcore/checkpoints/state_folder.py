"""State folder: the states of one training, of which the last two are kept.

Owns their names, which one is the newest whole one, and what is removed when. A new
state is on the disk before an older one goes, so that whatever happens one is there.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tlcore.checkpoints.state_file import read_state_file, write_state_file
from tlcore.files import flush_folder

SCHEMA = 1
# History of the document of a state:
# 1  the first.

_KEPT = 2
_NAME = re.compile(r"epoch-(\d{6,})-step-(\d{8,})\.state")
_FROZEN = "frozen-{}.state"
_UNFINISHED = ".*.state"


@dataclass(frozen=True)
class SavedState:
    """A state that was read.

    Attributes:
        path: its file.
        document: what it says.
        arrays: the variables, by name.

    Example:
        >>> folder = StateFolder("states")
        >>> _ = folder.write({"epoch": 3, "step": 0}, {})
        >>> folder.newest(print).epoch
        3
    """

    path: Path
    document: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)

    @property
    def epoch(self) -> int:
        """Return how many epochs are done."""
        return int(self.document["epoch"])

    @property
    def step(self) -> int:
        """Return how many steps of the next epoch are done."""
        return int(self.document["step"])

    @property
    def stopped(self) -> bool:
        """Return whether a callback ended the training at this state."""
        return bool(self.document["stopped"])

    @property
    def where(self) -> str:
        """Return the place in the training, for people."""
        return place(self.epoch, self.step)


class StateFolder:
    """The states of one training.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def files(self) -> list[Path]:
        """Return the files of states, the oldest first; none if there is no folder."""
        if not self.path.is_dir():
            return []
        found = [path for path in self.path.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=_position)

    def write(
        self, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Path:
        """Write a state, then remove all but the last two.

        Args:
            document: what it says; "epoch" and "step" give its name.
            arrays: the variables.

        Returns:
            The file.

        Raises:
            OSError: it cannot be written; those that were there are there.
        """
        self._make()
        epoch, step = document["epoch"], document["step"]
        path = self.path / f"epoch-{epoch:06}-step-{step:08}.state"
        write_state_file(path, {"schema": SCHEMA, **document}, arrays)
        # A training that went back to an older state leaves newer ones behind, which
        # were damaged or are of steps that it has yet to do.
        later = [x for x in self.files() if _position(x) > _position(path)]
        earlier = [x for x in self.files() if _position(x) <= _position(path)]
        for old in (*later, *earlier[:-_KEPT], *self.path.glob(_UNFINISHED)):
            # Tidying must not end a training whose state is written.
            with suppress(OSError):
                old.unlink()
        return path

    def newest(self, say: Callable[[str], None]) -> SavedState:
        """Return the newest state that is whole.

        Args:
            say: called with a sentence on each newer one that is not.

        Raises:
            ValueError: there is none.
        """
        reasons = []
        for path in reversed(self.files()):
            try:
                document, arrays = read_state_file(path)
                schema = document["schema"]
            except (ValueError, LookupError, TypeError, OSError) as error:
                reasons.append(f"{path.name}: {error}")
                continue
            if schema > SCHEMA:
                raise ValueError(
                    f"This version reads states up to schema {SCHEMA}. Received: "
                    f"schema={schema} in {str(path)!r}. Install a newer tlcore."
                )
            for reason in reasons:
                say(f"damaged, so an older state is taken: {reason}")
            return SavedState(path, document, arrays)
        found = f", whose states are damaged ({'; '.join(reasons)})" if reasons else ""
        raise ValueError(
            "A training goes on from a folder with a whole state. "
            f"Received: {str(self.path)!r}{found or ', which holds none'}. "
            "Name the folder that fit(state=...) or save_state wrote to, or start anew."
        )

    def write_frozen(
        self, digest: str, arrays: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> None:
        """Write the weights that never change, once.

        Args:
            digest: their fingerprint.
            arrays: returns the weights.

        Raises:
            OSError: they cannot be written.
        """
        self._make()
        path = self.path / _FROZEN.format(digest[:32])
        if not path.exists():
            write_state_file(path, {"schema": SCHEMA, "digest": digest}, arrays())

    def frozen(self, digest: str) -> Mapping[str, NDArray[Any]]:
        """Return the weights that never change.

        Raises:
            ValueError: they were not kept, or the file is damaged.
        """
        path = self.path / _FROZEN.format(digest[:32])
        try:
            return read_state_file(path)[1]
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise ValueError(
                "The frozen weights of a state are in a file beside it. Received: "
                f"{str(path)!r}, which cannot be read: {error}. Build the model with "
                "the weights that it had."
            ) from error

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(parents=True)
            flush_folder(self.path.parent)


def place(epoch: int, step: int) -> str:
    """Return a place in a training, for people.

    Example:
        >>> place(3, 0), place(3, 7)
        ('after epoch 3', 'after step 7 of epoch 4')
    """
    if step:
        return f"after step {step} of epoch {epoch + 1}"
    return f"after epoch {epoch}" if epoch else "before epoch 1"


def _position(path: Path) -> tuple[int, int]:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # noqa: S101 - `files` lists no others
    return int(match[1]), int(match[2])
