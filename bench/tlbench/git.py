"""Git, as a program that is called: never a hook, a prompt or the user's index.

Owns how git is called and how its words are read. What is done with a repository is in
the modules that call it.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

LOCATIONS = (
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
"""Variables that name the user's repository, for instance inside one of its hooks.

With them git would use that repository in every folder, also in the worktrees.
"""

BRANCHES = (
    "GITHUB_HEAD_REF",  # of a pull request; where it is none, it is empty
    "GITHUB_REF_NAME",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_COMMIT_BRANCH",
)
"""Variables in which a CI names the branch of a run, the most telling first."""

_OPTIONS = (
    *("-c", f"core.hooksPath={os.devnull}"),  # a hook may do anything
    *("-c", "core.fsmonitor=false"),  # it would leave a process behind
)

Done = subprocess.CompletedProcess[bytes]


class AbsentError(ValueError):
    """There is no program `git`."""


def call(
    folder: Path,
    *words: str,
    options: Iterable[str] = (),
    data: bytes | None = None,
    environ: Mapping[str, str] | None = None,
) -> Done:
    """Call git in a folder; what it answers is up to the caller.

    Args:
        folder: where it is called.
        words: its command and arguments.
        options: further options of git itself.
        data: its standard input; nothing if None.
        environ: further environment variables.

    Raises:
        AbsentError: there is no program `git`.
        OSError: there is no such folder.
    """
    known = {key: text for key, text in os.environ.items() if key not in LOCATIONS}
    known |= {
        "GIT_OPTIONAL_LOCKS": "0",  # else `git diff` writes the user's index
        "GIT_TERMINAL_PROMPT": "0",
        **(environ or {}),
    }
    try:
        return subprocess.run(  # noqa: S603 - git, our words and a name after them
            ["git", *_OPTIONS, *options, *words],  # noqa: S607 - found by PATH
            cwd=folder,
            env=known,
            input=data or b"",
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise
        raise AbsentError(
            "git must be installed. Received: no program 'git' on PATH. Install it."
        ) from error


def need(folder: Path, *words: str, data: bytes | None = None) -> bytes:
    """Call git in a folder and return what it prints.

    Raises:
        ValueError: it did not work, or there is no git.
    """
    done = call(folder, *words, data=data)
    if done.returncode:
        raise ValueError(
            f"`git {words[0]}` must work in {str(folder)!r}. Received: "
            f"{reason(done)}. Look with `git status` at what is wrong there."
        )
    return done.stdout


def reason(done: Done) -> str:
    """Return why a call failed: what git calls fatal, or the last line it printed."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    # Advice may follow.
    lines = [line for line in lines if line.startswith("fatal: ")][:1] or lines
    return lines[-1].strip().rstrip(".") if lines else f"exit code {done.returncode}"


def text(output: bytes) -> str:
    """Return a line that git printed."""
    return os.fsdecode(output.removesuffix(b"\n"))


def paths(output: bytes) -> Iterator[str]:
    """Return the paths that git printed under `-z`."""
    return (os.fsdecode(path) for path in output.split(b"\0") if path)


def branch(folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the branch that is checked out in a folder, "" if that is not known.

    A hosted CI checks out a commit, and names its branch in a variable.
    """
    try:
        done = call(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    except (AbsentError, OSError):
        return ""
    if done.returncode == 0:
        return text(done.stdout)
    # 1: a commit is checked out, and no branch. Anything else: no repository.
    named = next((environ[name] for name in BRANCHES if environ.get(name)), "")
    return named if done.returncode == 1 else ""


def find_commit(folder: Path, name: str) -> str | None:
    """Return the full sha of a commit, tag or branch; None if there is none."""
    done = call(
        folder,
        *("rev-parse", "--verify", "--quiet", "--end-of-options"),
        f"{name}^{{commit}}",
    )
    return None if done.returncode else text(done.stdout)
