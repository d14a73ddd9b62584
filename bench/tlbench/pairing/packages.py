"""Where the code under test is in a checkout, so that no suite is copied over it.

Asks the environment what was installed from the checkout, and reads the files of the
projects, as an installer need not say which folders it took.
"""

import configparser
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tlbench.pairing.environments import ask

SUITE_NAMES = frozenset(
    {
        *("asv_bench", "bench", "benches", "benchmark", "benchmarks"),
        *("perf", "performance", "suite", "suites", "test", "tests"),
    }
)
"""Names of folders that hold no code under test, also where they are installed.

`find_packages()` of setuptools takes `tests` along wherever nobody excludes it.
"""

_PROBE = """
import importlib.metadata, importlib.util, json, re, sys
names, places = set(), set()
for found in importlib.metadata.distributions():
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if "dir_info" in origin:
        own = {re.sub("[-.]+", "_", found.metadata["Name"])}
        own |= set((found.read_text("top_level.txt") or "").split())
        files = [file.parts for file in found.files or () if file.suffix == ".py"]
        own |= {parts[0].split(".")[0] for parts in files if parts[0] != ".."}
        names |= own
for name in names:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        continue
    if spec is not None:
        places |= set(spec.submodule_search_locations or [spec.origin])
print(json.dumps([sorted(names), sorted(filter(None, places))]))
"""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an environment has of a checkout.

    Attributes:
        names: of distributions and of the modules that they bring.
        places: files and folders in the checkout that are imported from there,
            relative to its root.
    """

    names: frozenset[str] = frozenset()
    places: frozenset[PurePosixPath] = frozenset()


NOTHING = Installed()


def find_installed(python: Path, environ: Mapping[str, str], tree: Path) -> Installed:
    """Ask an interpreter what is installed in it from a checkout."""
    done = ask(python, environ, _PROBE)
    if done.returncode:
        return NOTHING  # what the files declare must do then
    names, places = json.loads(done.stdout)
    inside = [Path(place) for place in places if Path(place).is_relative_to(tree)]
    return Installed(
        names=frozenset(names),
        places=frozenset(
            PurePosixPath(path.relative_to(tree).as_posix()) for path in inside
        ),
    )


def find_packages(
    tree: Path, folder: PurePosixPath, installed: Installed = NOTHING
) -> frozenset[PurePosixPath]:
    """Return the folders of the code under test, relative to the root of a checkout.

    Args:
        tree: the checkout.
        folder: where the command was given, relative to it.
        installed: what its environment has of it, if there is one yet.
    """
    root = PurePosixPath()
    places = installed.places
    found = {root, *(place for place in places if place.name not in SUITE_NAMES)}
    for project in {root, folder}:
        own = set(_declared(tree / project))
        if own or (tree / project / "setup.py").exists():
            found.add(project)
        # The folder `src` holds nothing else, by its convention.
        if (tree / project / "src").is_dir():
            found.add(project / "src")
            inside = (tree / project / "src").iterdir()
            own |= {path.name for path in inside if path.is_dir()} - SUITE_NAMES
        for name in own | (installed.names - SUITE_NAMES):
            for place in (project / name, project / "src" / name):
                if (tree / place).is_dir():
                    found.add(place)
    return frozenset(found)


def holds_package(
    folder: PurePosixPath, packages: frozenset[PurePosixPath]
) -> PurePosixPath | None:
    """Return a package that a folder is, contains or is a part of; None if none.

    A folder for suites within a package is no part of it: `package/tests`.
    """
    for package in sorted(packages):
        if package.is_relative_to(folder):
            return package
        if package.parts and folder.is_relative_to(package):
            below = folder.relative_to(package).parts
            if not SUITE_NAMES & set(below):
                return package
    return None


def _declared(project: Path) -> Iterator[str]:
    """Yield the names of a project and of the packages that its files declare."""
    document: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        document = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    tool = document.get("tool", {})
    wheel = _table(tool, "hatch", "build", "targets", "wheel")
    setuptools = _table(tool, "setuptools")
    poetry = _table(tool, "poetry")
    named = [
        *(_table(document, "project").get("name"), poetry.get("name")),
        *_listed(wheel.get("packages")),
        *(_listed(setuptools.get("packages"))),
        *(x.get("include") for x in _listed(poetry.get("packages")) if _is_table(x)),
        *(_table(tool, "flit", "module").get("name"), _setup_name(project)),
    ]
    for name in named:
        if isinstance(name, str):
            yield name
            yield re.sub(r"[-.]+", "_", name).lower()


def _setup_name(project: Path) -> str | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    with suppress(OSError, ValueError, configparser.Error):
        parser.read(project / "setup.cfg", encoding="utf-8")
    return parser.get("metadata", "name", fallback=None)


def _table(document: Any, *names: str) -> dict[str, Any]:
    for name in names:
        document = document.get(name) if _is_table(document) else None
    return document if _is_table(document) else {}


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
