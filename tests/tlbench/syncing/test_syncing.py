"""Results on a branch of their own, with real repositories on this disk."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tlbench.cli import main
from tlbench.recorder import Recorder
from tlbench.storage import documents, history
from tlbench.storage.baselines import (
    Acceptance,
    Baseline,
    Baselines,
    MachineBaseline,
    read_accepted,
    write_accepted,
    write_figures,
)
from tlbench.storage.history import Entry, history_path
from tlbench.syncing import branch, syncing
from tlbench.syncing.branch import Place
from tlbench.verdicts.figures import Figures

pytestmark = pytest.mark.usefixtures("own_git")

BRANCH = "tlbench-results"


def git(folder, *words, check=True):
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not (check and done.returncode), done.stderr
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path):
    """A bare repository whose main has three commits."""
    top, seed = tmp_path / "origin.git", tmp_path / "seed"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(top))
    git(tmp_path, "clone", "--quiet", str(top), str(seed))
    git(seed, "checkout", "--quiet", "-b", "main")
    for number in range(3):
        (seed / "code.py").write_text(f"X = {number}\n")
        git(seed, "add", "--all")
        git(seed, "commit", "--quiet", "-m", str(number))
    git(seed, "push", "--quiet", "origin", "main")
    return top


@pytest.fixture
def clone(tmp_path, origin):
    """Return a function that clones the repository; a runner."""

    def make(name, *options):
        git(tmp_path, "clone", "--quiet", *options, f"file://{origin}", name)
        return tmp_path / name

    return make


def place(folder):
    return Place(folder=folder, remote="origin", branch=BRANCH)


def sync(folder, **options):
    options = {"say": lambda _: None, "pause": lambda _: None} | options
    return syncing.sync(folder / "results", place(folder), **options)


def tlbench(folder, *words, monkeypatch):
    monkeypatch.chdir(folder)
    return CliRunner().invoke(main, ["sync", BRANCH, *words])


def save(folder, run, machine="m", day=1):
    entry = Entry(
        run=run,
        when=f"2026-01-0{day}T00:00:00+00:00",
        record=Recorder("a.py::t").snapshot("passed"),
        verdict="pass",
    )
    history.append(history_path(folder / "results", machine), [entry])


def runs(folder, machine="m"):
    kept = history.read(history_path(folder / "results", machine))
    assert not kept.damage
    return [entry.run for entry in kept.entries]


def accept(folder, value, day=1):
    how = Acceptance(by="Ada", when=f"2026-01-0{day}", reason=f"day {day}", evidence="")
    cases = {"a.py::t": Baseline(exact={"n": value}, accepted=how)}
    write_accepted(folder / "results", Baselines(cases=cases))


def value(folder):
    return read_accepted(folder / "results").cases["a.py::t"].exact["n"]


def untouched(folder):
    """Return what a sync must leave as it is."""
    return (
        git(folder, "rev-parse", "HEAD"),
        git(folder, "symbolic-ref", "--quiet", "HEAD", check=False),
        git(folder, "ls-files", "--stage"),
        git(folder, "branch"),
        git(folder, "stash", "list"),
        git(folder, "worktree", "list"),
        (folder / ".git" / "config").read_bytes(),
        (folder / ".git" / "index").read_bytes(),
    )


def test_the_branch_is_made_without_a_parent_and_the_clone_stays_as_it_is(clone):
    one = clone("one")
    (one / "code.py").write_text("X = 9\n")
    git(one, "add", "code.py")  # staged, not committed
    before = untouched(one)
    save(one, "r1")
    accept(one, 1)
    done = sync(one)
    assert (done.pushed, done.received) == (True, ())
    assert done.sent == ("any/accepted.json", "m/history.jsonl")
    assert untouched(one) == before
    assert git(one, "log", "--format=%s %an", done.commit) == "Results of any, m Ada"
    listed = git(one, "ls-tree", "-r", "--name-only", done.commit)
    assert listed.split() == ["any/accepted.json", "m/history.jsonl"]


def test_two_runners_end_with_the_runs_of_both(clone):
    one, two = clone("one"), clone("two")
    save(one, "r1", day=1)
    save(two, "r2", day=2)
    save(two, "q1", machine="n")
    for folder in (one, two, one):
        sync(folder)
    for folder in (one, two):
        assert runs(folder) == ["r1", "r2"]
        assert runs(folder, "n") == ["q1"]
    assert sync(one).pushed is sync(two).pushed is False


def test_a_push_of_another_runner_in_between_is_merged_and_tried_again(
    clone, monkeypatch
):
    one, two = clone("one"), clone("two")
    save(one, "r1", day=1)
    save(two, "r2", day=2)
    commit, said, waits = branch.commit, [], []

    def late(where, *rest):
        found = commit(where, *rest)
        if where.folder == one and not said:
            sync(two)
        return found

    monkeypatch.setattr(branch, "commit", late)
    done = sync(one, say=said.append, pause=waits.append)
    assert done.pushed
    assert runs(one) == ["r1", "r2"]
    assert said == [f"{BRANCH} of origin was pushed to meanwhile: attempt 1 of 12"]
    assert 0 <= waits[0] < 1
    sync(two)
    assert runs(two) == ["r1", "r2"]


def test_a_branch_that_never_rests_is_given_up_and_nothing_is_written(
    clone, monkeypatch
):
    one = clone("one")
    save(one, "r1")
    before = sorted((one / "results").rglob("*.json*"))
    monkeypatch.setattr(branch, "push", lambda *_: False)
    with pytest.raises(ValueError, match=r"12 attempts, each after .* again\.$"):
        sync(one)
    assert sorted((one / "results").rglob("*.json*")) == before


def test_many_runners_at_once_end_with_all_runs(clone):
    folders = [clone(f"c{number}") for number in range(4)]
    for number, folder in enumerate(folders):
        save(folder, f"r{number}", day=number + 1)
    words = [sys.executable, "-m", "tlbench", "sync", BRANCH]
    running = [subprocess.Popen(words, cwd=folder) for folder in folders]
    assert [one.wait() for one in running] == [0] * 4
    for folder in folders:
        sync(folder)
        assert runs(folder) == ["r0", "r1", "r2", "r3"]


def test_a_shallow_clone_on_a_detached_head_does(clone, origin):
    one = clone("one")
    for number in range(3):
        save(one, f"r{number}", day=number + 1)
        sync(one)
    two = clone("two", "--depth=1")
    git(two, "checkout", "--quiet", "--detach")
    save(two, "r9", day=9)
    before = untouched(two)
    assert sync(two).pushed
    assert untouched(two) == before
    assert runs(two) == ["r0", "r1", "r2", "r9"]
    assert len(git(origin, "log", "--format=%h", BRANCH).split()) == 4
    sync(one)
    assert git(one, "rev-parse", "--is-shallow-repository") == "false"


def test_without_push_the_branch_stays_and_what_it_has_comes(clone, origin):
    one, two = clone("one"), clone("two")
    done = sync(two, push=False)
    assert (done.commit, done.pushed, done.received) == ("", False, ())
    save(one, "r1")
    commit = sync(one).commit
    save(two, "r2", day=2)
    done = sync(two, push=False)
    assert (done.pushed, done.sent, done.received) == (False, (), ("m/history.jsonl",))
    assert runs(two) == ["r1", "r2"]
    assert git(origin, "rev-parse", BRANCH) == commit
    sync(two)
    assert sync(one).received == ("m/history.jsonl",)


def test_files_that_the_checked_out_branch_tracks_are_left_alone(clone, origin):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    save(one, "r1")
    sync(one)
    accept(two, 2, day=2)
    git(two, "add", "--force", "results/any/accepted.json")
    done = sync(two)
    assert done.left == ("any/accepted.json",)
    assert (value(two), runs(two)) == (2, ["r1"])
    assert not done.pushed
    git(two, "commit", "--quiet", "-m", "accepted")
    assert git(two, "describe", "--always", "--dirty=+")[-1] != "+"


def test_files_of_the_branch_that_are_no_results_stay(clone, origin, tmp_path):
    one = clone("one")
    save(one, "r1")
    sync(one)
    other = tmp_path / "by hand"
    git(tmp_path, "clone", "--quiet", "-b", BRANCH, str(origin), str(other))
    (other / "README.md").write_text("results\n")
    (other / "m" / "notes.txt").write_text("a quiet machine\n")
    git(other, "add", "--all")
    git(other, "commit", "--quiet", "-m", "notes")
    git(other, "push", "--quiet")
    save(one, "r2", day=2)
    done = sync(one)
    listed = git(one, "ls-tree", "-r", "--name-only", done.commit).split()
    assert listed == ["README.md", "m/history.jsonl", "m/notes.txt"]
    assert not (one / "results" / "README.md").exists()


def test_the_newest_acceptance_reaches_everybody(clone):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    sync(one)
    sync(two)
    accept(two, 2, day=2)
    sync(two)
    sync(one)
    assert (value(one), value(two)) == (2, 2)


def test_a_conflict_is_refused_and_can_be_taken(clone, monkeypatch):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    sync(one)
    sync(two)
    accept(one, 2, day=2)
    accept(two, 3, day=3)
    sync(one)
    done = tlbench(two, monkeypatch=monkeypatch)
    assert done.exit_code == 2
    assert "(day 3) here and accepted 2026-01-02 by Ada (day 2) on" in done.output
    assert value(two) == 3
    done = tlbench(two, "--take", "local", monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    assert value(two) == 3
    sync(one)
    assert value(one) == 3


def test_what_was_only_fetched_is_no_agreement(clone):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    sync(one)
    accept(two, 2, day=2)
    sync(two, push=False)
    accept(one, 3, day=3)
    sync(one)
    with pytest.raises(ValueError, match=r"day 2\) here and .* \(day 3\) on"):
        sync(two)


def test_a_sync_that_was_killed_loses_nothing_and_is_done_again(clone, monkeypatch):
    one, two = clone("one"), clone("two")
    save(one, "r1", day=1)
    sync(one)
    save(two, "r2", day=2)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:  # after the push, before the local files
        context.setattr(syncing, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            sync(two)
    assert runs(two) == ["r2"]
    sync(two)
    assert runs(two) == ["r1", "r2"]
    assert not list((two / "results").rglob(".*-*"))


@pytest.mark.parametrize("step", range(3))
def test_a_sync_that_is_killed_between_two_files_leaves_whole_ones(
    clone, monkeypatch, step
):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    save(one, "r1", day=1)
    sync(one)
    save(two, "r2", day=2)
    write, written = documents.write_bytes, []

    def killed(path, data):
        if len(written) == step:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    with monkeypatch.context() as context:
        context.setattr(documents, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            sync(two)
    assert "r2" in runs(two)
    sync(two)
    assert (runs(two), value(two)) == (["r1", "r2"], 1)


def test_two_syncs_of_one_folder_wait_for_each_other(clone):
    one = clone("one")
    save(one, "r1")
    words = [sys.executable, "-m", "tlbench", "sync", BRANCH]
    running = [subprocess.Popen(words, cwd=one) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert sync(one).pushed is False


def test_a_runner_without_a_name_commits_all_the_same(clone, monkeypatch, tmp_path):
    (tmp_path / "gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    one = clone("one")
    save(one, "r1")
    commit = sync(one).commit
    assert git(one, "log", "--format=%an %ae", commit) == "tlbench tlbench@localhost"


# Retention


def test_old_runs_are_folded_before_they_are_pushed_and_stay_folded(clone, monkeypatch):
    one, two = clone("one"), clone("two")
    for number in range(1, 8):
        save(one, f"r{number}", day=number)
    sync(one)
    sync(two)
    save(two, "r9", day=9)
    done = tlbench(two, "--keep-days", "1", monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    for folder in (one, two):
        sync(folder)
        kept = history.read(history_path(folder / "results", "m"))
        assert [entry.run for entry in kept.entries] == ["r9"]
        assert [(x.month, x.runs) for x in kept.summaries] == [("2026-01", 7)]


def test_accepted_runs_are_not_folded(clone, monkeypatch):
    one = clone("one")
    for number in range(1, 5):
        save(one, f"r{number}", day=number)
    how = Acceptance(by="Ada", when="", reason="first", evidence="")
    figures = Figures(version="", series={"epoch": {"r2": 1.0}})
    known = MachineBaseline(figures=figures, accepted=how, anchored=how)
    write_figures(one / "results", "m", {"a.py::t": known})
    sync(one)
    # Also by a runner that learns only now what is accepted.
    two = clone("two")
    for folder in (two, one):
        done = tlbench(folder, "--keep-days", "1", monkeypatch=monkeypatch)
        assert done.exit_code == 0, done.output
        assert runs(folder) == ["r2", "r4"]


def test_prune_folds_without_a_branch(clone, monkeypatch):
    one = clone("one")
    for number in range(1, 5):
        save(one, f"r{number}", day=number)
    monkeypatch.chdir(one)
    words = ["prune", "--keep-days"]
    done = CliRunner().invoke(main, [*words, "1"])
    assert (done.exit_code, done.output) == (0, "2 lines fewer in the history of m\n")
    assert runs(one) == ["r4"]
    done = CliRunner().invoke(main, [*words, "1"])
    assert "there is nothing to fold" in done.output
    refused(CliRunner().invoke(main, [*words, "0"]), "keep_days=0. Pass for instance")
    refused(CliRunner().invoke(main, ["sync", "x", "--keep-days", "0"]), "keep_days=0")


# Refusals


def refused(done, *parts):
    assert (done.exit_code, done.exception.__class__) == (2, SystemExit), done.output
    for part in parts:
        assert part in done.output


def test_outside_of_a_repository(tmp_path, monkeypatch):
    refused(
        tlbench(tmp_path, monkeypatch=monkeypatch), "must start in a git repository"
    )
    assert not (tmp_path / "results").exists()


def test_without_git(clone, monkeypatch):
    one = clone("one")
    monkeypatch.setenv("PATH", str(one / "nothing"))
    refused(tlbench(one, monkeypatch=monkeypatch), "no program 'git' on PATH")


def test_without_a_remote(clone, monkeypatch):
    one = clone("one")
    done = tlbench(one, "--remote", "upstream", monkeypatch=monkeypatch)
    refused(done, "remote='upstream'", "The repository has origin.")
    git(one, "remote", "remove", "origin")
    refused(tlbench(one, monkeypatch=monkeypatch), "The repository has no remote.")


@pytest.mark.parametrize("name", ["a..b", "-x", "a b", ""])
def test_a_name_that_is_no_branch(clone, monkeypatch, name):
    monkeypatch.chdir(clone("one"))
    done = CliRunner().invoke(main, ["sync", "--", name])
    refused(done, "must be a name that git allows for a branch", repr(name))


def test_a_branch_that_holds_something_else(clone, origin, monkeypatch):
    one = clone("one")
    save(one, "r1")
    git(one, "push", "--quiet", "origin", "HEAD:refs/heads/dev")
    monkeypatch.chdir(one)
    for name, why in (("main", "is checked out"), ("dev", "other files: code.py")):
        refused(CliRunner().invoke(main, ["sync", name]), why)
    assert git(origin, "rev-parse", "dev") == git(origin, "rev-parse", "main")


def test_a_remote_that_refuses_the_push_is_not_asked_again(clone, origin, monkeypatch):
    one = clone("one")
    save(one, "r1")
    hook = origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho a protected branch >&2\nexit 1\n")
    hook.chmod(0o755)
    done = tlbench(one, monkeypatch=monkeypatch)
    refused(done, "pre-receive hook declined", "pass --no-push")
    assert "attempt" not in done.output
    assert tlbench(one, "--no-push", monkeypatch=monkeypatch).exit_code == 0


def test_a_damaged_file_on_the_branch_is_named(clone, monkeypatch):
    one, two = clone("one"), clone("two")
    accept(one, 1)
    path = one / "results" / "any" / "accepted.json"
    data = json.loads(path.read_text())
    sync(one)
    data["cases"]["a.py::t"]["exact"]["n"] = 7
    tip = branch.fetch(place(one))
    text = json.dumps(data).encode()
    wrong = branch.commit(place(one), tip, {"any/accepted.json": text}, "by hand")
    assert branch.push(place(one), wrong, tip)
    done = tlbench(two, monkeypatch=monkeypatch)
    refused(done, f"{BRANCH} of origin/any/accepted.json", "was changed by hand")
