"""Settings: what a project writes under `[tool.tlbench]` in its pyproject.toml.

Owns their names, their checks and their defaults. A misspelt name is refused, as it
would silently do nothing.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias

Answer: TypeAlias = Literal["", "warn", "fail", "ab"]


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
    """

    install: str = "pip install -e ."
    paths: tuple[str, ...] = ()
    budget: float = 300.0
    convict: bool = True
    unknown: Answer = ""


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
    return Settings(**_checked(table, path))


def _checked(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    known = {one.name for one in fields(Settings)}
    for name in table:
        if name not in known:
            close = get_close_matches(name, known, 1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"[tool.tlbench] in {path} must have known names only. Received: "
                f"{name!r}.{meant} The names are: {', '.join(sorted(known))}."
            )
    found = dict(table)
    _require(path, found, "install", _is_words, "a command, such as 'pip install -e .'")
    _require(path, found, "paths", _is_paths, "a list of paths, such as ['bench']")
    _require(path, found, "budget", _is_seconds, "a number of seconds above 0")
    _require(path, found, "convict", _is_flag, "true or false")
    _require(path, found, "unknown", _is_answer, "'warn', 'fail' or 'ab'")
    if "paths" in found:
        found["paths"] = tuple(found["paths"])
    return found


def _require(
    path: Path, table: Mapping[str, Any], name: str, valid: Any, what: str
) -> None:
    if name in table and not valid(table[name]):
        raise ValueError(
            f"{name} under [tool.tlbench] in {path} must be {what}. "
            f"Received: {name}={table[name]!r}."
        )


def _is_words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_answer(value: object) -> bool:
    return value in ("warn", "fail", "ab")  # not a set: any value may be given


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_paths(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_words, value))


def _is_seconds(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < float("inf")  # type: ignore[operator]
