"""What a gated session does on a machine that no figure was accepted for."""

import subprocess

import pytest

from tlbench.pairing.comparison import NEW, Comparison
from tlbench.pairing.judging import Row
from tlbench.recorder import Recorder
from tlbench.settings import Settings
from tlbench.unknown import Base, Question, answer, find_base
from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.judge import judge
from tlbench.verdicts.limits import Limits, Policy
from tlbench.verdicts.verdict import Finding

pytestmark = pytest.mark.usefixtures("own_git")

TIMED = "bench_a.py::bench_b"


def git(folder, *words):
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A clone on a branch of its own, one commit ahead of main and one of dev."""
    origin, top = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(origin))
    for name in ("one", "two"):
        (origin / "code.py").write_text(name)
        git(origin, "add", "--all")
        git(origin, "commit", "--quiet", "-m", name)
        git(origin, "branch", {"one": "dev", "two": "unused"}[name])
    git(tmp_path, "clone", "--quiet", f"file://{origin}", str(top))
    git(top, "checkout", "--quiet", "-b", "change")
    (top / "code.py").write_text("three")
    git(top, "commit", "--quiet", "-am", "three")
    return top


def sha(folder, name):
    return git(folder, "rev-parse", name)


# The base


@pytest.mark.parametrize(
    "variable", ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"]
)
def test_the_base_is_the_merge_base_with_what_a_pull_request_is_for(clone, variable):
    found = find_base(clone, environ={variable: "dev"})
    commit = sha(clone, "HEAD~2")
    assert found == Base(
        commit=commit, words=f"the merge base with dev ({commit[:12]})"
    )


def test_without_a_pull_request_it_is_that_with_the_default_branch(clone):
    # GitHub sets the variable for pushes too, but empty.
    assert find_base(clone, environ={"GITHUB_BASE_REF": ""}).commit == sha(
        clone, "HEAD~1"
    )
    git(clone, "remote", "set-head", "origin", "--delete")  # as on a hosted CI
    assert find_base(clone, environ={}).commit == sha(clone, "HEAD~1")


def test_a_named_base_is_that_commit(clone):
    found = find_base(clone, "origin/dev", environ={"GITHUB_BASE_REF": "main"})
    assert found.words == f"origin/dev ({sha(clone, 'HEAD~2')[:12]})"
    with pytest.raises(ValueError, match=r"Received: base='nowhere'"):
        find_base(clone, "nowhere")


def test_the_same_commit_is_nothing_to_compare_with_unless_files_changed(clone):
    git(clone, "checkout", "--quiet", "main")
    with pytest.raises(ValueError, match=r"must differ from origin/HEAD .*--tl-base"):
        find_base(clone, environ={})
    (clone / "code.py").write_text("changed")
    assert find_base(clone, environ={}).commit == sha(clone, "main")


def test_a_base_that_is_not_there_is_named(clone, tmp_path):
    with pytest.raises(ValueError, match=r"none of origin/gone, gone\. .*fetch-depth"):
        find_base(clone, environ={"GITHUB_BASE_REF": "gone"})
    git(clone, "push", "--quiet", "origin", "change")
    url = f"file://{tmp_path / 'origin'}"
    git(tmp_path, "clone", "--quiet", "--depth=1", "-b", "change", url, "shallow")
    git(tmp_path / "shallow", "fetch", "--quiet", "--depth=1", "origin", "dev:dev")
    with pytest.raises(ValueError, match=r"none with dev\. In a shallow clone fetch"):
        find_base(tmp_path / "shallow", environ={"GITHUB_BASE_REF": "dev"})


# The answer


def session(**more):
    recorder = Recorder(TIMED)
    recorder.timing("epoch", [1.0, 1.0])
    for name, value in more.items():
        recorder.exact(name, value)
    other = Recorder("bench_a.py::bench_count")
    other.exact("n", 1)
    records = {
        x.case: x for x in (recorder.snapshot("passed"), other.snapshot("passed"))
    }
    exact = {"bench_a.py::bench_count": {"n": 1}, **({TIMED: more} if more else {})}
    accepted = Accepted(exact=exact)
    return judge(records, accepted), accepted


POLICY = Policy(Limits(practical_size=0.1))


def answered(clone, word, row=None, *, error=None, devices=False, **settings):
    asked = []

    def compare(request, options, **more):
        asked.append((request, options, more))
        if error:
            raise error
        rows = () if row is None else (row,)
        return Comparison(base="b", head="h", rows=rows, pairs=8, seconds=1.0)

    cases, accepted = session(**({"n": 3} if row and row.differing else {}))
    question = Question(
        answer=word,
        base="origin/dev",
        root=clone,
        settings=Settings(install="make install", budget=7, policy=POLICY, **settings),
        options=("--size=2",),
        devices=devices,
    )
    found, notes = answer(
        cases, accepted, question, say=lambda _: None, compare=compare
    )
    return {case.case: case for case in found}, notes, asked


def fails(cases):
    return [str(x) for case in cases.values() for x in case.findings if x.fails]


def test_fail_leaves_the_findings_as_they_are(clone):
    cases, notes, asked = answered(clone, "fail")
    assert fails(cases) == ["missing: no baseline for this machine"]
    assert (notes, asked) == ((), [])


def test_warn_says_so_and_fails_nothing(clone):
    cases, notes, asked = answered(clone, "warn")
    assert cases[TIMED].verdict == "missing"
    assert (fails(cases), asked) == ([], [])
    assert notes == (
        "no figure was ever accepted for this machine: those of 1 case were not "
        "judged, which fails nothing (--tl-unknown warn)",
    )


def test_ab_compares_the_cases_with_figures_and_no_others(clone):
    row = Row(case=TIMED, pairs=8)
    cases, notes, ((request, options, more),) = answered(clone, "ab", row)
    assert fails(cases) == []
    assert request.base == sha(clone, "HEAD~2")
    assert (request.paths, request.install) == (("bench_a.py",), "make install")
    assert (options, more["only"], more["budget"]) == (("--size=2",), [TIMED], 7)
    assert more["whole"] is True
    assert more["policy"] is POLICY
    assert "origin/dev" in notes[0]
    assert "equal to it within 0.0% in 8 pairs" in cases[TIMED].findings[0].why


@pytest.mark.parametrize("verdict", ["regression", "inconclusive", "not_comparable"])
def test_what_the_pair_finds_fails_the_session(clone, verdict):
    row = Row(case=TIMED, pairs=8, findings=(Finding(verdict, "cpu is 30% slower"),))
    cases, _, _ = answered(clone, "ab", row)
    (found,) = fails(cases)
    assert found.startswith(f"{verdict}: ")
    assert "cpu is 30% slower, measured in turn with origin/dev (" in found
    assert found.startswith("regression: by the code: ") is (verdict == "regression")


def test_a_case_that_the_base_has_not_fails_nothing(clone):
    row = Row(case=TIMED, findings=(Finding("missing", NEW),))
    cases, _, _ = answered(clone, "ab", row)
    assert fails(cases) == []
    assert "has no such case" in cases[TIMED].findings[0].why


def test_a_case_that_the_pair_could_not_collect_fails(clone):
    row = Row(case=TIMED, findings=(Finding("missing", "cannot be collected"),))
    assert len(fails(answered(clone, "ab", row)[0])) == 1


def test_an_accepted_change_of_exact_values_is_no_regression_of_the_pair(clone):
    found = Finding("regression", "n: 1 -> 3")
    row = Row(case=TIMED, pairs=1, findings=(found,), differing=("n",))
    cases, _, _ = answered(clone, "ab", row)
    assert fails(cases) == []
    assert "has other exact values" in cases[TIMED].findings[0].why


@pytest.mark.parametrize("word", ["ab", ""])
@pytest.mark.parametrize("error", [ValueError("does not install"), OSError("full")])
def test_a_pair_that_cannot_be_had_clears_nothing(clone, word, error):
    cases, notes, _ = answered(clone, word, error=error)
    assert fails(cases) == ["missing: no baseline for this machine"]
    assert str(error) in notes[0]


def test_a_pair_without_the_devices_of_the_session_clears_nothing(clone):
    row = Row(case=TIMED, pairs=8)
    cases, notes, _ = answered(clone, "ab", row, devices=True)
    assert len(fails(cases)) == 1
    assert "the pair had no device" in notes[0]


def test_by_default_it_compares_where_there_is_a_base_and_the_project_has_pairs(clone):
    row = Row(case=TIMED, pairs=8)
    assert fails(answered(clone, "", row)[0]) == []
    assert fails(answered(clone, "", row, convict=False)[0])


def test_by_default_it_fails_without_a_base(tmp_path):
    cases, accepted = session()
    for word, notes in (("", 0), ("ab", 1)):
        question = Question(answer=word, base="", root=tmp_path, settings=Settings())
        found, said = answer(cases, accepted, question, say=lambda _: None)
        assert found == cases
        assert len(said) == notes
