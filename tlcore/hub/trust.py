"""Trust: which SavedModels a `.keras` file may open, and who said so.

Owns the consent that `load_model` takes and `HubLayer` asks for. A `.keras` file holds
the address of a SavedModel, not the SavedModel: who loads the file would download and
run whatever is there. What this process has opened by its own code is known here too,
because a layer that is copied is no stranger.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tlcore.hub import handles

Trust = bool | str | Path | Sequence[str | Path]
"""True for every SavedModel, else the handles or folders that are trusted."""


class UntrustedError(ValueError):
    """A SavedModel that may not be opened, or is not the one it should be."""


@dataclass(frozen=True)
class Consent:
    """What a file that is loaded may open.

    Attributes:
        handles: the SavedModels, by their absolute handles; None for all.
        download: whether they may be downloaded.
        operations: whether they may touch files and run Python code.
    """

    handles: frozenset[str] | None
    download: bool = True
    operations: bool = True

    def covers(self, handle: str) -> bool:
        """Return whether the SavedModel of an absolute handle may be opened."""
        return self.handles is None or handle in self.handles


_CONSENT: ContextVar[Consent | None] = ContextVar("consent", default=None)
_OPENED: dict[tuple[str, str], bool] = {}
"""By handle and fingerprint, whether its operations were consented to."""


def consent_of(trust: Trust) -> Consent:
    """Return the consent that an argument `trust=` stands for.

    Raises:
        ValueError: it is neither a truth value nor one or several handles.

    Example:
        >>> consent_of("https://host/model.tar.gz").covers("https://host/model.tar.gz")
        True
        >>> consent_of(False).covers("https://host/model.tar.gz")
        False
    """
    if isinstance(trust, bool):
        return Consent(None if trust else frozenset())
    names = [trust] if isinstance(trust, str | Path) else trust
    if not isinstance(names, Sequence):
        raise ValueError(
            "trust must be True, or the handle or folder of a SavedModel, or a list of "
            f"those. Received: trust={trust!r}. Write trust=True to open them all."
        )
    return Consent(frozenset(map(handles.absolute, names)))


@contextmanager
def consenting(consent: Consent) -> Iterator[None]:
    """Let what is loaded in this block open the SavedModels of a consent."""
    token = _CONSENT.set(consent)
    try:
        yield
    finally:
        _CONSENT.reset(token)


def current() -> Consent | None:
    """Return the consent of the block around the caller, or None outside of any."""
    return _CONSENT.get()


def note_opened(handle: str, fingerprint: str, *, operations: bool) -> None:
    """Remember a SavedModel that this process opened."""
    _OPENED[handle, fingerprint] = operations


def consent_to(handle: str, fingerprint: str) -> Consent:
    """Return the consent under which a configuration may open a SavedModel.

    Args:
        handle: its absolute handle.
        fingerprint: what the configuration says of its graph.

    Raises:
        UntrustedError: nobody consented.
        FileNotFoundError: the handle is a path and there is nothing.
    """
    if not _is_remote(handle) and not Path(handle).exists():
        handles.resolve(handle, download=False)  # says that there is nothing
    consent = current()
    opened = _OPENED.get((handle, fingerprint))
    if consent is None and opened is not None:
        return Consent(frozenset({handle}), operations=opened)
    if consent is not None and consent.covers(handle):
        return consent
    raise UntrustedError(
        "A model must not open a SavedModel that its file names unless you trust it: "
        "a SavedModel is a program, and runs when it is loaded. Received: "
        f"handle={handle!r}{_described(handle)}. If you trust where the model and this "
        f"SavedModel come from, write tl.load_model(path, trust={handle!r}), or for "
        "the model of a run `tlcore predict IMAGE --run RUN --trust`."
    )


def _described(handle: str) -> str:
    """Return what is known of a SavedModel without downloading or running it."""
    if _is_remote(handle):
        return ", which would be downloaded unless it was before"
    if not Path(handle).is_dir():
        return ""
    from tlcore.hub.operations import touching_operations

    try:
        found = touching_operations(handles.resolve(handle, download=False))
    except (ValueError, OSError):
        return ""
    return f", whose graph holds {listed(found)}" if found else ""


def _is_remote(handle: str) -> bool:
    return "://" in handle or handles.is_kaggle_handle(handle)


def listed(operations: Sequence[str]) -> str:
    """Return operations as a part of a message, at most a few of them."""
    few = 5
    more = f" and {len(operations) - few} more" if len(operations) > few else ""
    return ", ".join(operations[:few]) + more
