"""How often and by which clock the fixture `benchmark` timed, from run to run."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from tlbench.benchmark_fixture import keep_iterations
from tlbench.cli import main
from tlbench.storage.baselines import read_figures, write_figures
from tlbench.storage.last_run import read_last_run

CASE = "test_work.py::test_work"
# The seconds of the work are set from outside, so that the case stays the same.
WORK = """
    import os, time

    def work():
        time.sleep(float(os.environ["WORK"]))

    def test_work(benchmark):
        benchmark(work)
"""
SHORT, LONG = "0.000001", "0.000006"
"""Calibrated to 10 iterations and to one."""


@pytest.fixture
def work(pytester, monkeypatch, scripted_clock):
    """Run a suite by a clock that only `time.sleep` moves."""
    pytester.makepyfile(test_work=WORK)
    monkeypatch.chdir(pytester.path)
    quick = "--benchmark-max-time=0.0001"

    def run(seconds, *options):
        monkeypatch.setenv("WORK", seconds)
        return pytester.runpytest("--tl-results=kept", quick, scripted_clock, *options)

    return run


@pytest.fixture
def accepted(work):
    """The suite, and five accepted runs of it."""
    for _ in range(5):
        assert work(SHORT, "--tl-save").ret == 0
    words = ["accept", "--reason", "x", "--results", "kept"]
    done = CliRunner().invoke(main, words)
    assert "5 runs each" in done.output
    return work


def timing(pytester, case=CASE):
    run, _ = read_last_run(pytester.path / "kept")
    return run.cases[case].timings["benchmark"]


def findings(result):
    return [x for x in result.outlines if x.startswith(f"{CASE}: ")]


def test_iterations_and_timer_are_recorded(work, pytester):
    work(SHORT)
    assert (timing(pytester).iterations, timing(pytester).timer) == (10, "clock")
    work(LONG)
    assert timing(pytester).iterations == 1


def test_a_case_keeps_its_accepted_iterations(accepted, pytester):
    result = accepted(LONG, "--tl-gate")
    assert timing(pytester).iterations == 10
    assert findings(result)[0].startswith(f"{CASE}: regression: benchmark 6 us is")


def test_before_anything_is_accepted_the_newest_saved_run_is_followed(work, pytester):
    work(SHORT, "--tl-save")
    work(LONG, "--tl-save")
    assert timing(pytester).iterations == 10


def test_another_version_of_the_case_is_calibrated_again(accepted, pytester):
    file = pytester.path / "test_work.py"
    file.write_text(file.read_text().replace("benchmark(work)", "x = benchmark(work)"))
    accepted(LONG)
    assert timing(pytester).iterations == 1


def test_a_version_that_the_case_sets_counts(work, pytester):
    said = WORK.replace(
        "(benchmark):", "(benchmark, record):\n        record.version(2)"
    )
    pytester.makepyfile(test_work=said)
    work(SHORT, "--tl-save")
    pytester.makepyfile(
        test_work=said.replace("benchmark(work)", "_ = benchmark(work)")
    )
    work(LONG, "--tl-save")
    assert timing(pytester).iterations == 10


def test_a_round_of_no_length_is_calibrated_again():
    class Fixture:
        def _calibrate_timer(self, runner):
            return runner(range(500)), 500, range(500)

    fixture = Fixture()
    keep_iterations(fixture, lambda: 10)
    seconds = {10: 0.0, 500: 1.0}
    found = fixture._calibrate_timer(lambda loop: seconds[len(loop)])
    assert found == (1.0, 500, range(500))
    seconds[10] = 0.5
    found = fixture._calibrate_timer(lambda loop: seconds[len(loop)])
    assert found == (0.5, 10, range(10))


def test_another_number_of_iterations_is_not_comparable(accepted, pytester):
    # A figure of `pedantic` is given its number.
    file = pytester.path / "test_work.py"
    text = file.read_text().replace(
        "(benchmark):", "(benchmark, record):\n    record.version(1)"
    )
    file.write_text(text)
    for _ in range(5):
        accepted(SHORT, "--tl-save")
    CliRunner().invoke(main, ["accept", "--reason", "x", "--results", "kept"])
    file.write_text(text.replace("(work)", ".pedantic(work, rounds=5, iterations=1)"))
    result = accepted(SHORT, "--tl-gate")
    assert result.ret == 1
    assert findings(result) == [
        f"{CASE}: not_comparable: benchmark was timed with 1 iteration a round, "
        "accepted with 10"
    ]


def test_another_timer_is_not_comparable(accepted, pytester):
    conftest = pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\ndef other():\n    return clock()\n")
    result = accepted(SHORT, "--tl-gate", "--benchmark-timer=conftest.other")
    assert result.ret == 1
    assert findings(result) == [
        f"{CASE}: not_comparable: benchmark was timed by other, accepted with clock"
    ]


def test_a_fresh_process_does_the_iterations_of_its_session(accepted, pytester):
    results = pytester.path / "kept"
    (folder,) = (path.parent for path in results.glob("*/history.jsonl"))
    (folder / "history.jsonl").unlink()
    # As accepted by a version that knew no iterations: a fresh process finds none.
    known = read_figures(results, folder.name)
    bare = replace(known[CASE].figures, iterations={})
    write_figures(results, folder.name, {CASE: replace(known[CASE], figures=bare)})
    # The session meets a bad moment and calibrates to 1, a fresh process would to 10.
    conftest = pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text() + "\ndef pytest_configure(config):\n"
        "    import os\n"
        "    if config.getoption('--tl-records'):\n"
        f"        os.environ['WORK'] = '{SHORT}'\n"
    )
    result = accepted(LONG, "--tl-gate", "--tl-confirm", "2")
    assert findings(result) == []
    assert result.ret == 0


def test_the_fixture_is_followed_wherever_it_is_asked_for(work, pytester):
    asked = WORK.replace("(benchmark):", "(request):").replace(
        "        benchmark(work)", "        request.getfixturevalue('benchmark')(work)"
    )
    pytester.makepyfile(test_work=asked)
    work(SHORT, "--tl-save")
    work(LONG, "--tl-save")
    assert timing(pytester).iterations == 10


TWO_CLOCKS = """
    import time

    def works():
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass

    def test_works(benchmark):
        benchmark(works)

    def test_waits(benchmark):
        benchmark.pedantic(time.sleep, (0.05,), rounds=3)

    def test_prepares(benchmark):
        benchmark.pedantic(works, setup=lambda: time.sleep(0.001), rounds=5)
"""


def test_both_clocks_are_recorded(pytester):
    pytester.makepyfile(test_work=TWO_CLOCKS)
    short = "--benchmark-max-time=0.05"
    assert pytester.runpytest("--tl-results=kept", short).ret == 0
    works, waits, prepares = (
        timing(pytester, f"test_work.py::test_{name}")
        for name in ("works", "waits", "prepares")
    )
    assert works.clocks == ("cpu",)
    # Up to a round's preparation; the work itself is 2 ms of processor time.
    assert works.cpu == pytest.approx(0.002, rel=0.3)
    assert waits.clocks == ("wall",)
    assert waits.cpu < waits.median / 2
    assert prepares.cpu == pytest.approx(0.002, rel=0.3)


def test_processor_time_is_of_one_iteration(pytester):
    pytester.makepyfile(
        test_work="""
            def test_work(benchmark):
                benchmark.pedantic(sum, (range(20_000),), rounds=9, iterations=50)
        """
    )
    pytester.runpytest("--tl-results=kept")
    found = timing(pytester)
    assert found.iterations == 50
    # A busy machine makes the median longer, never shorter.
    assert found.cpu < 2 * found.median


def test_whoever_chooses_a_timer_that_is_no_wall_clock_gets_that_alone(work, pytester):
    work(SHORT)
    assert (timing(pytester).cpu, timing(pytester).clocks) == (None, ())


def test_both_clocks_are_kept_accepted_and_judged(pytester, monkeypatch):
    monkeypatch.chdir(pytester.path)
    pytester.makepyfile(test_work=TWO_CLOCKS)
    options = ("--tl-results=kept", "--benchmark-max-time=0.01", "-k", "works")
    for _ in range(5):
        assert pytester.runpytest(*options, "--tl-save").ret == 0
    done = CliRunner().invoke(main, ["accept", "--reason", "x", "--results", "kept"])
    assert "5 runs each" in done.output
    (machine,) = (pytester.path / "kept").glob("*/history.jsonl")
    known = read_figures(pytester.path / "kept", machine.parent.name)
    series = known["test_work.py::test_works"].figures.series
    assert series.keys() == {"benchmark", "benchmark (cpu)"}
    # Fifty times the work, whatever else the machine does meanwhile.
    slow = (pytester.path / "test_work.py").read_text().replace("+ 0.002", "+ 0.1")
    (pytester.path / "test_work.py").write_text(slow)
    result = pytester.runpytest(*options, "--tl-gate")
    assert result.ret == 1
    found = [x for x in result.outlines if x.startswith("test_work.py::test_works: ")]
    assert (
        found[0]
        .split(" is ")[0]
        .startswith("test_work.py::test_works: regression: benchmark (cpu)")
    )
