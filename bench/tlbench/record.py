"""Records: the values that one case left in one run.

Owns the kinds of values (exact values, costs, metrics, timings, memory), what makes
each of them valid, and their JSON form with its schema version. It knows neither pytest
nor files, and judges nothing.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeGuard, TypeVar, get_args

from tlbench.clocks import WORKING, Clock

# History of the schema of every file that holds records or exact values.
# 1: exact values, metrics, timings.
# 2: costs, memory, the version of a case; a metric is a list, one entry per seed;
#    a timing keeps a sample of its repeats, with their number and their median. Since
#    then optional, as older versions may leave them out and skip them: iterations,
#    timer, cpu and clocks of a timing; the branch of a run.
SCHEMA = 2

SAMPLES = 32
"""How many repeats of a timing are kept; from more, every n-th by size."""

Scalar: TypeAlias = bool | int | float | str
Exact: TypeAlias = Scalar | tuple[Scalar, ...]

# "regression": the case ran to its end, and an exact value is all that failed.
Outcome: TypeAlias = Literal["passed", "regression", "failed", "skipped", "xfailed"]
Better: TypeAlias = Literal["higher", "lower"]
_Choice = TypeVar("_Choice", bound=str)

_ALWAYS = {"seconds", "median", "count", "warmup"}
"""What the JSON form of a timing always has."""

# The 0.975 quantile of the standard normal distribution: 95 %, two-sided.
_Z95 = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measured quality.

    Attributes:
        value: the quality; for a proportion `correct / n`.
        n: the number of samples it was measured on.
        correct: how many of the `n` samples were right; None if it is no proportion.
        seed: the seed of the run that was measured.
        better: which change is an improvement; None makes every change a finding.
        portable: whether it means the same on every machine, so that runs of other
            machines say what to expect.
    """

    value: float
    n: int | None = None
    correct: int | None = None
    seed: int | None = None
    better: Better | None = None
    portable: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson score interval of a proportion, None for any other metric.

        Source: E. B. Wilson, "Probable inference, the law of succession, and
        statistical inference", J. Am. Stat. Assoc. 22 (1927), 209-212. By hand, as
        `scipy.stats`, which has it, takes most of a second to import, and every
        session prints it.

        >>> low, high = Metric(value=0.94, correct=141, n=150).interval
        >>> round(low, 4), round(high, 4)
        (0.8899, 0.9681)
        """
        if self.correct is None or self.n is None:
            return None
        share, spread = self.correct / self.n, _Z95**2 / self.n
        centre = (share + spread / 2) / (1 + spread)
        half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall-clock durations of repeats, in seconds.

    Attributes:
        seconds: the timed repeats in the order they ran, or a sample of `SAMPLES`.
        median: the median of all timed repeats.
        count: how many timed repeats there were.
        warmup: the repeats before them, which no figure is computed from.
        iterations: how often the work was done in each repeat; None if not known.
        timer: the name of the clock; "" if not known.
        cpu: the median processor time of a repeat, in seconds; None if not known.
        clocks: those that it is judged by; wall time alone if there are none.
    """

    seconds: tuple[float, ...]
    median: float
    count: int
    warmup: tuple[float, ...] = ()
    iterations: int | None = None
    timer: str = ""
    cpu: float | None = None
    clocks: tuple[Clock, ...] = ()

    def unlike(self, iterations: int | None, timer: str) -> tuple[str, str] | None:
        """Return how it was timed and how another was, None if alike as far as known.

        >>> Timing(seconds=(1.0,), median=1.0, count=1, iterations=3).unlike(1, "")
        ('with 3 iterations a round', 'with 1')
        """
        if self.timer and timer and self.timer != timer:
            return f"by {self.timer}", f"with {timer}"
        if self.iterations and iterations and self.iterations != iterations:
            word = "iteration" if self.iterations == 1 else "iterations"
            return f"with {self.iterations} {word} a round", f"with {iterations}"
        return None


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """The values that one case left in one run, by name.

    Attributes:
        case: its node id, relative to the rootdir.
        outcome: how it ended.
        version: the version of its code; figures of two versions are not compared.
        exact: values that are the same in every run on every machine.
        costs: values that depend on nothing but the framework's version.
        metrics: qualities, one entry per seed.
        timings: durations in seconds.
        memory: sizes in bytes.
    """

    case: str
    outcome: Outcome
    version: str = ""
    exact: Mapping[str, Exact] = field(default_factory=dict)
    costs: Mapping[str, Exact] = field(default_factory=dict)
    metrics: Mapping[str, tuple[Metric, ...]] = field(default_factory=dict)
    timings: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that something was recorded under."""
        kinds = (self.exact, self.costs, self.metrics, self.timings, self.memory)
        return tuple(name for kind in kinds for name in kind)


def exact_from_json(data: Mapping[str, Any]) -> dict[str, Exact]:
    """Return exact values from their JSON form; ValueError if one is not valid."""
    return {name: checked_exact(name, value) for name, value in data.items()}


def record_to_json(record: CaseRecord) -> dict[str, Any]:
    """Return the JSON form of a record, without the case, which is its key."""
    return {
        "outcome": record.outcome,
        "version": record.version,
        "exact": dict(record.exact),
        "costs": dict(record.costs),
        "metrics": {
            name: [_present(entry) for entry in entries]
            for name, entries in record.metrics.items()
        },
        "timings": {
            name: {k: x for k, x in vars(timing).items() if k in _ALWAYS or x}
            for name, timing in record.timings.items()
        },
        "memory": dict(record.memory),
    }


def record_from_json(case: str, data: Mapping[str, Any]) -> CaseRecord:
    """Return a record from its JSON form, of this schema or an older one.

    Raises:
        ValueError: a value is not valid.
        KeyError, TypeError, AttributeError: the data do not have the form of a record.
    """
    return CaseRecord(
        case=case,
        outcome=one_of("outcome", data["outcome"], get_args(Outcome)),
        version=str(data.get("version", "")),
        exact=exact_from_json(data["exact"]),
        costs=exact_from_json(data.get("costs", {})),
        metrics={
            name: metrics_from_json(name, entries)
            for name, entries in data["metrics"].items()
        },
        timings={
            name: timing_from_json(name, timing)
            for name, timing in data["timings"].items()
        },
        memory={
            name: checked_memory(name, nbytes)
            for name, nbytes in data.get("memory", {}).items()
        },
    )


def one_of(name: str, value: object, known: Sequence[_Choice]) -> _Choice:
    """Return a value that must be one of some words.

    Raises:
        ValueError: it is another; the message lists the known ones.
    """
    for word in known:
        if value == word:
            return word
    raise ValueError(
        f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}."
    )


def metrics_from_json(name: str, data: Any) -> tuple[Metric, ...]:
    """Return the entries of one metric; before schema 2 there was only one.

    Raises:
        ValueError: a value is not valid, or there are no entries.
    """
    if data == []:
        raise ValueError(f"{name}: a metric without a value")
    return tuple(
        checked_metric(
            name,
            correct=entry.get("correct"),
            n=entry.get("n"),
            value=entry["value"] if "correct" not in entry else None,
            seed=entry.get("seed"),
            better=entry.get("better"),
            portable=entry.get("portable", False),
        )
        for entry in (data if isinstance(data, list) else [data])
    )


def timing_from_json(name: str, data: Mapping[str, Any]) -> Timing:
    """Return a timing; before schema 2 all repeats were kept."""
    warmup = len(data["warmup"])
    timing = checked_timing(
        name,
        [*data["warmup"], *data["seconds"]],
        warmup,
        iterations=data.get("iterations"),
        timer=data.get("timer", ""),
    )
    cpu, clocks = data.get("cpu"), data.get("clocks", ())
    if cpu is not None:
        judged = tuple(one_of("clock", one, get_args(Clock)) for one in clocks)
        timing = replace(timing, cpu=_checked_cpu(name, cpu), clocks=judged)
    if "median" not in data:
        return timing
    if not _is_number(data["median"]) or not _is_integer(data["count"]):
        raise ValueError(f"{name}: median={data['median']!r}, count={data['count']!r}")
    return replace(timing, median=float(data["median"]), count=int(data["count"]))


def _present(metric: Metric) -> dict[str, int | float | str]:
    # A flag that is not set is left out too; 0 of n is not.
    return {k: x for k, x in vars(metric).items() if x is not None and x is not False}


def checked_exact(name: str, value: object) -> Exact:
    """Return an exact value or cost as plain Python values.

    Raises:
        ValueError: it is not a bool, int, str or finite float, or a list of those.
    """
    values = value if isinstance(value, list | tuple) else (value,)
    scalars = tuple(_scalar(one) for one in values)
    if any(scalar is None for scalar in scalars):
        raise ValueError(
            "An exact value must be a bool, int, str or finite float, or a list or "
            f"tuple of those. Received: {name}={value!r}. "
            "Convert it, or record a measured number with record.metric."
        )
    found = tuple(scalar for scalar in scalars if scalar is not None)
    return found if isinstance(value, list | tuple) else found[0]


def _scalar(value: object) -> Scalar | None:
    """Return the plain Python value of `value`, which may be a NumPy number."""
    # bool first, as it is an Integral; the others through the abstract classes, which
    # NumPy's scalars belong to, so that no NumPy is imported.
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    return None


def checked_metric(
    name: str,
    *,
    correct: int | None,
    n: int | None,
    value: float | None,
    seed: int | None,
    better: Better | None,
    portable: bool = False,
) -> Metric:
    """Return a metric: a proportion of counts, or a value.

    Raises:
        ValueError: the arguments contradict each other or are not finite.
    """
    if better is not None:
        one_of("better", better, get_args(Better))
    if not isinstance(portable, bool):
        raise ValueError(
            "portable must be True or False. "
            f"Received: {name}: portable={portable!r}. Pass True for what means the "
            "same on every machine."
        )
    given = f"{name}: correct={correct!r}, n={n!r}, value={value!r}, seed={seed!r}"
    if (correct is None) == (value is None) or (correct is not None and n is None):
        raise ValueError(
            "A metric must have either correct= with n=, or value=. "
            f"Received: {given}. Pass one of the two."
        )
    counts = [count for count in (correct, n, seed) if count is not None]
    if not all(_is_integer(count) for count in counts) or (n is not None and n < 1):
        raise ValueError(
            "correct, n and seed of a metric must be integers, and n at least 1. "
            f"Received: {given}."
        )
    n = None if n is None else int(n)
    seed = None if seed is None else int(seed)
    if correct is not None and n is not None:
        if not 0 <= correct <= n:
            raise ValueError(
                f"correct must lie between 0 and n. Received: {given}. "
                "Count each sample once."
            )
        better = better or "higher"
        correct = int(correct)
        return Metric(
            value=correct / n,
            n=n,
            correct=correct,
            seed=seed,
            better=better,
            portable=portable,
        )
    if not _is_number(value):
        raise ValueError(
            f"The value of a metric must be a finite number. Received: {given}. "
            "A run that diverged is a failure of the case: let it fail."
        )
    return Metric(value=float(value), n=n, seed=seed, better=better, portable=portable)


def checked_timing(
    name: str,
    seconds: Iterable[float],
    warmup: int,
    *,
    iterations: int | None = None,
    timer: str = "",
    cpu: Iterable[float] | None = None,
) -> Timing:
    """Return a timing of repeats, the first `warmup` of them kept apart.

    Raises:
        ValueError: a duration is negative or not finite, none is left after the
            warm-up, iterations or timer are of another kind, or there is not one
            processor time for each duration.
    """
    count = iterations is None or (_is_integer(iterations) and iterations > 0)
    if not count or not isinstance(timer, str):
        raise ValueError(
            "iterations must be how often the work is done in each repeat, 1 or more, "
            f"and timer a name. Received: {name}: iterations={iterations!r}, "
            f"timer={timer!r}."
        )
    if not _is_integer(warmup) or warmup < 0:
        raise ValueError(
            "warmup must be how many of the first repeats to keep apart, 0 or more. "
            f"Received: {name}: warmup={warmup!r}."
        )
    # A single number gets the same message as a sequence of something else.
    repeats = tuple(seconds) if isinstance(seconds, Iterable) else (None,)
    if not all(_is_number(repeat) and repeat >= 0 for repeat in repeats):
        raise ValueError(
            "A timing must be a sequence of finite seconds, none negative. "
            f"Received: {name}={seconds!r}. Pass one duration per repeat."
        )
    if len(repeats) <= warmup:
        raise ValueError(
            "A timing must have at least one repeat after its warm-up. "
            f"Received: {name}={seconds!r}, warmup={warmup}. "
            "Time more repeats or lower warmup."
        )
    plain = tuple(float(repeat) for repeat in repeats if repeat is not None)
    timed = plain[warmup:]
    work = _checked_work(name, cpu, plain)[warmup:] if cpu is not None else ()
    shares = [used / wall for used, wall in zip(work, timed, strict=bool(work)) if wall]
    # Who did that work is not known: while the machine is busy, less of it shows.
    busy = bool(shares) and statistics.median(shares) >= WORKING
    return Timing(
        seconds=_sample(timed),
        median=statistics.median(timed),
        count=len(timed),
        warmup=_sample(plain[:warmup]),
        iterations=None if iterations is None else int(iterations),
        timer=timer,
        cpu=statistics.median(work) if work else None,
        clocks=("cpu", "wall") if busy else ("wall",) if work else (),
    )


def _checked_work(
    name: str, cpu: Iterable[float], seconds: Sequence[float]
) -> tuple[float, ...]:
    found = tuple(cpu) if isinstance(cpu, Iterable) else ()
    if len(found) != len(seconds) or not all(_is_number(x) and x >= 0 for x in found):
        raise ValueError(
            "cpu must have the processor time of each repeat, in seconds, none "
            f"negative. Received: {name}: {len(seconds)} repeats, cpu={cpu!r}."
        )
    return tuple(map(float, found))


def _checked_cpu(name: str, cpu: object) -> float:
    if not _is_number(cpu) or cpu < 0:
        raise ValueError(f"{name}: cpu={cpu!r}")
    return float(cpu)


def _sample(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return at most `SAMPLES` of the values, evenly spaced by size, in their order."""
    # Evenly by size rather than by time, so that the smallest, the median and the
    # largest survive.
    if len(values) <= SAMPLES:
        return values
    by_size = sorted(range(len(values)), key=values.__getitem__)
    last = len(values) - 1
    kept = {by_size[round(i * last / (SAMPLES - 1))] for i in range(SAMPLES)}
    return tuple(values[i] for i in sorted(kept))


def checked_memory(name: str, nbytes: object) -> int:
    """Return a number of bytes.

    Raises:
        ValueError: it is not an integer above 0.
    """
    if not _is_integer(nbytes) or nbytes < 1:
        raise ValueError(
            f"Memory must be a number of bytes above 0. Received: {name}={nbytes!r}."
        )
    return int(nbytes)


LARGEST_FIGURE = 1e100
"""Beyond all that is measured; squares of larger numbers fit into no float."""
_LARGEST_COUNT = 2**63
"""Beyond all that is counted; larger whole numbers fit into no float."""


def _is_integer(value: object) -> TypeGuard[int]:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and -_LARGEST_COUNT < int(value) < _LARGEST_COUNT  # type: ignore[call-overload]


def _is_number(value: object) -> TypeGuard[float]:
    real = isinstance(value, Real) and not isinstance(value, bool)
    # So, and not by `isfinite`, which fails on a whole number that fits into no float.
    return real and -LARGEST_FIGURE < value < LARGEST_FIGURE  # type: ignore[operator]
