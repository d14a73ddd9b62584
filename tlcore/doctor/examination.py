"""Examination: asking the installed stack about the known defects.

Owns running the experiments of `probes` and `two_workers`, and the word for what was
measured. A question that could not be answered says why, and is never "not affected".
No framework is loaded before the first question is asked.
"""

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NoReturn, TypeAlias

from tlcore.backend.installed import chosen_backend
from tlcore.doctor.questions import PROBES, Probe, find_probe
from tlcore.doctor.two_workers import TwoWorkers

Status: TypeAlias = Literal["affected", "not affected", "cannot tell"]

WORKER_SECONDS = 15.0
"""How long the two workers may take when all questions are asked."""
PATIENT_WORKER_SECONDS = 120.0
"""How long they may take when their question was asked by its id."""

_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu"),
    "jax": ("jax",),
    "torch": ("torch",),
    "keras": ("keras", "keras-nightly"),
    "tensorflow_hub": ("tensorflow-hub", "tf-hub-nightly"),
    "tf_keras": ("tf-keras", "tf-keras-nightly"),
    "setuptools": ("setuptools",),
}
"""The distributions that a module comes in."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        probe: the question.
        status: "affected", "not affected" or "cannot tell".
        evidence: what was measured, or why nothing could be.
    """

    probe: Probe
    status: Status
    evidence: str

    def as_dict(self) -> dict[str, str]:
        """Return it as plain values, with the words of the question."""
        words = asdict(self.probe)
        for how in ("in_processes", "of_tensorflow"):
            words.pop(how)
        return {**words, "status": self.status, "evidence": self.evidence}


@dataclass(frozen=True)
class Stack:
    """What is installed.

    Attributes:
        versions: by module, None where it is not installed.
        backend: of Keras, or why it could not be loaded.
        devices: those that Keras sees.
    """

    versions: Mapping[str, str | None]
    backend: str
    devices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "versions": dict(self.versions),
            "backend": self.backend,
            "devices": list(self.devices),
        }


def examine(
    ids: Iterable[str] = (),
    *,
    worker_seconds: float = WORKER_SECONDS,
    say: Callable[[Probe], None] | None = None,
) -> tuple[Finding, ...]:
    """Ask the installed stack; small models are trained in this process.

    Afterwards seeds, precision, warnings and the working folder are what they were, and
    no process is left behind.

    Args:
        ids: which questions, by id or name; by default all.
        worker_seconds: how long the two workers of A11 may take from their start;
            if they take longer, the answer is "cannot tell".
        say: called with each question before it is asked.

    Returns:
        The findings, in the order asked for.

    Raises:
        ValueError: an id is unknown; nothing was asked.

    Example:
        >>> (finding,) = examine(["A8"])
        >>> finding.status
        'affected'
    """
    chosen = list(dict.fromkeys(map(find_probe, ids))) or list(PROBES.values())
    found: dict[str, Finding] = {}
    with ExitStack() as stack:
        trials = {probe.id: _trial(probe, worker_seconds, stack) for probe in chosen}
        for probe in sorted(chosen, key=lambda probe: probe.in_processes):
            if say is not None:
                say(probe)
            found[probe.id] = judge(probe, trials[probe.id])
    return tuple(found[probe.id] for probe in chosen)


def judge(probe: Probe, trial: Callable[[], tuple[bool, str]]) -> Finding:
    """Return the finding of a trial: whether the stack is affected, and the evidence.

    An exception is not an answer: the status is then "cannot tell", and the evidence
    says why.
    """
    try:
        affected, evidence = trial()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        return Finding(probe, "cannot tell", _reason(error))
    return Finding(probe, "affected" if affected else "not affected", evidence)


def installed_stack() -> Stack:
    """Return what is installed. This loads Keras."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for module, names in _DISTRIBUTIONS.items():
        versions[module] = next(filter(None, map(_version, names)), None)
    try:
        import keras

        from tlcore.backend import seam

        # A nightly build installed over a release leaves the metadata of both.
        versions["keras"] = keras.__version__
        devices = tuple(seam.current().devices())
        return Stack(versions, keras.backend.backend(), devices)
    except Exception as error:  # noqa: BLE001 - a broken stack is what it looks for
        return Stack(versions, f"none ({_reason(error)})", ())


def _trial(
    probe: Probe, seconds: float, stack: ExitStack
) -> Callable[[], tuple[bool, str]]:
    if probe.of_tensorflow and chosen_backend() != "tensorflow":
        reason = f"it is a question to TensorFlow; Keras has {chosen_backend()} here"
        return partial(_raise, ValueError(reason))
    if not probe.in_processes:
        return partial(_try, probe)
    try:
        return stack.enter_context(TwoWorkers(seconds=seconds)).observe
    except OSError as error:
        return partial(_raise, error)


def _try(probe: Probe) -> tuple[bool, str]:
    from tlcore.doctor import probes

    experiment = getattr(probes, probe.name.replace("-", "_"))
    with probes.undisturbed():
        found: tuple[bool, str] = experiment()
    return found


def _raise(error: Exception) -> NoReturn:
    raise error


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:300]}".removesuffix(": ")
