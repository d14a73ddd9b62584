"""Fresh processes repeat the session: its options, its environment, its folder."""

import textwrap

import pytest

from tlbench import baseline, machine
from tlbench.storage.baselines import MachineBaseline, write_figures
from tlbench.verdicts.figures import Figures

CASE = "test_work.py::test_work"
CONFTEST = """
    def pytest_addoption(parser):
        parser.addoption("--size", type=int, default=1)
        parser.addoption("--sizes", metavar="FILE")
        parser.addini("size", "how much work", default="1")
"""
WORK = """
    import os
    from pathlib import Path

    def test_work(record, pytestconfig):
        size = pytestconfig.getoption("size") * int(pytestconfig.getini("size"))
        size *= int(os.environ.get("SIZE", "1"))
        file = pytestconfig.getoption("sizes")
        size *= int(Path(file).read_text()) if file else 1
        record.version(1)
        record.timing("work", [1.0 * size], warmup=0)
"""
CONFIRM = ("--tl-gate", "--tl-confirm", "1")


@pytest.fixture
def accept(pytester, acceptance):
    """Accept five runs of a second each for a case of this machine."""
    here = baseline.Machine.of(machine.identity(ask=machine.nvidia_smi()))

    def write(case):
        series = {"work": {f"r{i}": 1.0 + i / 1000 for i in range(5)}}
        figures = Figures(version="1", series=series, anchor=series)
        known = MachineBaseline(
            figures=figures, accepted=acceptance, anchored=acceptance
        )
        write_figures(pytester.path / "results", here.name, {case: known})

    return write


@pytest.fixture
def work(pytester, accept):
    """A suite whose work has a size, and its accepted runs of size 1."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_work=WORK)
    accept(CASE)
    return pytester


def findings(result):
    return [line for line in result.outlines if line.startswith(f"{CASE}: ")]


def convicted(result):
    """Tell whether the fresh runs found twice the work, and nothing else is said."""
    (finding,) = findings(result)
    assert "mean of 1 fresh run" in finding, result.stdout.str()
    return "regression: work 2 s is 99.6% slower" in finding and result.ret == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--size", "2"),
        pytest.param(("--size=2", "test_work.py"), marks=pytest.mark.matrix),
        (CASE, "--size", "2", "-x", "-k", "work"),
        ("-o", "size=2"),
        pytest.param(("-osize=2", "-qx"), marks=pytest.mark.matrix),
        pytest.param(
            ("--override-ini=size=2", "--junitxml=junit.xml", "--maxfail", "1"),
            marks=pytest.mark.matrix,
        ),
    ],
)
def test_twice_the_work_by_an_option_stays_a_regression(work, options):
    assert convicted(work.runpytest(*CONFIRM, *options))


def test_twice_the_work_by_the_environment_stays_a_regression(work, monkeypatch):
    monkeypatch.setenv("SIZE", "2")
    assert convicted(work.runpytest(*CONFIRM))


@pytest.mark.parametrize(
    "more",
    [
        "-k nothing",
        pytest.param("-n 2 -p xdist", marks=pytest.mark.matrix),
        pytest.param("-x --maxfail 1", marks=pytest.mark.matrix),
    ],
)
def test_options_of_the_environment_are_treated_alike(work, monkeypatch, more):
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-p no:hypothesispytest --size 2 {more}")
    # The session itself overrides what would keep it from running the case.
    plain = ("-n", "0") if "-n" in more else ()
    assert convicted(work.runpytest(*CONFIRM, "-k", "work", *plain))


@pytest.mark.matrix
def test_options_of_the_suite_are_treated_alike(work):
    work.makeini("[pytest]\naddopts = --size 2 -k nothing -x\n")
    assert convicted(work.runpytest(*CONFIRM, "-k", "work"))


def test_paths_among_the_options_hold_where_the_session_was_started(work, monkeypatch):
    below = work.mkdir("below")
    (below / "two").write_text("2")
    work.makeini("[pytest]")
    monkeypatch.chdir(below)
    assert convicted(work.runpytest(*CONFIRM, "--sizes", "two", ".."))


def test_fresh_runs_that_do_other_work_clear_nothing(work):
    exact = "    record.exact('size', size)\n    record.version"
    text = textwrap.dedent(WORK).replace("    record.version", exact)
    work.makepyfile(test_work=text)
    # A conftest that does other work in a fresh process.
    work.makeconftest(
        CONFTEST + "    def pytest_configure(config):\n"
        "        if config.getoption('--tl-records'):\n"
        "            config.option.size = 3\n"
    )
    result = work.runpytest(*CONFIRM, "--size", "2")
    assert result.ret == 1
    assert (
        f"{CASE}: inconclusive: the fresh runs did not repeat what the session "
        "measured: size 2, then 3" in result.outlines
    )


def test_a_fresh_run_that_fails_is_said_in_the_verdict(work):
    work.makeconftest(
        CONFTEST + "    def pytest_runtest_setup(item):\n"
        "        assert not item.config.getoption('--tl-records')\n"
    )
    result = work.runpytest(*CONFIRM, "--size", "2")
    regression, finding = findings(result)
    assert "regression: work 2 s is 99.6% slower" in regression
    assert finding == (
        f"{CASE}: inconclusive: the fresh runs did not repeat what the session "
        "measured: 1 of 1 did not pass"
    )
