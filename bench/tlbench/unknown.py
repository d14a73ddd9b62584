"""Unknown machines: what a gated session does where no figure was ever accepted.

Owns the three answers: fail, warn, or compare every case in turn with a base commit;
which commit that is; and what is said where it cannot be had. The measuring is in
`pairing`, what it means for a verdict in `verdicts.unknown`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlbench import git, machine
from tlbench.pairing import worktrees
from tlbench.pairing.comparison import NEW, Comparison
from tlbench.pairing.judging import Row
from tlbench.pairing.running import run, run_cases
from tlbench.settings import Answer, Settings
from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.unknown import Instead, excused, unjudged
from tlbench.verdicts.verdict import Case

TARGETS = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
"""Variables in which a CI names the branch that a pull request is for."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The commit that is compared with: its sha, and what it is, for readers."""

    commit: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be done about a session on an unknown machine.

    Attributes:
        answer: what the user asked for; "" compares if there is a base, else fails.
        base: the commit to compare with; "" finds one.
        root: the folder of the project.
        settings: how a side is installed, how long the measuring may take, and what
            each case is judged by.
        options: the session's own options for pytest.
        devices: whether the session had devices; then the pair must have them too.
    """

    answer: Answer
    base: str
    root: Path
    settings: Settings
    options: Sequence[str] = ()
    devices: bool = False


def answer(
    cases: Sequence[Case],
    accepted: Accepted,
    question: Question,
    *,
    say: Say,
    compare: Callable[..., Comparison] = run,
) -> tuple[Sequence[Case], tuple[str, ...]]:
    """Return the verdicts of a session on an unknown machine, and what to say of them.

    Exact values and costs, which have a baseline on every machine, stay judged by it.

    Args:
        cases: the verdicts so far.
        accepted: what they were compared with.
        question: what is to be done.
        say: called with a line for each step.
        compare: compares two sides.
    """
    chosen = unjudged(cases, accepted)
    never = question.answer == "fail"
    if not question.answer:
        never = not question.settings.convict  # the project does without pairs
    if not chosen or never:
        return cases, ()
    count = "1 case" if len(chosen) == 1 else f"{len(chosen)} cases"
    where = f"no figure was ever accepted for this machine: those of {count}"
    if question.answer == "warn":
        words = "fails nothing (--tl-unknown warn)"
        found = excused(
            cases, accepted, dict.fromkeys(chosen, Instead(words=f"it {words}"))
        )
        return found, (f"{where} were not judged, which {words}",)
    try:
        base = find_base(question.root, question.base)
    except ValueError as error:
        # Nobody asked for a comparison: then the findings say all there is to say.
        asked = question.answer == "ab"
        return cases, (f"{where} could not be compared: {error}",) if asked else ()
    say(f"{where} are compared in turn with {base.words}")
    try:
        done = run_cases(
            chosen,
            base.commit,
            question.options,
            root=question.root,
            settings=question.settings,
            say=say,
            compare=compare,
        )
    except (ValueError, OSError) as error:
        return cases, (f"{where} could not be compared with {base.words}: {error}",)
    rows = [row for row in done.rows if row.case in chosen]
    # On processors alone a case that got slower on a device would be cleared.
    blind = [x for x in rows if question.devices and x.pairs and not x.device]
    note = f"{where} were compared in turn with {base.words}"
    if blind:
        note += (
            f", but the pair had no device for {len(blind)} of them. Pass --tl-install "
            "with what installs its support"
        )
    exact = {*accepted.exact, *accepted.costs}
    instead = {
        row.case: _instead(row, base, has_exact=row.case in exact)
        for row in rows
        if row not in blind
    }
    return excused(cases, accepted, instead), (note, *done.notes)


def find_base(
    root: Path, named: str = "", environ: Mapping[str, str] = os.environ
) -> Base:
    """Return the commit to compare with.

    Args:
        root: a folder of the repository.
        named: a commit, tag or branch; "" for the merge base with the branch that a
            pull request is for, else with the default branch of `origin`.
        environ: the environment variables.

    Raises:
        ValueError: there is none, or it is what is checked out.
    """
    repository = worktrees.find_repository(root)
    if named:
        commit = worktrees.find_commit(repository, named)
        return Base(commit=commit, words=f"{named} ({commit[:12]})")
    target, ref = _target(repository.top, environ)
    done = git.call(repository.top, "merge-base", "HEAD", ref)
    if done.returncode:
        raise ValueError(
            "A merge base with the target of this branch must be there to compare "
            f"with. Received: none with {target}. In a shallow clone fetch more "
            "commits, on a hosted CI by `fetch-depth: 0`, or pass --tl-base COMMIT."
        )
    commit = git.text(done.stdout)
    if commit == repository.head and not machine.commit(root).endswith("+"):
        raise ValueError(
            f"What is checked out must differ from {target} to be compared with it. "
            "Received: the same commit. Pass --tl-base COMMIT."
        )
    return Base(commit=commit, words=f"the merge base with {target} ({commit[:12]})")


def _target(top: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name of the branch that this one is for, and what git calls it."""
    named = next((environ[name] for name in TARGETS if environ.get(name)), "")
    # `actions/checkout` sets no origin/HEAD.
    tried = ["origin/HEAD", "origin/main", "origin/master"]
    if named:
        tried = [f"origin/{named}", named]
    for ref in tried:
        if git.find_commit(top, ref):
            return named or ref, ref
    raise ValueError(
        "The branch that this one is for must be known to compare with it. Received: "
        f"none of {', '.join(tried)}. Fetch it, on a hosted CI by `fetch-depth: 0`, or "
        "pass --tl-base COMMIT."
    )


def _instead(row: Row, base: Base, *, has_exact: bool) -> Instead:
    """Return what a pair says in place of a history."""
    if [one.why for one in row.findings] == [NEW]:
        return Instead(words=f"{base.words} has no such case to compare it with")
    if row.differing and has_exact:
        # The difference is accepted, or it would be a finding of the session itself.
        return Instead(
            words=f"{base.words} has other exact values, so the rest is not compared"
        )
    words = f"compared in turn with {base.words} instead"
    if not row.findings:
        words += f": {row.equality}"
    against = f"measured in turn with {base.words}"
    return Instead(
        words=words,
        findings=tuple(
            replace(one, why=f"by the code: {one.why}, {against}")
            if one.verdict == "regression"
            else replace(one, why=f"{one.why}, {against}")
            for one in row.findings
        ),
    )
