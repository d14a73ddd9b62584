"""The branch that holds results: fetched, written as a commit, and pushed.

Owns every call of git that `tlbench sync` makes. The user's tree, index, branches and
configuration are not touched: a commit is made of objects alone, and what is fetched
has a ref of its own, `refs/tlbench/sync/BRANCH`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlbench import git
from tlbench.syncing.merging import is_known

_ENGLISH = {"LC_ALL": "C"}
"""So that the words of git can be told apart."""

_NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "tlbench"), ("EMAIL", "tlbench@localhost"))
}
"""Who commits on a runner where git knows no name."""

_CONTENDED = ("cannot lock ref", "failed to update ref", "reference already exists")
"""What git says where another push holds the branch."""

_FILE, _FOLDER = ("100644", "blob"), ("040000", "tree")

Node = tuple[str, str, str]
"""An entry of a tree: its mode, its kind, its object."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a branch is.

    Attributes:
        folder: a folder of the local repository.
        remote: the name of the remote, or its URL.
        branch: the name of the branch there.
    """

    folder: Path
    remote: str
    branch: str

    def __str__(self) -> str:
        return f"{self.branch} of {self.remote}"


@dataclass(frozen=True, kw_only=True)
class Tip:
    """What a branch holds.

    Attributes:
        commit: its newest commit; "" if there is no such branch.
        files: the results in it, by path.
    """

    commit: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def check(place: Place) -> Path:
    """Refuse a place that no results can be synced with; return the repository's top.

    Raises:
        ValueError: there is no git or no repository, the name is not one of a branch,
            or it is the branch that is checked out.
    """
    done = git.call(place.folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise ValueError(
            "tlbench sync must start in a git repository. Received: "
            f"folder={str(place.folder)!r} ({git.reason(done)}). Change to a folder of "
            "one."
        )
    valid = git.call(place.folder, "check-ref-format", f"refs/heads/{place.branch}")
    if valid.returncode or place.branch.startswith("-"):
        raise ValueError(
            "BRANCH must be a name that git allows for a branch. "
            f"Received: {place.branch!r}. Pass for instance tlbench-results."
        )
    head = git.call(place.folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    if git.text(head.stdout) == place.branch:
        raise ValueError(
            "BRANCH must be a branch of its own for results. Received: "
            f"{place.branch!r}, which is checked out here. Pass for instance "
            "tlbench-results."
        )
    return Path(git.text(done.stdout))


def tracked(top: Path, results: Path) -> set[str]:
    """Return the paths in a results folder that the checked-out branch tracks."""
    # Not resolved further: git names paths as they are below its top.
    if not results.is_dir() or not results.resolve().is_relative_to(top.resolve()):
        return set()
    return set(git.paths(git.need(results, "ls-files", "-z")))


def find(place: Place) -> str:
    """Return the newest commit of the branch at the remote, "" if there is none.

    Raises:
        ValueError: the remote cannot be asked.
    """
    ref = f"refs/heads/{place.branch}"
    words = ("ls-remote", "--", place.remote, ref)
    done = git.call(place.folder, *words, environ=_ENGLISH)
    if done.returncode:
        names = git.text(git.call(place.folder, "remote").stdout).split()
        raise ValueError(
            "--remote must be a remote that answers. Received: "
            f"remote={place.remote!r} ({git.reason(done)}). The repository has "
            f"{', '.join(names) or 'no remote'}."
        )
    for line in git.text(done.stdout).splitlines():
        commit, _, name = line.partition("\t")
        if name == ref:
            return commit
    return ""


def fetch(place: Place) -> Tip:
    """Return what the branch holds at the remote.

    Raises:
        ValueError: it cannot be fetched, or it is no branch of results.
    """
    if not find(place):
        return Tip()
    ref = f"refs/tlbench/sync/{place.branch}"
    shallow = git.need(place.folder, "rev-parse", "--is-shallow-repository")
    # Without its history where nothing else has any; elsewhere that would make the
    # user's clone a shallow one.
    depth = ("--depth=1",) if git.text(shallow) == "true" else ()
    done = git.call(
        place.folder,
        *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--refmap="),
        *("--no-write-fetch-head", "--no-auto-maintenance", *depth, "--"),
        place.remote,
        f"+refs/heads/{place.branch}:{ref}",
        environ=_ENGLISH,
    )
    if done.returncode:
        raise ValueError(
            f"git must be able to fetch {place}. Received: {git.reason(done)}. Try "
            f"`git fetch {place.remote} {place.branch}` by hand."
        )
    commit = git.text(git.need(place.folder, "rev-parse", ref))
    return Tip(commit=commit, files=_read(place, commit))


def commit(place: Place, tip: Tip, files: Mapping[str, bytes], message: str) -> str:
    """Return a new commit of results on top of a tip; no branch moves.

    Files of the branch that are no results stay as they are.
    """
    folder = place.folder
    top = dict(_tree(folder, tip.commit)) if tip.commit else {}
    changed: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        machine, _, name = path.partition("/")
        if tip.files.get(path) != data:
            changed.setdefault(machine, {})[name] = data
    for machine, contents in changed.items():
        inner = {}
        if top.get(machine, _FILE)[1] == "tree":
            inner = dict(_tree(folder, f"{tip.commit}:{machine}"))
        for name, data in contents.items():
            blob = git.text(git.need(folder, "hash-object", "-w", "--stdin", data=data))
            inner[name] = (*_FILE, blob)
        top[machine] = (*_FOLDER, _make_tree(folder, inner))
    parents = ("-p", tip.commit) if tip.commit else ()
    named = git.call(folder, "var", "GIT_COMMITTER_IDENT").returncode == 0
    done = git.call(
        folder,
        *("commit-tree", _make_tree(folder, top), *parents, "-m", message),
        environ={} if named else _NOBODY,
    )
    if done.returncode:
        raise ValueError(
            f"git must be able to commit results. Received: {git.reason(done)}. Set "
            "`git config user.name` and `user.email`."
        )
    return git.text(done.stdout)


def push(place: Place, commit: str, tip: Tip) -> bool:
    """Push a commit to the branch; tell whether nobody else has pushed meanwhile.

    Raises:
        ValueError: the remote refuses it for another reason.
    """
    done = git.call(
        place.folder,
        *("push", "--quiet", "--porcelain", "--no-verify", "--recurse-submodules=no"),
        *("--", place.remote, f"{commit}:refs/heads/{place.branch}"),
        environ=_ENGLISH,
    )
    if done.returncode == 0:
        return True
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    # Of two pushes at the same moment one does not get the lock of the ref, and may
    # look before the other one is done.
    if any(word in said for word in _CONTENDED) or find(place) != tip.commit:
        return False
    refused = [line for line in said.splitlines() if "rejected]" in line]
    why = refused[0].rpartition("\t")[2] if refused else git.reason(done)
    raise ValueError(
        f"git must be able to push to {place}. Received: {why}. Give the job the right "
        "to write (on GitHub `permissions: contents: write`), or pass --no-push."
    )


def _read(place: Place, commit: str) -> dict[str, bytes]:
    found: dict[str, str] = {}
    top = dict(_tree(place.folder, commit))
    for name, (_, kind, _) in top.items():
        if kind == "tree":
            inner = _tree(place.folder, f"{commit}:{name}")
            found |= {f"{name}/{x}": sha for x, (_, _, sha) in inner}
    known = {path: sha for path, sha in found.items() if is_known(path)}
    if top and not known:
        raise ValueError(
            "BRANCH must be a branch of its own for results. Received: "
            f"{place.branch!r}, which holds other files: {', '.join(sorted(top)[:3])}. "
            "Pass the name of a new branch, for instance tlbench-results."
        )
    return {
        path: git.need(place.folder, "cat-file", "blob", sha)
        for path, sha in known.items()
    }


def _tree(folder: Path, name: str) -> Iterator[tuple[str, Node]]:
    """Yield the name and the node of each entry of a tree."""
    for entry in git.paths(git.need(folder, "ls-tree", "-z", name)):
        about, _, path = entry.partition("\t")
        mode, kind, sha = about.split()
        yield path, (mode, kind, sha)


def _make_tree(folder: Path, nodes: Mapping[str, Node]) -> str:
    entries = (f"{m} {kind} {sha}\t{name}" for name, (m, kind, sha) in nodes.items())
    data = b"".join(os.fsencode(entry) + b"\0" for entry in entries)
    return git.text(git.need(folder, "mktree", "-z", data=data))
