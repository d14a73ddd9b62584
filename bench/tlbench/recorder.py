"""The recorder: takes the values of one case while it runs, for the fixture `record`.

Owns that a name is used once, that nothing is recorded after the case has ended, and
the version of a case's code. What makes a value valid is in `record`.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tlbench.clocks import Clock
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

BENCHMARK = "benchmark"
"""The name of the timing that is taken from the fixture of that name."""


class Recorder:
    """Takes the values of one case while it runs.

    Every method raises ValueError for a name that was recorded before, for a value that
    is not finite or contradicts another, and after the end of the case.

    Args:
        case: the node id.
        version: the version of the case, unless the case sets another.

    >>> recorder = Recorder("bench_head.py::bench_head")
    >>> recorder.exact("trainable_params", 12_810)
    >>> recorder.metric("val_accuracy", correct=141, n=150, seed=1)
    >>> recorder.timing("epoch", [9.0, 2.0, 2.1, 1.9])  # the first is warm-up
    >>> recorder.snapshot("passed").timings["epoch"].median
    2.0
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
        """Set the version of the case, which by default is a digest of its code.

        Figures are only compared with those of the same version.
        """
        if isinstance(version, bool) or not isinstance(version, str | int):
            raise ValueError(
                "version must be a string or an integer. "
                f"Received: version={version!r}. Pass for instance version=2."
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
        """Record a value that depends on nothing but the version of the framework.

        It must equal what was accepted for the same versions. Examples are FLOPs, graph
        operations, traces and checkpoint bytes.

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
        portable: bool = False,
    ) -> None:
        """Record a measured quality: either `correct` out of `n`, or a `value`.

        The same quality may be recorded once for each seed.

        Args:
            name: what the quality is, unique in the case except for its seeds.
            correct: how many of `n` samples were right.
            n: how many samples were measured; optional with `value`.
            value: a finite number, for a quality that is no proportion.
            seed: the seed of the measured run.
            better: "higher" or "lower". For a proportion the default is "higher"; for a
                value the default makes a change in either direction a finding.
            portable: whether it means the same on every machine, as an accuracy on
                generated images or the ratio of two timings of one run does. Then a
                machine without figures of its own judges it by those of others.
        """
        # The value first: a bad one is reported as such, also under a used name.
        entry = checked_metric(
            name,
            correct=correct,
            n=n,
            value=value,
            seed=seed,
            better=better,
            portable=portable,
        )
        others = self._metrics.get(name, ()) if isinstance(name, str) else ()
        if any(other.portable != portable for other in others):
            raise ValueError(
                "All seeds of a metric must be portable, or none. Received: "
                f"{name}: portable={portable!r}, and {not portable!r} before."
            )
        # Several entries are fine as long as each has a seed of its own.
        known = {other.seed for other in others}
        if seed is None or None in known or seed in known or self._closed:
            self._check_name(name)
        self._metrics[name] = (*others, entry)

    def timing(
        self,
        name: str,
        seconds: Iterable[float],
        *,
        warmup: int = 1,
        iterations: int | None = None,
        timer: str = "",
        cpu: Iterable[float] | None = None,
        portable: bool = False,
    ) -> None:
        """Record the durations of repeats, by default of wall-clock time.

        Timings of other iterations or by another timer are not compared.

        Args:
            name: what was timed, unique in the case.
            seconds: one duration per repeat, in seconds, in the order they ran.
            warmup: how many of the first repeats are kept apart as warm-up.
            iterations: how often each repeat did the work, if its duration is a mean.
            timer: the name of the clock, if it matters.
            cpu: the processor time of each repeat, in seconds: if the processor works
                most of the time, a change of it is a finding too.
            portable: refused, as a duration depends on the machine.
        """
        self._check_name(name)
        if portable:
            raise ValueError(
                "A portable figure must mean the same on every machine. Received: a "
                f"timing, {name!r}. Record the ratio of two timings of this run: "
                f"record.metric({name!r}, value=RATIO, portable=True)."
            )
        self._timings[name] = checked_timing(
            name, seconds, warmup, iterations=iterations, timer=timer, cpu=cpu
        )

    def metered(self, name: str, *, cpu: float, clocks: tuple[Clock, ...]) -> None:
        """Add to a timing its median processor time and what it is judged by."""
        self._timings[name] = replace(self._timings[name], cpu=cpu, clocks=clocks)

    def memory(self, name: str, nbytes: int) -> None:
        """Record how much memory was used, such as the peak of a phase.

        Args:
            name: what used it, unique in the case.
            nbytes: bytes, above 0.
        """
        self._check_name(name)
        self._memory[name] = checked_memory(name, nbytes)

    def close(self) -> None:
        """Refuse later values: the case has ended and is about to be judged."""
        self._closed = True

    @property
    def has_timings(self) -> bool:
        """Whether the case has recorded a timing."""
        return bool(self._timings)

    def snapshot(self, outcome: Outcome) -> CaseRecord:
        """Return what was recorded so far as a value."""
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
                f"name must be a string that is not blank. Received: name={name!r}. "
                "Say what the value is."
            )
        if self._closed:
            raise ValueError(
                f"A value must be recorded before the case ends. Received: "
                f"name={name!r} after the end of {self.case}. Record it in the case."
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
                    f"A case must record each name once. Received: name={name!r}, "
                    f"already recorded by record.{kind}. Choose another name for the "
                    "second value."
                )


def version_of(function: object) -> str:
    """Return the version of a case: a digest of its function's code.

    Comments, docstring, decorators and layout do not matter; helper functions that it
    calls do not either. It is "" for a function whose source cannot be read.
    """
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))  # type: ignore[arg-type]
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return ""
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return ""
    # The syntax tree, not the text: a reformatted case is the same case.
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    dumped = [_dumped(tree.args), *map(_dumped, body)]
    return hashlib.sha256("\n".join(dumped).encode()).hexdigest()[:12]


def _dumped(node: object) -> str:
    """Return a syntax tree as text that every version of Python writes the same."""
    # Not `ast.dump`: versions differ in which empty fields there are and are written,
    # and a portable figure is compared between machines with any of them.
    if isinstance(node, list):
        return f"[{','.join(map(_dumped, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    shown = [
        f"{name}={_dumped(value)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return f"{type(node).__name__}({','.join(shown)})"
