"""What one case of one run left behind.

Owns the values a case can leave (exact values, metrics, timings), what makes each of
them valid, their JSON form with its schema version, and how exact values compare with
accepted ones. It knows neither pytest nor files, and judges no timing and no metric.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

# History of the schema of every file that holds records or exact values.
# 1: exact values, metrics, timings.
SCHEMA = 1

Scalar: TypeAlias = bool | int | float | str
Exact: TypeAlias = Scalar | tuple[Scalar, ...]

# "regression" is a case that ran to its end and whose only failure is an exact value.
Outcome: TypeAlias = Literal["passed", "regression", "failed", "skipped", "xfailed"]
Verdict: TypeAlias = Literal["pass", "regression", "missing"]

# The 0.975 quantile of the standard normal distribution: 95 %, two-sided.
_Z95 = statistics.NormalDist().inv_cdf(0.975)

_WHY_NOT_JUDGED: Mapping[Outcome, str] = {
    "failed": "the case failed",
    "skipped": "the case was skipped",
    "xfailed": "the case failed, as its xfail mark expects",
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measured quality.

    Attributes:
        value: the quality; for a proportion `correct / n`.
        n: how many samples it was measured on.
        correct: how many of the `n` samples were right; None if not a proportion.
        seed: the seed of the run that was measured.
    """

    value: float
    n: int | None = None
    correct: int | None = None
    seed: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson score interval of a proportion, None for any other metric.

        Source: E. B. Wilson, "Probable inference, the law of succession, and
        statistical inference", J. Am. Stat. Assoc. 22 (1927), 209-212.
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
        seconds: the timed repeats, in the order they ran; at least one.
        warmup: the repeats before them, which no figure is computed from.
    """

    seconds: tuple[float, ...]
    warmup: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The median of the timed repeats, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """What one case left in one run; `case` is its node id relative to the rootdir."""

    case: str
    outcome: Outcome
    exact: Mapping[str, Exact] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    timings: Mapping[str, Timing] = field(default_factory=dict)


class Recorder:
    """Takes the values of one case while it runs; the fixture `record` gives it.

    Every method raises ValueError for a name that was recorded before, for a value that
    is not finite or contradicts another, and once the case has ended.
    """

    def __init__(self, case: str) -> None:
        self.case = case
        self._exact: dict[str, Exact] = {}
        self._metrics: dict[str, Metric] = {}
        self._timings: dict[str, Timing] = {}
        self._closed = False

    def exact(self, name: str, value: Scalar | Iterable[Scalar]) -> None:
        """Record a value that is the same in every run on every machine.

        Args:
            name: what the value is, unique in the case.
            value: a bool, int, str or finite float, or a list or tuple of those.
        """
        self._check_name(name)
        self._exact[name] = _exact(name, value)

    def metric(
        self,
        name: str,
        *,
        correct: int | None = None,
        n: int | None = None,
        value: float | None = None,
        seed: int | None = None,
    ) -> None:
        """Record a measured quality: either `correct` out of `n`, or a `value`.

        Args:
            name: what the quality is, unique in the case.
            correct: how many of `n` samples were right.
            n: how many samples were measured; optional beside `value`.
            value: a finite number, for a quality that is no proportion.
            seed: the seed of the measured run.
        """
        self._check_name(name)
        self._metrics[name] = _metric(name, correct, n, value, seed)

    def timing(self, name: str, seconds: Iterable[float], *, warmup: int = 1) -> None:
        """Record the wall-clock durations of repeats.

        Args:
            name: what was timed, unique in the case.
            seconds: one duration per repeat, in seconds, in the order they ran.
            warmup: how many of the first repeats are kept apart as warm-up.
        """
        self._check_name(name)
        self._timings[name] = _timing(name, seconds, warmup)

    def close(self) -> None:
        """Refuse every later value: the case has ended and is about to be judged."""
        self._closed = True

    def snapshot(self, outcome: Outcome) -> CaseRecord:
        """Give what was recorded so far as a value."""
        return CaseRecord(
            case=self.case,
            outcome=outcome,
            exact=dict(self._exact),
            metrics=dict(self._metrics),
            timings=dict(self._timings),
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
            "metric": self._metrics,
            "timing": self._timings,
        }
        for kind, values in kinds.items():
            if name in values:
                raise ValueError(
                    f"A case records each name once. Received: name={name!r}, already "
                    f"recorded with record.{kind}. Give the second value another name."
                )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The names of a case's exact values, by how they compare with accepted ones."""

    equal: tuple[str, ...]
    differing: tuple[str, ...]
    new: tuple[str, ...]  # recorded, without a baseline
    lost: tuple[str, ...]  # in the baseline, not recorded


@dataclass(frozen=True)
class Finding:
    """One reason why a case does not pass."""

    verdict: Literal["regression", "missing"]
    why: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.why}"


def compare(
    exact: Mapping[str, Exact], accepted: Mapping[str, Exact] | None
) -> Comparison:
    """Compare exact values with accepted ones: equal means the same type and value."""
    known = accepted or {}
    shared = [name for name in exact if name in known]
    return Comparison(
        equal=tuple(name for name in shared if _same(exact[name], known[name])),
        differing=tuple(name for name in shared if not _same(exact[name], known[name])),
        new=tuple(name for name in exact if name not in known),
        lost=tuple(name for name in known if name not in exact),
    )


def differences(
    exact: Mapping[str, Exact], accepted: Mapping[str, Exact] | None
) -> tuple[str, ...]:
    """Say, value by value, which exact values differ from the accepted ones."""
    return tuple(
        f"{name}: expected {(accepted or {})[name]!r}, received {exact[name]!r}"
        for name in compare(exact, accepted).differing
    )


def findings(
    record: CaseRecord, accepted: Mapping[str, Exact] | None
) -> tuple[Finding, ...]:
    """Judge one record against the accepted exact values of its case.

    Args:
        record: what the case left.
        accepted: the accepted exact values; None if the case has no baseline.

    Returns:
        The findings, regressions first. None at all is the verdict `pass`: the case
        passed, every exact value equals its baseline and nothing lacks one.
    """
    found = [
        Finding("regression", sentence)
        for sentence in differences(record.exact, accepted)
    ]
    if record.outcome in _WHY_NOT_JUDGED:
        return (*found, Finding("missing", _WHY_NOT_JUDGED[record.outcome]))
    names = compare(record.exact, accepted)
    if not (record.exact or record.metrics or record.timings or names.lost):
        found.append(Finding("missing", "nothing was recorded"))
    if record.exact and accepted is None:
        found.append(Finding("missing", "no baseline for this case"))
    elif names.new:
        found.append(Finding("missing", f"no baseline for {', '.join(names.new)}"))
    if names.lost:
        found.append(Finding("missing", f"not recorded: {', '.join(names.lost)}"))
    if record.metrics or record.timings:
        found.append(Finding("missing", "no baseline for this machine"))
    return tuple(found)


def verdict_of(found: Iterable[Finding]) -> Verdict:
    """Give the gravest verdict of a case's findings; without any it is `pass`."""
    verdicts = {finding.verdict for finding in found}
    if "regression" in verdicts:
        return "regression"
    return "missing" if verdicts else "pass"


def exact_from_json(data: Mapping[str, Any]) -> dict[str, Exact]:
    """Read exact values from their JSON form; ValueError if one is not valid."""
    return {name: _exact(name, value) for name, value in data.items()}


def record_to_json(record: CaseRecord) -> dict[str, Any]:
    """Give the JSON form of a record, without the case it stands under."""
    return {
        "outcome": record.outcome,
        "exact": dict(record.exact),
        "metrics": {name: _present(m) for name, m in record.metrics.items()},
        "timings": {
            name: {"seconds": timing.seconds, "warmup": timing.warmup}
            for name, timing in record.timings.items()
        },
    }


def record_from_json(case: str, data: Mapping[str, Any]) -> CaseRecord:
    """Read a record from its JSON form.

    Raises:
        ValueError: a value is not valid.
        KeyError, TypeError, AttributeError: the data do not have the form of a record.
    """
    if data["outcome"] not in get_args(Outcome):
        raise ValueError(
            f"An outcome must be one of {', '.join(get_args(Outcome))}. "
            f"Received: outcome={data['outcome']!r}."
        )
    return CaseRecord(
        case=case,
        outcome=data["outcome"],
        exact=exact_from_json(data["exact"]),
        metrics={
            name: _metric(
                name,
                metric.get("correct"),
                metric.get("n"),
                metric["value"] if "correct" not in metric else None,
                metric.get("seed"),
            )
            for name, metric in data["metrics"].items()
        },
        timings={
            name: _timing(
                name, [*timing["warmup"], *timing["seconds"]], len(timing["warmup"])
            )
            for name, timing in data["timings"].items()
        },
    )


def _same(left: Exact, right: Exact) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    # True == 1 == 1.0 in Python, but a count that became a flag is a change.
    return type(left) is type(right) and left == right


def _present(metric: Metric) -> dict[str, int | float]:
    return {name: value for name, value in vars(metric).items() if value is not None}


def _exact(name: str, value: object) -> Exact:
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
    """Give the plain Python value of `value`, which may be a NumPy number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    return None


def _metric(
    name: str,
    correct: int | None,
    n: int | None,
    value: float | None,
    seed: int | None,
) -> Metric:
    given = f"{name}: correct={correct!r}, n={n!r}, value={value!r}, seed={seed!r}"
    if (correct is None) == (value is None) or (correct is not None and n is None):
        raise ValueError(
            "A metric is either correct= with n=, or value=. "
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
        return Metric(value=int(correct) / n, n=n, correct=int(correct), seed=seed)
    if not _is_number(value):
        raise ValueError(
            f"The value of a metric must be a finite number. Received: {given}. "
            "A run that diverged is a failure of the case: let it fail."
        )
    return Metric(value=float(value), n=n, seed=seed)


def _timing(name: str, seconds: Iterable[float], warmup: int) -> Timing:
    if not _is_integer(warmup) or warmup < 0:
        raise ValueError(
            "warmup is how many of the first repeats to keep apart, 0 or more. "
            f"Received: {name}: warmup={warmup!r}."
        )
    repeats = tuple(seconds) if isinstance(seconds, Iterable) else (None,)
    if not all(_is_number(repeat) and repeat >= 0 for repeat in repeats):
        raise ValueError(
            "A timing is a sequence of finite seconds, none negative. "
            f"Received: {name}={seconds!r}. Pass one duration per repeat."
        )
    if len(repeats) <= warmup:
        raise ValueError(
            "A timing needs at least one repeat after its warm-up. "
            f"Received: {name}={seconds!r}, warmup={warmup}. "
            "Time more repeats or lower warmup."
        )
    plain = tuple(float(repeat) for repeat in repeats if repeat is not None)
    return Timing(seconds=plain[warmup:], warmup=plain[:warmup])


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and math.isfinite(value)  # type: ignore[arg-type]
