"""The two checkouts of a comparison, as git worktrees of the user's repository.

The user's tree, index, stash, branches and configuration are
only read: git writes what belongs to a worktree to `.git/worktrees`, and removes it
with the worktree.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlbench import git
from tlbench.pairing import copying

Say = Callable[[str], None]

_POINTERS = (
    *("-c", "filter.lfs.smudge="),
    *("-c", "filter.lfs.process="),
    *("-c", "filter.lfs.required=false"),
)
_POINTER = b"version https://git-lfs.github.com/spec/"
_SUBMODULE = "160000"  # the mode of a submodule in an index


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The user's repository.

    Attributes:
        top: the root of the user's working tree.
        prefix: the folder of the command, relative to `top`; "" is the root.
        head: the full sha of HEAD.
    """

    top: Path
    prefix: str
    head: str


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the working tree has that HEAD has not, by path relative to its root.

    Attributes:
        removed: files of HEAD that are gone.
        present: files that are new or changed, submodules among them.
        foreign: folders that are repositories of their own, unknown to this one.
    """

    removed: tuple[str, ...]
    present: tuple[str, ...]
    foreign: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything that is compared differs from HEAD."""
        return bool(self.removed or self.present)


def find_repository(folder: Path) -> Repository:
    """Return the repository that a folder is in.

    Raises:
        ValueError: there is no git, no repository, or no commit in it.
    """
    try:
        done = git.call(folder, "rev-parse", "--show-toplevel")
    except git.AbsentError as error:
        raise ValueError(
            "A comparison with a commit must have git. Received: no program 'git' on "
            "PATH. Install it, or compare interpreters with --base-python."
        ) from error
    if done.returncode:
        raise ValueError(
            "A comparison with a commit must start in a git repository. Received: "
            f"folder={str(folder)!r} ({git.reason(done)}). Change to a folder of one, "
            "or compare interpreters with --base-python."
        )
    head = git.find_commit(folder, "HEAD")
    if head is None:
        raise ValueError(
            "A comparison must have a commit to start from. Received: "
            f"folder={str(folder)!r}, a repository without commits. Run `git commit` "
            "first."
        )
    prefix = git.text(git.need(folder, "rev-parse", "--show-prefix"))
    return Repository(
        top=Path(git.text(done.stdout)), prefix=prefix.rstrip("/"), head=head
    )


def find_commit(repository: Repository, base: str) -> str:
    """Return the full sha of a commit, tag or branch.

    Raises:
        ValueError: the repository has none of this name.
    """
    commit = git.find_commit(repository.top, base)
    if commit is not None:
        return commit
    shallow = git.need(repository.top, "rev-parse", "--is-shallow-repository")
    if git.find_commit(repository.top, f"origin/{base}"):
        remedy = f"There is one at the remote: pass 'origin/{base}'."
    elif git.text(shallow) == "true":
        remedy = (
            "This clone is shallow and may lack it: run `git fetch --unshallow`, or "
            f"`git fetch origin {base}` and pass FETCH_HEAD; on a hosted CI check out "
            "with `fetch-depth: 0`."
        )
    else:
        remedy = "`git log`, `git tag` and `git branch --all` list what there is."
    raise ValueError(
        "BASE must be a commit, tag or branch of the repository. Received: "
        f"base={base!r}. {remedy}"
    )


def find_changes(top: Path) -> Changes:
    """Return how a working tree differs from HEAD; what git ignores does not count."""
    words = git.need(
        top,
        *("diff", "--name-status", "--no-renames", "--no-ext-diff", "-z"),
        *("--ignore-submodules=none", "HEAD"),
    )
    fields = list(git.paths(words))
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    others = list(
        git.paths(git.need(top, "ls-files", "--others", "--exclude-standard", "-z"))
    )
    return Changes(
        removed=tuple(path for status, path in pairs if status == "D"),
        present=(
            *(path for status, path in pairs if status != "D"),
            *(path for path in others if not path.endswith("/")),
        ),
        foreign=tuple(path for path in others if path.endswith("/")),
    )


def add_commit(repository: Repository, tree: Path, commit: str, say: Say) -> None:
    """Check out a commit as a worktree, its submodules as that commit has them."""
    _add(repository, tree, commit)
    for path, wanted in _submodules(tree):
        _add_submodule(repository.top / path, tree / path, wanted, say)


def add_working_tree(repository: Repository, tree: Path, say: Say) -> None:
    """Make a worktree that is what the user's working tree is now."""
    _add(repository, tree, repository.head)
    _carry_over(repository.top, tree, say)


def remove(repository: Repository, tree: Path) -> None:
    """Remove a worktree and all that git knows of it, also after a killed run.

    No `git worktree prune`: that would also forget the user's own worktrees, where they
    are on a disk that is not mounted now.
    """
    # Forced twice: git locks a worktree for as long as it is being made.
    forget = ("worktree", "remove", "--force", "--force", str(tree))
    git.call(repository.top, *forget)
    if os.path.lexists(tree):
        copying.remove(tree)
        git.call(
            repository.top, *forget
        )  # with no folder there is nothing to refuse it


def _add(repository: Repository, tree: Path, commit: str) -> None:
    tree.parent.mkdir(parents=True, exist_ok=True)
    options = _as_in(repository.top)
    done = git.call(
        repository.top,
        *("worktree", "add", "--force", "--detach", str(tree), commit),
        options=options,
    )
    if done.returncode:
        raise ValueError(
            f"git must be able to check out {commit[:12]} as {str(tree)!r}. Received: "
            f"{git.reason(done)}. Try `git worktree add` by hand, or another --work."
        )


def _carry_over(source: Path, tree: Path, say: Say) -> None:
    changes = find_changes(source)
    submodules = dict(_submodules(source))
    # First all that goes: a file can be in the place of a folder that was, or the
    # other way round.
    for path in (*changes.removed, *changes.present):
        if path not in submodules:
            copying.remove(tree / path)
    for path in changes.present:
        if path not in submodules:
            copying.replace(source / path, tree / path)
    for path in changes.removed:
        copying.remove_empty_folders((tree / path).parent, below=tree)
    for path in changes.foreign:
        say(f"{path} is a repository of its own and is left out")
    for path in submodules:
        if _is_checked_out(source / path):
            commit = git.find_commit(source / path, "HEAD")
            if commit is not None:
                _add_submodule(source / path, tree / path, commit, say, fill=False)
                _carry_over(source / path, tree / path, say)


def _add_submodule(
    local: Path, folder: Path, commit: str, say: Say, *, fill: bool = True
) -> None:
    """Clone a submodule from the user's copy of it.

    Not `git submodule update`: it asks the network for what is on this disk, and its
    `init` writes to the configuration that all worktrees share.
    """
    if not _is_checked_out(local):
        say(f"the submodule {local} is not checked out, so it stays empty")
        return
    copying.remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clone = ("clone", "--quiet", "--shared", "--no-checkout", "--template=")
    done = git.call(local, *clone, str(local), str(folder))
    if not done.returncode:
        checkout = ("checkout", "--quiet", "--detach", commit)
        done = git.call(folder, *checkout, options=_as_in(local))
    if done.returncode:
        raise ValueError(
            f"A submodule must have its commit {commit[:12]} in {str(local)!r}. "
            f"Received: {git.reason(done)}. Run `git fetch` there."
        )
    if fill:
        for path, wanted in _submodules(folder):
            _add_submodule(local / path, folder / path, wanted, say)


def _submodules(tree: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the commit of each submodule in the index of a tree."""
    for entry in git.paths(git.need(tree, "ls-files", "--stage", "-z")):
        about, _, path = entry.partition("\t")
        mode, commit, _ = about.split()
        if mode == _SUBMODULE:
            yield path, commit


def _is_checked_out(folder: Path) -> bool:
    return (folder / ".git").exists()


def _as_in(top: Path) -> tuple[str, ...]:
    """Return options that leave pointers of Git LFS alone where the user's tree does.

    Their content would be downloaded, for a tree in which nobody has needed it.
    """
    names = git.paths(git.need(top, "ls-files", "-z", "--", ":(top,attr:filter=lfs)"))
    return () if any(_has_content(top / name) for name in names) else _POINTERS


def _has_content(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_POINTER)) != _POINTER
    return False
