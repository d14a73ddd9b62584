"""Settings: what a project writes under `[tool.tlbench]` in its pyproject.toml.

Owns their names, their checks and their defaults. A misspelt name is refused, as it
would silently do nothing. What the limits mean is in `verdicts.limits`.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from tlbench.verdicts.limits import DEFAULT, ClockChoice, Limits, Policy, Rule

Answer: TypeAlias = Literal["", "warn", "fail", "ab"]

LARGEST_FRACTION = 10.0
"""A larger `largest_detectable` is a number of percent, not a fraction."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a project.

    Attributes:
        install: the command that installs the project in a fresh environment.
        paths: the suites that `tlbench ab` compares, relative to the pyproject.toml.
        budget: the seconds that a comparison may take.
        convict: whether `--tl-gate` compares suspects with their accepted commit.
        unknown: what `--tl-gate` does on a machine without any accepted figure; ""
            compares with a base commit where there is one, and else fails.
        policy: what each case is judged by.
    """

    install: str = "pip install -e ."
    paths: tuple[str, ...] = ()
    budget: float = 300.0
    convict: bool = True
    unknown: Answer = ""
    policy: Policy = DEFAULT


def read_settings(folder: Path) -> Settings:
    """Return the settings of the project in a folder; the defaults without a file.

    Raises:
        ValueError: the file is no TOML, a name is unknown, or a value is not valid.

    Example:
        >>> read_settings(Path("nowhere")).budget
        300.0
    """
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be valid TOML. Received: {error}. Correct it."
        ) from error
    table = document.get("tool", {}).get("tlbench", {})
    if not isinstance(table, dict):
        raise ValueError(
            f"[tool.tlbench] in {path} must be a table. Received: {table!r}."
        )
    place = f"[tool.tlbench] in {path}"
    found = _checked(table, _PROJECT, place)
    default = _limits(found, DEFAULT.default, place)
    rules = tuple(_rules(found, default, path))
    if "paths" in found:
        found["paths"] = tuple(found["paths"])
    own = {x.name for x in fields(Settings)} & found.keys()
    return Settings(
        **{name: found[name] for name in own},
        policy=Policy(default=default, rules=rules),
    )


def _rules(found: Mapping[str, Any], default: Limits, path: Path) -> Iterator[Rule]:
    for pattern in found.get("ignore", ()):
        yield Rule(pattern=pattern, changes={"ignore": True})
    for number, table in enumerate(found.get("case", ()), 1):
        place = f"[[tool.tlbench.case]] number {number} in {path}"
        changes = _checked(table, _CASE, place)
        pattern = changes.pop("pattern", None)
        if pattern is None or not changes:
            missing = "pattern" if pattern is None else "limit"
            raise ValueError(
                f"{place} must have a pattern and at least one of "
                f"{', '.join(sorted(_CASE.keys() - {'pattern'}))}. "
                f"Received: {table!r}. Add a {missing}, or remove the table."
            )
        _limits(changes, default, place)
        yield Rule(pattern=pattern, changes=changes)


def _limits(found: Mapping[str, Any], limits: Limits, place: str) -> Limits:
    """Return limits with those that are set, which must leave room for a pass."""
    names = ("practical_size", "largest_detectable", "clock")
    after = replace(limits, **{name: found[name] for name in names if name in found})
    small, large = after.practical_size, after.largest_detectable
    if small >= large:
        raise ValueError(
            f"practical_size under {place} must be smaller than largest_detectable, or "
            f"no case could pass. Received: practical_size={small!r}, "
            f"largest_detectable={large!r}. Change one of the two."
        )
    return after


@dataclass(frozen=True)
class _Check:
    """What a setting must be: a test, and its words."""

    is_valid: Callable[[Any], bool]
    what: str


def _checked(
    table: Mapping[str, Any], checks: Mapping[str, _Check], place: str
) -> dict[str, Any]:
    """Return the settings in a table; ValueError if one is unknown or not valid."""
    for name, value in table.items():
        if name not in checks:
            close = get_close_matches(name, checks, 1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{place} must have known names only. Received: "
                f"{name!r}.{meant} The names are: {', '.join(sorted(checks))}."
            )
        if not checks[name].is_valid(value):
            raise ValueError(
                f"{name} under {place} must be {checks[name].what}. "
                f"Received: {name}={value!r}."
            )
    return dict(table)


def _is_words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_answer(value: object) -> bool:
    return value in ("warn", "fail", "ab")  # not a set: any value may be given


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_list_of_words(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_words, value))


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 < value <= LARGEST_FRACTION


def _is_clock(value: object) -> bool:
    return isinstance(value, str) and value in get_args(ClockChoice)


_Checks: TypeAlias = Mapping[str, _Check]

_LIMITS: _Checks = {
    "practical_size": _Check(
        _is_share, "a fraction of 0 or more and below 1, such as 0.02 for 2 %"
    ),
    "largest_detectable": _Check(
        _is_fraction,
        f"a fraction above 0 and at most {LARGEST_FRACTION:g}, such as 0.5 for 50 %",
    ),
    "clock": _Check(_is_clock, "one of 'auto', 'cpu' and 'wall'"),
}

_PROJECT: _Checks = {
    "install": _Check(_is_words, "a command, such as 'pip install -e .'"),
    "paths": _Check(_is_list_of_words, "a list of paths, such as ['bench']"),
    "budget": _Check(_is_seconds, "a number of seconds above 0"),
    "convict": _Check(_is_flag, "true or false"),
    "unknown": _Check(_is_answer, "'warn', 'fail' or 'ab'"),
    **_LIMITS,
    "ignore": _Check(_is_list_of_words, "a list of patterns, such as ['*::test_io*']"),
    "case": _Check(_is_tables, "an array of tables: [[tool.tlbench.case]]"),
}

_CASE: _Checks = {
    "pattern": _Check(_is_words, "a pattern of case names, such as '*::test_io*'"),
    **_LIMITS,
    "ignore": _Check(_is_flag, "true or false"),
}
