"""The two sides of a comparison: where they are, and which interpreter runs them.

With a commit as base, each side is a checkout with an environment of its own, both in
one work folder, and both run the suite of head. With another interpreter as base, both
run in place. Owns the work folder: that one comparison at a time uses it, and that no
checkout stays. What is measured there is not its business.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from tlbench.pairing import environments, overlay, packages, worktrees
from tlbench.pairing.environments import Environment
from tlbench.pairing.worktrees import Repository

Say = Callable[[str], None]

_LOCK = "tlbench-ab.lock"
"""Locks a work folder, and tells it from a folder with somebody's files."""

_PADDING = "TLBENCH_PADDING"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: "base" or "head".
        title: what it is, for readers.
        python: the interpreter that runs pytest.
        folder: where pytest is started.
        tree: the checkout; None where the side runs in place.
        commit: the full sha of the checkout; "" if there is none.
        environ: all environment variables of its processes.
    """

    name: str
    title: str
    python: Path
    folder: Path
    tree: Path | None
    commit: str
    environ: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compare.

    Attributes:
        folder: where the command was given.
        paths: the suite: paths relative to `folder`, maybe with node ids.
        base: a commit, tag or branch to compare with.
        base_python: an interpreter to compare with; one of the two is given.
        install: command that installs a side, in its folder; ` && ` joins several.
            `pip` runs as `uv pip` where there is uv, which knows no `pip.conf`:
            `python -m pip` does.
        work: folder for the checkouts and environments; None is one in the user's
            cache.
    """

    folder: Path
    paths: tuple[str, ...]
    base: str | None = None
    base_python: Path | None = None
    install: str = "pip install -e ."
    work: Path | None = None


@contextmanager
def two_sides(request: Request, say: Say) -> Iterator[tuple[Side, Side]]:
    """Have base and head ready to run; afterwards no checkout is left.

    The environments stay for the next comparison. The user's tree and index are not
    touched.

    Args:
        request: what to compare.
        say: called with a line about each step that takes time.

    Raises:
        ValueError: the request cannot be met, or a side does not install.
        OSError: the work folder cannot be written.
    """
    if (request.base is None) == (request.base_python is None):
        raise ValueError(
            "Exactly one of BASE and --base-python must be given. Received: "
            f"base={request.base!r}, base_python={_shown(request.base_python)}. Pass "
            "a commit, or another interpreter."
        )
    _check_paths(request)
    if request.base_python is not None:
        yield _interpreters(request, request.base_python, say)
    elif request.base is not None:
        repository = worktrees.find_repository(request.folder)
        _check_inside(request, repository)
        commit = worktrees.find_commit(repository, request.base)
        work = _work_folder(request, repository)
        with _alone(work), _checkouts(request, repository, commit, work, say) as sides:
            yield sides


def _check_paths(request: Request) -> None:
    for path in request.paths:
        if not (request.folder / path.partition("::")[0]).exists():
            raise ValueError(
                "A PATH must be a file or folder of the working tree. Received: "
                f"path={path!r}, with nothing there in {str(request.folder)!r}. "
                "Correct it."
            )


def _check_inside(request: Request, repository: Repository) -> None:
    for path in request.paths:
        place = os.path.normpath(Path(repository.prefix, path.partition("::")[0]))
        if Path(place).is_absolute() or Path(place).parts[:1] == ("..",):
            raise ValueError(
                "A PATH must be relative and lie in the repository, as each side has "
                f"its own. Received: path={path!r}. Pass it relative to the folder "
                "where the command is given."
            )


def _interpreters(request: Request, python: Path, say: Say) -> tuple[Side, Side]:
    """Return two sides that run in place, by this interpreter and another."""
    # Not resolved: an interpreter of a virtual environment is a link to another.
    python = Path(os.path.abspath(request.folder / python))  # noqa: PTH100
    if not python.is_file() or not os.access(python, os.X_OK):
        raise ValueError(
            "--base-python must be an interpreter. Received: "
            f"base_python={str(python)!r}, which is no file that can be executed. Pass "
            "the path of one, for instance .venv/bin/python."
        )
    sides = []
    for name, path in (("base", python), ("head", Path(sys.executable))):
        environ = environments.environ_of(path)
        absent = _absent(path, environ)
        if absent:
            raise ValueError(
                "Both interpreters must have pytest and pytest-benchmark. Received: "
                f"{name}={str(path)!r} without {' and '.join(absent)}. Run "
                f"`{path} -m pip install {' '.join(absent)}`."
            )
        say(f"{name}: {path}")
        sides.append(
            Side(
                name=name,
                title=str(path),
                python=path,
                folder=request.folder,
                tree=None,
                commit="",
                environ=environ,
            )
        )
    return _of_equal_length(*sides)


def _absent(python: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return environments.missing(python, environ)
    except OSError as error:
        raise ValueError(
            "--base-python must be an interpreter. Received: "
            f"base_python={str(python)!r} ({error.strerror}). Pass the path of one, "
            "for instance .venv/bin/python."
        ) from error


def _of_equal_length(base: Side, head: Side) -> tuple[Side, Side]:
    """Pad the environment variables: their length moves the stack of a process.

    By Mytkowicz et al., "Producing wrong data without doing anything obviously wrong!"
    (ASPLOS 2009), that alone can change times by several percent.
    """
    sizes = [_length(side.environ) for side in (base, head)]
    longest = max(sizes) + 1
    padded = [
        replace(side, environ={**side.environ, _PADDING: "x" * (longest - size)})
        for side, size in ((base, sizes[0]), (head, sizes[1]))
    ]
    return padded[0], padded[1]


def _length(environ: Mapping[str, str]) -> int:
    return sum(len(os.fsencode(f"{key}={text}")) + 1 for key, text in environ.items())


def _work_folder(request: Request, repository: Repository) -> Path:
    """Return the folder for checkouts and environments, once it is one of ours."""
    if request.work is not None:
        work = (request.folder / request.work).resolve()
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        name = hashlib.sha256(os.fsencode(repository.top)).hexdigest()[:16]
        work = (cache / "tlbench" / "ab" / name).resolve()
    if work.is_relative_to(repository.top.resolve()):
        raise ValueError(
            "The work folder must lie outside of the repository, as pytest and git "
            f"would find the checkouts there. Received: work={str(work)!r}. Pass "
            "another folder as --work."
        )
    try:
        work.mkdir(parents=True, exist_ok=True)
        entries = {path.name for path in work.iterdir()}
    except OSError as error:
        raise _unusable(work, error) from error
    if entries and _LOCK not in entries:
        raise ValueError(
            "The work folder must be new, empty or that of an earlier comparison. "
            f"Received: work={str(work)!r}, which has other files. Pass another folder "
            "as --work."
        )
    return work


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    lock = FileLock(work / _LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            "A work folder serves one comparison at a time. Received: another "
            f"comparison is running in {str(work)!r}. Wait for it, or pass another "
            "folder as --work."
        ) from None
    except OSError as error:
        raise _unusable(work, error) from error
    try:
        yield
    finally:
        lock.release()


def _unusable(work: Path, error: OSError) -> OSError:
    return OSError(
        f"The work folder must be a folder that can be written. Received: "
        f"work={str(work)!r} ({error.strerror}). Pass another folder as --work."
    )


@contextmanager
def _checkouts(
    request: Request, repository: Repository, commit: str, work: Path, say: Say
) -> Iterator[tuple[Side, Side]]:
    """Have both sides as checkouts with environments, until the end of the block."""
    base, head = _titled(request, repository, commit, work)
    trees = (work / base.name, work / head.name)
    for tree in trees:
        worktrees.remove(repository, tree)  # of a run that was killed
    try:
        say(f"base: {base.title}")
        worktrees.add_commit(repository, trees[0], commit, _prefixed("base", say))
        say(f"head: {head.title}")
        worktrees.add_working_tree(repository, trees[1], _prefixed("head", say))
        _prepare(request, repository, trees, say)
        yield base, head
    finally:
        for tree in trees:
            worktrees.remove(repository, tree)


def _titled(
    request: Request, repository: Repository, commit: str, work: Path
) -> tuple[Side, Side]:
    changed = ", with changes" if worktrees.find_changes(repository.top) else ""
    titles = {
        "base": f"{request.base} ({commit[:12]})",
        "head": f"the working tree at {repository.head[:12]}{changed}",
    }
    commits = {"base": commit, "head": repository.head}
    sides = []
    for name, title in titles.items():
        tree = work / name
        environment = _environment(request, repository, tree)
        sides.append(
            Side(
                name=name,
                title=title,
                python=environment.python,
                folder=environment.project,
                tree=tree,
                commit=commits[name],
                environ=environment.environ,
            )
        )
    return sides[0], sides[1]


def _environment(request: Request, repository: Repository, tree: Path) -> Environment:
    """Return the environment of a checkout; it need not exist yet."""
    folder = tree.parent / "envs" / tree.name
    environ = environments.environ_in(
        folder, repository=repository.top, folder=request.folder
    )
    return Environment(
        folder=folder, project=tree / repository.prefix, tree=tree, environ=environ
    )


def _prepare(
    request: Request, repository: Repository, trees: tuple[Path, Path], say: Say
) -> None:
    """Install both checkouts and give base the suite of head."""
    folder = PurePosixPath(repository.prefix)
    base, head = trees
    suite = overlay.find_suite(head, folder, request.paths)
    # What can be refused before minutes of installing is refused before.
    overlay.find_parts(head, suite, packages.find_packages(head, folder))
    for tree in trees:
        if not (tree / folder).is_dir():
            raise ValueError(
                "The folder of the command must be there on both sides. Received: "
                f"folder={repository.prefix!r}, which {tree.name} has not. Give the "
                "command in the root of the repository."
            )
    places = [_environment(request, repository, tree) for tree in trees]
    for place in places:
        name = place.tree.name
        environments.prepare(place, request.install, _prefixed(name, say))
    installed = packages.find_installed(places[1].python, places[1].environ, head)
    overlay.overlaid(
        head,
        base,
        suite,
        folder=folder,
        packages=packages.find_packages(head, folder, installed),
    )


def _prefixed(name: str, say: Say) -> Say:
    return lambda line: say(f"{name}: {line}")


def _shown(path: Path | None) -> str:
    return "None" if path is None else repr(str(path))
