"""Comparisons of two sides with real processes: what is compared, and what is found.

Nothing here depends on how long anything takes: the cases record scripted values.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

import tlbench
from tlbench.pairing import comparison
from tlbench.pairing.comparison import compare
from tlbench.pairing.pairs import Launch
from tlbench.pairing.sides import Side

SUITE = """
import os
import pytest

SIDE = os.environ["SIDE"]
HEAD = SIDE == "head"
"""


@pytest.fixture
def one_pair(monkeypatch):
    """End every comparison after its first pair: what it says of time is not asked."""
    monkeypatch.setattr(comparison, "LOOKS", (1,))


@pytest.fixture
def launch(tmp_path):
    """Return a function that compares two sides of a suite with some cases."""
    tool = tmp_path / "tool"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(tlbench.__file__).parent, tool / "tlbench", ignore=ignore)
    aside = tmp_path / "aside"
    aside.mkdir()

    def make(cases, *, options=(), **files):
        folders = []
        for name in ("base", "head"):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "test_some.py").write_text(SUITE + cases, encoding="utf-8")
            for file, content in files.items():
                (folder / f"{file}.py").write_text(content, encoding="utf-8")
            folders.append(folder)
        sides = tuple(
            Side(
                name=folder.name,
                title=folder.name,
                python=Path(sys.executable),
                folder=folder,
                tree=None,
                commit="",
                environ={**_environ(), "SIDE": folder.name},
            )
            for folder in folders
        )
        return Launch(
            sides=sides,
            paths=("test_some.py",),
            options=("--rootdir", ".", *options),
            tool=tool,
            aside=aside,
        )

    return make


def _environ():
    """Return the environment of a session that is not within another."""
    left_out = ("PYTEST", "COV_", "HYPOTHESIS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    # Without plugins that take longer to import than a case here takes.
    light = "-p no:hypothesispytest -p no:xdist -p no:timeout"
    return {**kept, "PYTEST_ADDOPTS": light}


def run(launch, **options):
    said = []
    done = compare(launch, say=said.append, budget=600, **options)
    rows = {row.case.partition("::")[2]: row for row in done.rows}
    return done, rows, said


def said(row):
    return "; ".join(map(str, row.findings))


def test_exact_values_are_compared_and_one_pair_is_enough_for_those(launch):
    done, rows, _ = run(
        launch("""
def test_params(record):
    record.exact("trainable_params", 906_042 if HEAD else 12_810)
def test_same(record):
    record.exact("layers", 237)
""")
    )
    assert said(rows["test_params"]) == (
        "regression: trainable_params: 12,810 -> 906,042"
    )
    assert rows["test_same"].verdict == "pass"
    assert done.has_findings


@pytest.mark.matrix
def test_recorded_seconds_of_twice_the_size_are_convicted(launch):
    done, rows, _ = run(
        launch("""
def test_epoch(record):
    record.timing("epoch", [2.0 * (1 + HEAD)] * 3)
def test_other(record):
    record.timing("epoch", [1.0, 1.0])
""")
    )
    assert "epoch is 100.0% slower: 2 s -> 4 s" in said(rows["test_epoch"])
    assert rows["test_other"].verdict == "pass"
    # Decided at once: it took no part in the pairs that convicted the other.
    assert rows["test_other"].pairs < rows["test_epoch"].pairs == done.pairs


@pytest.mark.usefixtures("one_pair")
def test_cases_of_pytest_benchmark_run_in_blocks_with_their_own_results(launch):
    _, rows, _ = run(
        launch("""
CALLS = []
@pytest.fixture
def data():
    return [3, 1, 2]
def test_sorted(benchmark, data):
    assert benchmark(sorted, data) == [1, 2, 3]
    assert benchmark.stats.stats.rounds > 2
def test_pedantic(benchmark):
    left = iter(range(6))
    result = benchmark.pedantic(lambda: next(left), rounds=4, warmup_rounds=2)
    assert result == 5
    assert len(benchmark.stats.stats.data) == 4
def test_setup(benchmark):
    def setup():
        return ([2, 1],), {}
    assert benchmark.pedantic(sorted, setup=setup, rounds=3) == [1, 2]
def test_iterations(benchmark):
    benchmark.pedantic(CALLS.append, args=(1,), rounds=3, iterations=10)
    assert len(CALLS) == 31  # and once more for the result
""")
    )
    for row in rows.values():
        assert not any(one.verdict == "regression" for one in row.findings), said(row)
        assert {change.name for change in row.changes} == {"cpu", "wall"}


@pytest.mark.usefixtures("one_pair")
def test_a_case_that_fails_on_one_side_is_a_finding(launch):
    _, rows, _ = run(
        launch("""
def test_head(benchmark):
    assert not HEAD, "boom"
    benchmark(sorted, [1])
def test_base(record):
    assert HEAD, "old"
    record.exact("a", 1)
def test_in_the_call(benchmark):
    def call():
        raise RuntimeError("within")
    benchmark(call)
@pytest.fixture
def broken():
    raise RuntimeError("fixture")
def test_setup(record, broken):
    pass
def test_skip(record):
    pytest.skip("not today")
""")
    )
    assert said(rows["test_head"]).startswith(
        "regression: the case failed on the head only: AssertionError: boom"
    )
    assert "not_comparable: the case failed on the base only" in said(rows["test_base"])
    assert "failed on both sides: RuntimeError: within" in (
        said(rows["test_in_the_call"])
    )
    assert "failed on both sides: RuntimeError: fixture" in said(rows["test_setup"])
    assert "skipped on both sides: Skipped: not today" in said(rows["test_skip"])


@pytest.mark.matrix
def test_a_case_that_one_side_lacks_is_a_finding(launch):
    _, rows, _ = run(
        launch("""
if HEAD:
    def test_new(record):
        record.exact("a", 1)
else:
    def test_gone(record):
        record.exact("a", 1)
def test_both(record):
    record.exact("a", 1)
""")
    )
    assert said(rows["test_new"]) == "missing: head only"
    assert said(rows["test_gone"]) == "missing: base only"
    assert rows["test_both"].verdict == "pass"


def test_a_process_that_crashes_takes_only_its_case_along(launch):
    _, rows, said_lines = run(
        launch("""
def test_first(record):
    record.exact("a", 1)
def test_crash(benchmark):
    if HEAD:
        os._exit(3)
    benchmark(sorted, [1])
def test_last(record):
    record.exact("a", 1)
""")
    )
    assert "failed on the head only" in said(rows["test_crash"])
    assert rows["test_first"].verdict == rows["test_last"].verdict == "pass"
    assert any("the process ended in test_some.py::test_crash" in x for x in said_lines)


@pytest.mark.matrix
def test_a_suite_that_cannot_be_collected_on_the_base_is_a_finding(launch):
    one = launch(
        """
def test_fine(record):
    record.exact("a", 1)
""",
        test_other="""
import os
if os.environ["SIDE"] == "base":
    import no_such_module
def test_new_api(record):
    record.exact("a", 1)
""",
    )
    one = Launch(**{**vars(one), "paths": ("test_some.py", "test_other.py")})
    done, rows, _ = run(one)
    assert rows["test_fine"].verdict == "pass"
    (found,) = [row for row in done.rows if row.case == "test_other.py"]
    assert "cannot be collected on the base: ModuleNotFoundError" in said(found)
    assert "test_new_api" not in rows


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ("def test_plain():\n    pass\n", "cases that use the fixture benchmark"),
        ("raise ImportError('gone')\n", "ImportError: gone"),
    ],
)
def test_a_suite_without_such_cases_is_refused(launch, cases, message):
    with pytest.raises(ValueError, match=message):
        run(launch(cases))


def test_an_option_that_pytest_does_not_know_is_refused_with_its_words(launch):
    with pytest.raises(ValueError, match=r"base: .*unrecognized arguments: --nonsense"):
        run(launch("", options=["--nonsense"]))


def test_a_side_that_imports_the_code_of_the_other_is_refused(launch, tmp_path):
    one = launch("""
import sys
sys.path.insert(0, os.environ["SHARED"])
import shared
def test_some(record):
    record.exact("a", 1)
""")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "shared.py").write_text("", encoding="utf-8")
    for side in one.sides:
        side.environ["SHARED"] = str(shared)
    with pytest.raises(ValueError, match=r"own code. Received: the base imports"):
        run(one, foreign={"base": [shared]})


@pytest.mark.matrix
def test_only_the_named_cases_are_compared(launch):
    _, rows, _ = run(
        launch("""
def test_a(record):
    record.exact("a", 1)
def test_b(record):
    record.exact("a", 1)
"""),
        only=["test_some.py::test_b", "test_some.py::test_c"],
    )
    assert rows["test_b"].verdict == "pass"
    assert said(rows["test_c"]) == "missing: it is not on both sides"
    assert "test_a" not in rows


def test_a_budget_that_ends_within_the_first_pair_is_refused(launch):
    one = launch("""
def test_long(record):
    import time
    time.sleep(60)
""")
    begin = time.monotonic()
    with pytest.raises(ValueError, match="--budget must be enough for one pair"):
        compare(one, say=lambda _: None, budget=1)
    assert time.monotonic() - begin < 55  # nobody waits for the case


@pytest.mark.matrix
def test_cases_that_the_budget_does_not_reach_are_inconclusive(launch):
    one = launch("""
def test_short(record):
    record.exact("a", 1)
def test_long(record):
    import time
    time.sleep(60)
""")
    done = compare(one, say=lambda _: None, budget=15)
    rows = {row.case.partition("::")[2]: row for row in done.rows}
    assert rows["test_short"].verdict == "pass"
    assert said(rows["test_long"]).startswith("inconclusive: it was not measured")
    assert "the budget of 15 s ended" in done.notes[0]


def test_ctrl_c_judges_what_there_is_and_leaves_no_process(launch):
    one = launch("""
def test_some(record):
    record.timing("epoch", [1.0 + HEAD], warmup=0)
""")
    lines = []

    def say(line):
        lines.append(line)
        if line.startswith("pair 2"):
            raise KeyboardInterrupt

    done = compare(one, say=say, budget=600)
    assert done.interrupted
    assert done.rows[0].case == "test_some.py::test_some"
    assert "interrupted" in done.notes[-1]


@pytest.mark.usefixtures("one_pair")
def test_options_of_the_suite_that_would_write_or_leave_out_are_undone(launch):
    _, rows, _ = run(
        launch(
            """
def test_some(benchmark):
    benchmark(sorted, [1])
""",
            options=["-x", "--benchmark-disable", "--benchmark-json", "out.json"],
        )
    )
    assert {change.name for change in rows["test_some"].changes} == {"cpu", "wall"}
