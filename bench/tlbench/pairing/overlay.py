"""The suite of head on the checkout of base, so that both sides run the same cases.

Owns which files belong to a suite: its folders, the `conftest.py` files above them, and
pytest's configuration. Code under test is never copied: head would be compared with
itself.
"""

import configparser
import glob
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from tlbench.pairing import copying
from tlbench.pairing.packages import holds_package

CONFIGURATION = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)
"""The files that pytest reads its configuration from: the first with some counts."""


def find_suite(
    tree: Path, folder: PurePosixPath, paths: Iterable[str]
) -> tuple[PurePosixPath, ...]:
    """Return the files and folders of a suite, relative to the root of a checkout.

    Args:
        tree: the checkout of head.
        folder: where the command was given, relative to it.
        paths: paths relative to `folder`, maybe with node ids; if there are none, the
            `testpaths` of pytest's configuration.

    Raises:
        ValueError: there is neither a path nor `testpaths`, or nothing at a path.
    """
    given = [path.partition("::")[0] for path in paths]
    found = given or list(_testpaths(tree / folder))
    if not found:
        raise ValueError(
            "The suite must be named where pytest's configuration has no `testpaths`, "
            "or nothing is there. Received: no PATH. Pass the file or the folder of "
            "the suite as PATH."
        )
    suite = dict.fromkeys(PurePosixPath(normpath(folder / path)) for path in found)
    for path in tuple(suite):
        if not (tree / path).exists():
            raise ValueError(
                "A PATH must be a file or folder that git does not ignore. Received: "
                f"path={str(path)!r}, which is not in the checkout. Change "
                "`.gitignore`, or pass another PATH."
            )
        # What a link leads to belongs to the suite as well.
        real = (tree / path).resolve()
        if real.is_relative_to(tree):
            suite[PurePosixPath(real.relative_to(tree).as_posix())] = None
    return tuple(suite)


def overlaid(
    head: Path,
    base: Path,
    suite: Iterable[PurePosixPath],
    *,
    folder: PurePosixPath,
    packages: frozenset[PurePosixPath],
) -> tuple[PurePosixPath, ...]:
    """Put the suite of one checkout in the place of that of another.

    Args:
        head: the checkout that has the suite.
        base: the checkout that gets it.
        suite: files and folders, relative to the checkouts.
        folder: where pytest is started, relative to the checkouts.
        packages: folders of the code under test.

    Returns:
        What was replaced, relative to the checkouts.

    Raises:
        ValueError: a folder of the suite also holds code under test.
    """
    parts = find_parts(head, suite, packages)
    copied = dict.fromkeys(parts)
    places = {folder, *folder.parents}.union(*(part.parents for part in parts))
    for place in sorted(places):
        for name in ("conftest.py", *CONFIGURATION):
            if _differs(head / place / name, base / place / name):
                copied[place / name] = None
    for path in copied:
        copying.replace(head / path, base / path)
    return tuple(copied)


def find_parts(
    head: Path, suite: Iterable[PurePosixPath], packages: frozenset[PurePosixPath]
) -> tuple[PurePosixPath, ...]:
    """Return what is copied for a suite: each folder, and the folder of each file.

    A file of a suite imports from those next to it. Where those are code under test,
    the file must do alone.

    Raises:
        ValueError: a folder of the suite also holds code under test.
    """
    return tuple(dict.fromkeys(_part(head, path, packages) for path in suite))


def _part(
    head: Path, path: PurePosixPath, packages: frozenset[PurePosixPath]
) -> PurePosixPath:
    if not (head / path).is_dir():
        return path if holds_package(path.parent, packages) else path.parent
    package = holds_package(path, packages)
    if package is None:
        return path
    raise ValueError(
        "A suite must be in a folder of its own: it is copied from head to base, and "
        f"with the code under test head would be compared with itself. Received: "
        f"path={str(path)!r}, which holds {_name(package)}. Pass the files of the "
        "suite as PATH, or move them to a folder of their own."
    )


def _name(package: PurePosixPath) -> str:
    return f"{str(package)!r}" if package.parts else "the root of the repository"


def _differs(one: Path, other: Path) -> bool:
    if one.is_file() and other.is_file():
        return one.read_bytes() != other.read_bytes()
    return one.is_file() or other.is_file()


def _testpaths(folder: Path) -> Iterator[str]:
    """Yield the `testpaths` that pytest uses in a folder, in the order it has them."""
    for pattern in _configured(folder):
        # As pytest does it; `Path.glob` refuses ".".
        found = glob.iglob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
        yield from (Path(path).as_posix() for path in sorted(found))


def _configured(folder: Path) -> list[str]:
    for name in CONFIGURATION:
        path = folder / name
        if path.is_file():
            options = _options(path)
            if options is not None:
                value = options.get("testpaths", [])
                return shlex.split(value) if isinstance(value, str) else list(value)
    return []


def _options(path: Path) -> dict[str, Any] | None:
    """Return pytest's options in a file; None if it is not for pytest."""
    try:
        if path.suffix == ".toml":
            return _toml_options(path)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError) as error:
        raise ValueError(
            "pytest's configuration must be readable. Received: "
            f"{path.name!r} ({str(error).splitlines()[0]}). Correct it, or pass PATH."
        ) from error
    section = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    if parser.has_section(section):
        return dict(parser[section])
    return {} if path.name in {"pytest.ini", ".pytest.ini"} else None


def _toml_options(path: Path) -> dict[str, Any] | None:
    document = tomllib.loads(path.read_text("utf-8"))
    if path.name != "pyproject.toml":
        options = document.get("pytest", {})
        return options if isinstance(options, dict) else {}
    table = document.get("tool", {}).get("pytest")
    if not isinstance(table, dict):
        return None
    # `[tool.pytest]` since pytest 9, `[tool.pytest.ini_options]` before.
    options = table.get("ini_options", table)
    return options if isinstance(options, dict) else None
