"""The recorder: takes the values of one case while it runs.

Owns names that are given once and values that come in time; what makes a value valid is
in `record`.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterable, Mapping

from tlbench.record import (
    Better,
    CaseRecord,
    Exact,
    Metric,
    Outcome,
    Scalar,
    Timing,
    checked_exact,
    checked_memory,
    checked_metric,
    checked_timing,
)


class Recorder:
    """Takes the values of one case while it runs; the fixture `record` gives it.

    Every method raises ValueError for a name that was recorded before, for a value that
    is not finite or contradicts another, and once the case has ended.

    Args:
        case: the node id.
        version: of what the case does, until the case says otherwise.
    """

    def __init__(self, case: str, version: str = "") -> None:
        self.case = case
        self._version = version
        self._exact: dict[str, Exact] = {}
        self._costs: dict[str, Exact] = {}
        self._metrics: dict[str, tuple[Metric, ...]] = {}
        self._timings: dict[str, Timing] = {}
        self._memory: dict[str, int] = {}
        self._closed = False

    def version(self, version: str | int) -> None:
        """Say which version of the case this is.

        Figures are compared with those of the same version only. Without a word from
        the case it is made from the code of its function.
        """
        if isinstance(version, bool) or not isinstance(version, str | int):
            raise ValueError(
                "The version of a case must be a text or an integer. "
                f"Received: version={version!r}."
            )
        self._version = str(version)

    def exact(self, name: str, value: Scalar | Iterable[Scalar]) -> None:
        """Record a value that is the same in every run on every machine.

        Args:
            name: what the value is, unique in the case.
            value: a bool, int, str or finite float, or a list or tuple of those.
        """
        self._check_name(name)
        self._exact[name] = checked_exact(name, value)

    def cost(self, name: str, value: Scalar | Iterable[Scalar]) -> None:
        """Record a value that depends on the version of the framework only.

        It is compared, and must be equal, with what was accepted for the same
        versions; FLOPs, graph operations, traces and checkpoint bytes are such.

        Args:
            name: what the value is, unique in the case.
            value: a bool, int, str or finite float, or a list or tuple of those.
        """
        self._check_name(name)
        self._costs[name] = checked_exact(name, value)

    def metric(
        self,
        name: str,
        *,
        correct: int | None = None,
        n: int | None = None,
        value: float | None = None,
        seed: int | None = None,
        better: Better | None = None,
    ) -> None:
        """Record a measured quality: either `correct` out of `n`, or a `value`.

        The same quality of several seeds goes under one name.

        Args:
            name: what the quality is, unique in the case but for its seeds.
            correct: how many of `n` samples were right.
            n: how many samples were measured; optional beside `value`.
            value: a finite number, for a quality that is no proportion.
            seed: the seed of the measured run.
            better: "higher" or "lower". A proportion is better higher; for a value the
                default makes a change in either direction a finding.
        """
        entry = checked_metric(
            name, correct=correct, n=n, value=value, seed=seed, better=better
        )
        others = self._metrics.get(name, ()) if isinstance(name, str) else ()
        known = {other.seed for other in others}
        if seed is None or None in known or seed in known or self._closed:
            self._check_name(name)
        self._metrics[name] = (*others, entry)

    def timing(self, name: str, seconds: Iterable[float], *, warmup: int = 1) -> None:
        """Record the wall-clock durations of repeats.

        Args:
            name: what was timed, unique in the case.
            seconds: one duration per repeat, in seconds, in the order they ran.
            warmup: how many of the first repeats are kept apart as warm-up.
        """
        self._check_name(name)
        self._timings[name] = checked_timing(name, seconds, warmup)

    def memory(self, name: str, nbytes: int) -> None:
        """Record how much memory something took, such as the peak of a phase.

        Args:
            name: what took it, unique in the case.
            nbytes: bytes, more than 0.
        """
        self._check_name(name)
        self._memory[name] = checked_memory(name, nbytes)

    def close(self) -> None:
        """Refuse every later value: the case has ended and is about to be judged."""
        self._closed = True

    @property
    def has_timings(self) -> bool:
        """Whether the case timed something itself."""
        return bool(self._timings)

    def snapshot(self, outcome: Outcome) -> CaseRecord:
        """Give what was recorded so far as a value."""
        return CaseRecord(
            case=self.case,
            outcome=outcome,
            version=self._version,
            exact=dict(self._exact),
            costs=dict(self._costs),
            metrics=dict(self._metrics),
            timings=dict(self._timings),
            memory=dict(self._memory),
        )

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"A recorded value needs a name. Received: name={name!r}. "
                "Pass a text that is not blank."
            )
        if self._closed:
            raise ValueError(
                f"Values are recorded before the case ends. Received: name={name!r} "
                f"after the end of {self.case}. Record it in the case itself."
            )
        kinds: dict[str, Mapping[str, object]] = {
            "exact": self._exact,
            "cost": self._costs,
            "metric": self._metrics,
            "timing": self._timings,
            "memory": self._memory,
        }
        for kind, values in kinds.items():
            if name in values:
                raise ValueError(
                    f"A case records each name once. Received: name={name!r}, already "
                    f"recorded with record.{kind}. Give the second value another name."
                )


def version_of(function: object) -> str:
    """Return the version of a case: a digest of its function's code.

    Comments, the docstring, decorators and how it is set out do not count. Without
    code that can be read it is empty.
    """
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))  # type: ignore[arg-type]
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return ""
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return ""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    dumped = [ast.dump(tree.args), *(ast.dump(statement) for statement in body)]
    return hashlib.sha256("\n".join(dumped).encode()).hexdigest()[:12]
