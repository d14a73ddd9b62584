"""A session that recorded nothing says so and why, and fails the gate."""

import pytest

from tlbench.unrecorded import Use, Uses

TIMED = "def test_timed(benchmark):\n    benchmark.pedantic(int, rounds=3)\n"
PLAIN = "def test_plain():\n    pass\n"
RECORDED = "def test_recorded(record):\n    record.exact('n', 1)\n"
OWN = (
    "import pytest\n\n@pytest.fixture\n"
    "def benchmark():\n    return lambda function: function()\n"
)
# pytest-benchmark warns of a fixture that is not called.
RESULTS = ("--tl-results", "kept", "-W", "ignore")
FAILS = "--tl-gate: a finding fails the session"


def said(result):
    return [x for x in result.outlines if "nothing was recorded" in x]


@pytest.mark.parametrize(
    ("suite", "options", "cause"),
    [
        ("", (), "no case was collected; name the files or folders of the suite"),
        (PLAIN, (), "none of 1 case uses the fixture `benchmark` or `record`"),
        (TIMED, ("-k", "no"), "all 1 case were deselected; check -k and -m"),
        (
            TIMED,
            ("--benchmark-disable",),
            "--benchmark-disable keeps pytest-benchmark from timing: leave it out, or "
            "give --benchmark-enable",
        ),
        (
            TIMED,
            ("--benchmark-skip",),
            "--benchmark-skip skips what uses `benchmark`: leave it out",
        ),
        (
            f"import pytest\n@pytest.mark.skip\n{TIMED}",
            (),
            "no case that could record passed (1 skipped)",
        ),
        (
            "def test_timed(benchmark):\n    pass\n",
            (),
            "`benchmark` is used, but never called",
        ),
    ],
)
def test_a_session_that_recorded_nothing_names_the_cause(
    pytester, suite, options, cause
):
    pytester.makepyfile(test_suite=suite)
    gated = pytester.runpytest(*RESULTS, "--tl-gate", *options)
    assert said(gated) == [f"missing: nothing was recorded: {cause}"]
    assert gated.ret == 1
    assert FAILS in gated.outlines
    told = pytester.runpytest(*RESULTS, *options)
    assert said(told) == said(gated)
    assert told.ret == (5 if "collected" in cause or "deselected" in cause else 0)
    assert FAILS not in told.outlines


def test_a_gate_without_a_folder_of_results_names_the_option(pytester):
    pytester.makepyfile(test_suite=TIMED)
    result = pytester.runpytest("--tl-gate")
    assert result.ret == 1
    assert said(result)[0].endswith(
        "--tl-results DIR is needed to record what uses `benchmark`"
    )


@pytest.mark.parametrize("where", ["conftest", "other_timer"])
def test_another_owner_of_the_fixture_is_named(pytester, where):
    pytester.syspathinsert()
    pytester.makepyfile(**{where: OWN})
    timed = "def test_timed(benchmark):\n    benchmark(int)\n"
    pytester.makepyfile(test_suite=timed)
    plugin = () if where == "conftest" else ("-p", where)
    # pytest-benchmark must be off for another plugin to own its fixture.
    options = (*RESULTS, "--tl-gate", "-p", "no:benchmark", *plugin)
    result = pytester.runpytest(*options)
    assert result.ret == 1
    assert said(result)[0].startswith(
        f"missing: nothing was recorded: the fixture `benchmark` is that of {where}, "
        "not of pytest-benchmark"
    )


def test_each_case_that_recorded_nothing_among_others_is_a_finding(pytester):
    pytester.makepyfile(
        test_suite=f"{TIMED}{RECORDED}{PLAIN}"
        "def test_idle(benchmark):\n    pass\n"
        "def test_fails(benchmark):\n    assert False\n"
        "def test_late(benchmark, request):\n    pass\n"
    )
    result = pytester.runpytest(*RESULTS, "--tl-gate")
    cause = "missing: nothing was recorded: `benchmark` is used, but never called"
    assert said(result) == [
        f"test_suite.py::test_idle: {cause}",
        f"test_suite.py::test_late: {cause}",
    ]
    assert "4 cases: 4 missing" in result.outlines
    assert said(pytester.runpytest("--tl-gate")) == []  # `benchmark` is not recorded


def test_recording_something_is_no_silence(pytester):
    pytester.makepyfile(test_suite=RECORDED)
    assert said(pytester.runpytest("--tl-gate")) == []


def test_a_session_without_gate_and_folder_says_nothing(pytester):
    pytester.makepyfile(test_suite=TIMED)
    assert said(pytester.runpytest("--benchmark-disable")) == []


def test_a_baseline_that_recorded_nothing_is_explained_too(pytester):
    pytester.makepyfile(test_suite=TIMED)
    pytester.runpytest(*RESULTS, "--tl-save")
    result = pytester.runpytest(*RESULTS, "--tl-gate", "--benchmark-disable")
    assert said(result)[0].startswith(
        "missing: nothing was recorded: --benchmark-disable keeps"
    )


@pytest.mark.parametrize(
    ("suite", "cause"),
    [
        (TIMED, "pytest-benchmark times nothing under pytest-xdist: run with -n 0"),
        (PLAIN, "none of 1 case uses the fixture `benchmark` or `record`"),
        (
            f"{RECORDED}import pytest\n@pytest.mark.xdist_group('one')\n{TIMED}",
            "pytest-benchmark times nothing under pytest-xdist: run with -n 0",
        ),
    ],
)
def test_workers_are_a_cause(pytester, monkeypatch, suite, cause):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("-p", "xdist", "-p", "tlbench", "-p", "pytest_benchmark.plugin")
    pytester.makepyfile(test_suite=suite)
    workers = ("-n1", "--dist", "loadgroup")
    result = pytester.runpytest(*plugins, *workers, *RESULTS, "--tl-gate")
    assert result.ret == 1
    (line,) = said(result)
    case = "test_suite.py::test_timed: " if suite.startswith(RECORDED) else ""
    assert line == f"{case}missing: nothing was recorded: {cause}"


def test_a_node_id_with_the_name_of_a_group_belongs_to_its_case():
    uses = Uses(switch="", takes_all=True)
    uses.choose({"a.py::b": Use(benchmark=True)}, collected=1)
    uses.end("a.py::b@one", "passed")
    assert uses.silent(()).keys() == {"a.py::b"}
    uses.end("a.py::b@one", "failed")
    uses.end("a.py::b@one", "passed")  # its teardown
    assert uses.silent(()) == {}


def test_workers_are_a_cause_wherever_the_results_lie(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite, kept = pytester.mkdir("project"), pytester.mkdir("kept")
    (suite / "test_suite.py").write_text(TIMED)
    monkeypatch.chdir(suite)
    plugins = ("-p", "xdist", "-p", "tlbench", "-p", "pytest_benchmark.plugin")
    options = ("-n1", "--tl-gate", "-W", "ignore", "--tl-results", str(kept))
    result = pytester.runpytest(*plugins, *options)
    assert said(result)[0].endswith("under pytest-xdist: run with -n 0")
