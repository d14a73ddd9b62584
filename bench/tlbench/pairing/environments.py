"""The virtual environment of each side: made, installed into, used again.

Owns the environment variables of a side's processes, and the lock: a digest of all that
decides which packages an environment has. The project itself is installed every time.
"""

import hashlib
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlbench.git import LOCATIONS
from tlbench.pairing import copying
from tlbench.storage.documents import write_text

Say = Callable[[str], None]

SHOWN_LINES = 15
"""How much of the output of a failed command is shown."""

_PROGRAMS = "Scripts" if os.name == "nt" else "bin"
_REDIRECTIONS = (
    "PYTHONHOME",
    "__PYVENV_LAUNCHER__",
    # With these, installers would take another environment than the active one.
    *("PIP_PREFIX", "PIP_PYTHON", "PIP_TARGET", "PIP_USER"),
    *("UV_PYTHON", "UV_SYSTEM_PYTHON"),
)
_DEPENDENCY_FILES = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements*.txt",
    "requirements/*.txt",
    "constraints*.txt",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock*.toml",
    "environment*.yml",
    "environment*.yaml",
)
_NEEDED = {"pytest": "pytest", "pytest_benchmark": "pytest-benchmark"}
_MISSING = (
    "import importlib.util as u, sys; "
    "print(*[name for name in sys.argv[1:] if u.find_spec(name) is None])"
)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment and the project that it is for.

    Attributes:
        folder: where it is.
        project: the folder in which its install command runs.
        tree: the root of the project's checkout.
        environ: all environment variables of its processes.
    """

    folder: Path
    project: Path
    tree: Path
    environ: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / _PROGRAMS / ("python.exe" if os.name == "nt" else "python")

    @property
    def lock(self) -> Path:
        """The file with the digest that its packages were installed by."""
        return self.folder.with_name(f"{self.folder.name}.lock")


def environ_in(environment: Path, *, repository: Path, folder: Path) -> dict[str, str]:
    """Return the environment variables for processes in a virtual environment.

    Absolute entries of PYTHONPATH in the repository are dropped: with them both sides
    would import the code of the working tree. Relative ones lead to each side's own.

    Args:
        environment: folder of the virtual environment.
        repository: root of the user's working tree.
        folder: where the command was given.
    """
    environ = _without(os.environ)
    environ["PATH"] = _first_on_path(environment / _PROGRAMS)
    environ["VIRTUAL_ENV"] = str(environment)
    environ["UV_PROJECT_ENVIRONMENT"] = str(environment)  # where `uv sync` installs
    entries = _python_path(environ.pop("PYTHONPATH", ""), repository, folder)
    if entries:
        environ["PYTHONPATH"] = os.pathsep.join(entries)
    return environ


def environ_of(python: Path) -> dict[str, str]:
    """Return the environment variables for processes of an interpreter in place."""
    environ = _without(os.environ)
    environ["PATH"] = _first_on_path(python.parent)
    environ.pop("VIRTUAL_ENV", None)
    if (python.parent.parent / "pyvenv.cfg").exists():
        environ["VIRTUAL_ENV"] = str(python.parent.parent)
    return environ


def ask(
    python: Path, environ: Mapping[str, str], code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run some code by an interpreter, where it finds no module of a project.

    Raises:
        OSError: the interpreter cannot be started.
    """
    return subprocess.run(  # noqa: S603 - an interpreter, our code
        [str(python), "-c", code, *arguments],
        # Any folder but one of a project, whose modules could have any name.
        cwd=python.parent,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def missing(python: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the distributions that an interpreter needs and has not.

    Raises:
        OSError: the interpreter cannot be started.
        ValueError: it does not run.
    """
    done = ask(python, environ, _MISSING, *_NEEDED)
    if done.returncode:
        raise ValueError(
            f"An interpreter must run. Received: python={str(python)!r}, which ended "
            f"with exit code {done.returncode}. Check it with `{python} -V`.\n"
            + _last(done.stderr)
        )
    return tuple(_NEEDED[name] for name in done.stdout.split())


def create(folder: Path) -> None:
    """Make an empty virtual environment of this interpreter's Python, with pip.

    Raises:
        ValueError: it cannot be made.
    """
    words = [sys.executable, "-m", "venv", str(folder)]
    uv = shutil.which("uv")
    if uv:
        options = ("--seed", "--quiet", "--no-project", "--python", sys.executable)
        words = [uv, "venv", *options, str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = _run(words, folder.parent, _without(os.environ))
    if done.returncode:
        raise ValueError(
            "A virtual environment must be made for each side. Received: exit code "
            f"{done.returncode} from `{shlex.join(words)}`. Run it by hand to see why."
            f"\n{_last(done.stdout)}"
        )


def prepare(environment: Environment, command: str, say: Say) -> None:
    """Make the environment, or take that of before, and install the project.

    Raises:
        ValueError: the command is wrong or fails; the environment is removed then.
    """
    commands = list(_commands(command))
    lock = _digest(environment, command)
    used_again = _is_ready(environment, lock)
    # Without a lock for as long as it changes: a run that is killed leaves none.
    environment.lock.unlink(missing_ok=True)
    if used_again:
        say("the environment of before is used again")
    else:
        say("creating an environment")
        copying.remove(environment.folder)
        create(environment.folder)
    try:
        say(f"installing ({command})")
        for words in commands:
            _install(environment, words)
        needed = missing(environment.python, environment.environ)
        if needed:
            wanted = [f"{name}=={importlib.metadata.version(name)}" for name in needed]
            say(f"installing {' '.join(wanted)}, which the project does not bring")
            _install(environment, ["pip", "install", *wanted])
    except ValueError:
        copying.remove(environment.folder)
        raise
    write_text(environment.lock, f"{lock}\n")


def _commands(command: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(
            f"install must be a command line. Received: install={command!r} ({error}). "
            "Close the quotes."
        ) from error
    while "&&" in words:
        end = words.index("&&")
        yield _whole(words[:end], command)
        words = words[end + 1 :]
    yield _whole(words, command)


def _whole(words: list[str], command: str) -> list[str]:
    if not words:
        raise ValueError(
            "install must be a command, or several with && between them. Received: "
            f"install={command!r}. Pass, for instance, --install 'pip install -e .'."
        )
    return words


def _install(environment: Environment, words: Sequence[str]) -> None:
    path = environment.environ["PATH"]
    run = list(words)
    uv = shutil.which("uv", path=path)
    if words[0] == "pip" and uv:
        run = [uv, *words]
        if words[1:2] == ["install"]:
            # uv takes a project for unchanged where the files that it watches are;
            # pip builds a folder every time.
            for name in _projects(environment, words):
                run += ["--reinstall-package", name]
    program = shutil.which(run[0], path=path)
    if program is None:
        raise ValueError(
            "install must begin with a program. Received: "
            f"install={shlex.join(words)!r}, of which {words[0]!r} is not on PATH. "
            "Install it, or pass another command as --install."
        )
    done = _run([program, *run[1:]], environment.project, environment.environ)
    if done.returncode:
        raise ValueError(
            f"{environment.folder.name} does not install: `{shlex.join(words)}` must "
            f"succeed. Received: exit code {done.returncode} in "
            f"{str(environment.project)!r}. Pass the command that installs the project "
            f"as --install. Its last lines:\n{_last(done.stdout)}"
        )


def _projects(environment: Environment, words: Sequence[str]) -> Iterator[str]:
    """Yield the names of the projects in the folders that a command names."""
    for word in words[2:]:
        place = word.removeprefix("--editable=").removeprefix("-e").partition("[")[0]
        if not place:
            continue
        with suppress(OSError, KeyError, TypeError, ValueError):
            text = (environment.project / place / "pyproject.toml").read_text("utf-8")
            yield str(tomllib.loads(text)["project"]["name"])


def _is_ready(environment: Environment, lock: str) -> bool:
    with suppress(OSError, ValueError):
        if environment.lock.read_text("utf-8").strip() == lock:
            missing(environment.python, environment.environ)  # that it runs
            return True
    return False


def _digest(environment: Environment, command: str) -> str:
    """Return the lock: of equal ones, equal packages are expected."""
    digest = hashlib.sha256()
    for part in (sys.version, sysconfig.get_platform(), sys.base_prefix, command):
        digest.update(f"{part}\0".encode())
    found = {
        path
        for folder in (environment.tree, environment.project)
        for pattern in _DEPENDENCY_FILES
        for path in folder.glob(pattern)
    }
    # Files that the command names, for instance after `-r`.
    found |= {environment.project / word for word in shlex.split(command)}
    for path in sorted(found):
        # A word can also be too long for a path, or name a folder.
        with suppress(OSError):
            content = path.read_bytes()
            name = os.path.relpath(path, environment.tree)
            digest.update(f"{name}\0".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _without(variables: Mapping[str, str]) -> dict[str, str]:
    dropped = {*_REDIRECTIONS, *LOCATIONS}
    return {key: text for key, text in variables.items() if key not in dropped}


def _first_on_path(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PATH"))))


def _python_path(value: str, repository: Path, folder: Path) -> list[str]:
    """Return the entries of PYTHONPATH that mean the same on both sides."""
    kept = []
    for entry in filter(None, value.split(os.pathsep)):
        path = folder / entry  # `entry` itself where that is absolute
        if not path.resolve().is_relative_to(repository.resolve()):
            kept.append(str(path))
        elif not Path(entry).is_absolute():
            kept.append(entry)
    return kept


def _run(
    words: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the user's command, without a shell
        words,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _last(output: str) -> str:
    return "\n".join(output.rstrip().splitlines()[-SHOWN_LINES:])
