"""Sessions of pytest inside pytest: what a user of the plugin sees."""

import json

import pytest

from tlbench.record import SCHEMA
from tlbench.storage.baselines import Baseline, Baselines, write_accepted
from tlbench.storage.last_run import read_last_run

COUNTS = "test_counts.py::test_counts"
COUNTING = """
    def test_counts(record):
        record.exact("params", 3)
        record.exact("shape", (1, 2))
"""
# Runs each case twice, as plugins that try again after a failure do.
AGAIN = """
    from _pytest.runner import runtestprotocol

    def pytest_runtest_protocol(item, nextitem):
        for _ in range(2):
            runtestprotocol(item, nextitem=nextitem)
        return True
"""
ACCEPTED = {COUNTS: {"params": 3, "shape": (1, 2)}}


@pytest.fixture
def counting(pytester):
    """A folder with one case that records two exact values."""
    pytester.makepyfile(test_counts=COUNTING)
    return pytester


@pytest.fixture
def xdist(pytester, monkeypatch):
    """Run a session with no plugins but these two: workers start sooner."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*arguments):
        return pytester.runpytest("-p", "xdist", "-p", "tlbench", *arguments)

    return run


def last_run(pytester):
    run, _ = read_last_run(pytester.path / "results")
    return run


def rows(result):
    """The lines of the section `tlbench`, its heading line left out."""
    lines = result.outlines
    heads = [i for i, line in enumerate(lines) if line.strip("= ") == "tlbench"]
    if not heads:
        return []
    section = []
    for line in lines[heads[0] + 1 :]:
        if line.startswith("==="):
            break
        section.append(line)
    return section


def row(result, case):
    """The line of one case in the table, its verdict in the words of its findings."""
    (line,) = [line for line in rows(result) if line.startswith(f"{case} ")]
    *columns, word = line.split()
    found = [
        x.removeprefix(f"{case}: ") for x in rows(result) if x.startswith(f"{case}: ")
    ]
    assert not found or found[0].startswith(word)
    return " ".join([*columns, *(found or [word])])


# Verdicts


def test_equal_values_pass(counting, baseline):
    baseline(ACCEPTED)
    result = counting.runpytest("--tl-gate")
    assert result.ret == 0
    assert row(result, COUNTS) == f"{COUNTS} 2 equal pass"
    assert rows(result)[-1] == "1 case: 1 pass"


def test_a_differing_value_fails_the_case_with_a_short_message(counting, baseline):
    baseline({COUNTS: {"params": 4, "shape": (1, 2)}})
    result = counting.runpytest()
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "params: expected 4, received 3",
            f"in {COUNTS}, * tlbench accept --reason TEXT",
            "FAILED * - Failed: params: expected 4*",
        ]
    )
    result.stdout.no_fnmatch_line("*test_counts.py:[0-9]*")  # no traceback
    result.stdout.no_fnmatch_line("*plugin.py*")
    assert row(result, COUNTS) == (
        f"{COUNTS} 1 equal, 1 differs regression: params: expected 4, received 3"
    )
    assert last_run(counting).cases[COUNTS].outcome == "regression"


def test_every_differing_value_is_named(counting, baseline):
    baseline({COUNTS: {"params": 4, "shape": (1,)}})
    result = counting.runpytest()
    result.stdout.fnmatch_lines(
        ["params: expected 4, received 3; shape: expected (1,), received (1, 2)"]
    )


@pytest.mark.parametrize(
    ("accepted", "columns"),
    [
        ({}, "2 new missing: no baseline for this case"),
        ({COUNTS: {"params": 3}}, "1 equal, 1 new missing: no baseline for shape"),
        (
            {COUNTS: {"params": 3, "shape": (1, 2), "extra": 1}},
            "2 equal, 1 lost missing: not recorded: extra",
        ),
    ],
)
@pytest.mark.parametrize(("gate", "status"), [((), 0), (("--tl-gate",), 1)])
def test_what_has_no_counterpart_is_missing_and_fails_only_the_gate(
    counting, baseline, accepted, columns, gate, status
):
    baseline(accepted)
    result = counting.runpytest(*gate)
    result.assert_outcomes(passed=1)
    assert result.ret == status
    assert row(result, COUNTS) == f"{COUNTS} {columns}"
    assert "1 case: 1 missing" in rows(result)
    found = "--tl-gate: a finding fails the session"
    assert (found in rows(result)) == bool(gate)


def test_a_renamed_case_is_missing_twice(counting, baseline):
    baseline({"test_counts.py::test_old": ACCEPTED[COUNTS]})
    result = counting.runpytest("--tl-gate")
    assert result.ret == 1
    assert row(result, COUNTS).endswith("missing: no baseline for this case")
    old = "test_counts.py::test_old"
    assert row(result, old) == (
        f"{old} missing: its file has no such case; if it was renamed: "
        f"tlbench accept --reason TEXT --alias {old} {COUNTS}; "
        "if it was removed: tlbench accept --reason TEXT --prune"
    )
    assert last_run(counting).gone == (old,)


def test_a_removed_file_is_missed_where_its_folder_is_collected(pytester, baseline):
    pytester.makepyfile(**{"suites/test_counts": COUNTING, "test_other": COUNTING})
    case = "suites/test_removed.py::test_a"
    baseline({case: {"n": 1}})
    assert row(pytester.runpytest(), case).endswith(
        "its file has no such case; if it was removed: "
        "tlbench accept --reason TEXT --prune"
    )
    assert row(pytester.runpytest("suites"), case)
    assert case not in pytester.runpytest("test_other.py").stdout.str()


@pytest.mark.parametrize(
    "arguments",
    [
        ("test_counts.py::test_counts",),
        ("test_counts.py::test_counts", "test_other.py"),
        ("-k", "not test_more"),
        ("--deselect", "test_counts.py::test_more"),
        ("test_other.py",),
        ("--ignore", "test_counts.py"),
    ],
)
def test_a_case_that_was_not_asked_for_is_not_missed(pytester, baseline, arguments):
    more = COUNTING + "    def test_more(record):\n        record.exact('n', 1)\n"
    pytester.makepyfile(
        test_counts=more, test_other=COUNTING.replace("test_counts", "test_it")
    )
    other = {"test_other.py::test_it": ACCEPTED[COUNTS]}
    baseline(ACCEPTED | other | {"test_counts.py::test_more": {"n": 1}})
    result = pytester.runpytest("--tl-gate", *arguments)
    assert result.ret == 0
    assert "test_more" not in "".join(rows(result))


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (("test_counts.py",), True),
        (("test_counts.py", "test_other.py::test_it"), True),
        (("-k", "test_counts"), True),
        (("test_counts.py::test_counts",), False),
        (("test_counts.py::test_par[a::b]",), False),
    ],
)
def test_only_a_file_that_was_collected_whole_is_searched_for_gone_cases(
    pytester, baseline, arguments, gone
):
    pytester.makepyfile(
        test_counts=COUNTING + "    import pytest\n"
        "    @pytest.mark.parametrize('p', ['a::b'])\n"
        "    def test_par(record, p):\n        record.exact('n', 1)\n",
        test_other="def test_it():\n    pass\n",
    )
    baseline(
        ACCEPTED
        | {"test_counts.py::test_gone": {"n": 1}}
        | {"test_counts.py::test_par[a::b]": {"n": 1}}
    )
    result = pytester.runpytest("--tl-gate", *arguments)
    assert ("test_gone" in "".join(rows(result))) == gone
    assert result.ret == (1 if gone else 0)


@pytest.mark.parametrize("arguments", [(), ("--continue-on-collection-errors",)])
def test_a_file_that_cannot_be_collected_does_not_prove_its_cases_gone(
    pytester, baseline, arguments
):
    pytester.makepyfile(
        test_counts="import nowhere", test_it=COUNTING.replace("test_counts", "test_it")
    )
    baseline(ACCEPTED)
    result = pytester.runpytest(*arguments)
    assert result.ret == (1 if arguments else 2)
    assert COUNTS not in "".join(rows(result))
    written = (pytester.path / "results" / "last-run.json").exists()
    assert not written or last_run(pytester).gone == ()
    assert written == bool(arguments)


def test_the_cases_of_a_skipped_file_are_missing_but_not_gone(pytester, baseline):
    skip = "import pytest\npytest.importorskip('nowhere')\n"
    pytester.makepyfile(
        test_counts=skip + dedented(COUNTING),
        test_it=COUNTING.replace("test_counts", "test_it"),
    )
    baseline(ACCEPTED)
    result = pytester.runpytest()
    assert result.ret == 0
    assert row(result, COUNTS) == f"{COUNTS} missing: the case did not run"
    assert last_run(pytester).gone == ()


def test_last_failed_hides_cases_that_are_not_gone(pytester, baseline):
    pytester.makepyfile(
        test_counts=COUNTING, test_bad="def test_bad(record):\n    assert False\n"
    )
    baseline(ACCEPTED)
    pytester.runpytest()
    result = pytester.runpytest("--lf")
    result.assert_outcomes(failed=1)
    assert COUNTS not in "".join(rows(result))


def test_a_baseline_case_that_records_nothing_any_more_is_missing(pytester, baseline):
    pytester.makepyfile(test_counts="def test_counts():\n    pass\n")
    baseline(ACCEPTED)
    result = pytester.runpytest("--tl-gate")
    assert result.ret == 1
    assert row(result, COUNTS) == (
        f"{COUNTS} 2 lost missing: not recorded: params, shape"
    )


@pytest.mark.parametrize(
    ("body", "outcome", "why"),
    [
        ("assert False", "failed", "the case failed"),
        ("record.exact('params', 3)", "failed", "the case failed"),  # a name twice
        ("pytest.skip('no GPU')", "skipped", "the case was skipped"),
        ("pytest.xfail('known')", "xfailed", "the case failed, as its xfail mark"),
    ],
)
def test_a_case_that_did_not_pass_is_missing_although_its_values_are_equal(
    pytester, baseline, body, outcome, why
):
    pytester.makepyfile(test_counts=f"import pytest\n{dedented(COUNTING)}    {body}\n")
    baseline(ACCEPTED)
    result = pytester.runpytest("--tl-gate")
    assert result.ret == 1
    assert f"2 equal missing: {why}" in row(result, COUNTS)
    assert last_run(pytester).cases[COUNTS].outcome == outcome


def dedented(text):
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(
    ("where", "phase"), [("before", "setup"), ("after", "teardown")]
)
def test_a_fixture_that_fails_fails_the_case(pytester, baseline, where, phase):
    lines = {"before": "assert False\n    yield", "after": "yield\n    assert False"}
    pytester.makepyfile(
        test_counts=f"import pytest\n@pytest.fixture\ndef bad(record):\n"
        f"    {lines[where]}\ndef test_counts(record, bad):\n"
        "    record.exact('params', 3)\n"
    )
    baseline({COUNTS: {"params": 3}})
    result = pytester.runpytest()
    result.stdout.fnmatch_lines([f"*ERROR at {phase} of test_counts*"])
    assert row(result, COUNTS).endswith("missing: the case failed")
    assert last_run(pytester).cases[COUNTS].outcome == "failed"


def test_a_regression_with_a_failing_teardown_is_a_failure(pytester, baseline):
    pytester.makepyfile(
        test_counts="import pytest\n@pytest.fixture\ndef bad():\n"
        "    yield\n    assert False\ndef test_counts(record, bad):\n"
        "    record.exact('params', 3)\n"
    )
    baseline({COUNTS: {"params": 4}})
    pytester.runpytest()
    assert last_run(pytester).cases[COUNTS].outcome == "failed"


def test_a_skipped_baseline_case_is_missing(pytester, baseline):
    pytester.makepyfile(
        test_counts=f"import pytest\n@pytest.mark.skip\n{dedented(COUNTING).strip()}",
        test_other="def test_other(record):\n    record.exact('n', 1)\n",
    )
    baseline(ACCEPTED)
    result = pytester.runpytest()
    assert row(result, COUNTS).endswith("missing: the case was skipped")


def test_a_baseline_case_that_the_session_did_not_reach_is_missing(pytester, baseline):
    pytester.makepyfile(
        test_a="def test_a(record):\n    assert False\n", test_counts=COUNTING
    )
    baseline(ACCEPTED)
    result = pytester.runpytest("-x")
    assert row(result, COUNTS) == f"{COUNTS} missing: the case did not run"


def test_a_failed_subtest_fails_the_case(pytester, baseline):
    pytest.importorskip("_pytest.subtests", reason="needs pytest 9")
    pytester.makepyfile(
        test_counts="def test_counts(record, subtests):\n"
        "    record.exact('params', 3)\n"
        "    with subtests.test('a'):\n        assert False\n"
        "    with subtests.test('b'):\n        pass\n"
    )
    for accepted in (3, 4):
        baseline({COUNTS: {"params": accepted}})
        pytester.runpytest()
        assert last_run(pytester).cases[COUNTS].outcome == "failed"


@pytest.mark.parametrize(
    ("late", "outcome"), [("failed", "failed"), ("skipped", "skipped")]
)
@pytest.mark.parametrize("accepted", [3, 4])
def test_an_outcome_that_another_plugin_changes_late_counts(
    pytester, baseline, late, outcome, accepted
):
    pytester.makeconftest(
        "def pytest_report_teststatus(report):\n"
        f"    if report.when == 'call':\n        report.outcome = {late!r}\n"
    )
    pytester.makepyfile(
        test_counts="def test_counts(record):\n    record.exact('params', 3)\n"
    )
    baseline({COUNTS: {"params": accepted}})
    pytester.runpytest()
    left = last_run(pytester).cases[COUNTS]
    regression = (late, accepted) == ("failed", 4)
    assert left.outcome == ("regression" if regression else outcome)


def test_a_value_recorded_after_the_case_is_refused(pytester):
    pytester.makepyfile(
        "import pytest\n@pytest.fixture\ndef late(record):\n    yield\n"
        "    record.exact('n', 1)\ndef test_late(late):\n    pass\n"
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: *Received: name='n' after the end of *"])


@pytest.mark.parametrize(
    ("module", "outcome", "exact"),
    [
        ("    record.exact('n', len(tries))\n    assert tries == [0, 0]", "passed", 2),
        ("    record.exact('n', len(tries))\n    assert tries == [0]", "failed", 2),
    ],
)
def test_the_last_attempt_at_a_case_counts(pytester, module, outcome, exact):
    pytester.makeconftest(AGAIN)
    pytester.makepyfile(
        test_counts="tries = []\ndef test_counts(record):\n    tries.append(0)\n"
        f"{module}\n"
    )
    pytester.runpytest()
    left = last_run(pytester).cases[COUNTS]
    assert (left.outcome, left.exact) == (outcome, {"n": exact})


def test_an_attempt_that_does_not_begin_keeps_nothing_of_the_one_before(
    pytester, baseline
):
    pytester.makeconftest(AGAIN)
    pytester.makepyfile(
        test_counts="import pytest\ntries = []\n@pytest.fixture\ndef once():\n"
        "    tries.append(0)\n    assert tries == [0]\n"
        "def test_counts(once, record):\n    record.exact('n', 1)\n"
    )
    baseline({COUNTS: {"n": 1}})
    pytester.runpytest()
    left = last_run(pytester).cases[COUNTS]
    assert (left.outcome, left.exact) == ("failed", {})


# The table and the last run


def test_metrics_and_timings_are_shown_and_lack_a_baseline(pytester, baseline):
    pytester.makepyfile(
        test_counts="def test_counts(record):\n"
        "    record.exact('params', 3)\n"
        "    record.metric('accuracy', correct=141, n=150)\n"
        "    record.metric('loss', value=0.25)\n"
        "    record.timing('epoch', [9.0, 1.0, 3.0, 2.0])\n"
        "    record.timing('step', [0.5e-3], warmup=0)\n"
        "    record.timing('copy', [0.05], warmup=0)\n"
    )
    baseline({COUNTS: {"params": 3}})
    result = pytester.runpytest()
    assert result.ret == 0
    heading, first, second, third, *rest = rows(result)
    assert heading.split() == ["case", "exact", "metrics", "median", "verdict"]
    cells = (
        ("case", COUNTS, "", ""),
        ("exact", "1 equal", "", ""),
        ("metrics", "accuracy 0.94 [0.8899, 0.9681] n=150", "loss 0.25", ""),
        ("median", "epoch 2 s", "step 500 us", "copy 50 ms"),
        ("verdict", "missing", "", ""),
    )
    for title, *texts in cells:
        start = heading.index(title)
        for line, text in zip((first, second, third), texts, strict=True):
            assert line[start:].startswith(text), (title, line)
    assert rest == [
        "",
        f"{COUNTS}: missing: no baseline for this machine",
        "1 case: 1 missing",
        "to accept: tlbench accept --reason TEXT",
    ]
    assert pytester.runpytest("--tl-gate").ret == 1


def test_the_table_lists_cases_in_order_with_every_verdict_counted(pytester, baseline):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', [3, 2, 1])\n"
        "def test_n(record, n):\n    record.exact('n', n)\n"
    )
    file = "test_the_table_lists_cases_in_order_with_every_verdict_counted.py"
    baseline({f"{file}::test_n[1]": {"n": 1}, f"{file}::test_n[2]": {"n": 1}})
    lines = rows(pytester.runpytest())
    assert [line.split()[0][-3:] for line in lines[1:4]] == ["[1]", "[2]", "[3]"]
    assert "3 cases: 1 pass, 1 regression, 1 missing" in lines


def test_the_last_run_holds_every_record_and_the_versions(counting, baseline):
    baseline({})
    counting.runpytest()
    text = (counting.path / "results" / "last-run.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert text.endswith("}\n")
    assert document["schema"] == SCHEMA
    assert document["versions"].keys() >= {
        "python",
        "pytest",
        "tlbench",
        "tlcore",
        "keras",
    }
    assert document["machine"]
    assert "keras " in document["frameworks"]
    assert document["when"].endswith("+00:00")
    assert document["cases"] == {
        COUNTS: {
            "outcome": "passed",
            "version": document["cases"][COUNTS]["version"],
            "exact": {"params": 3, "shape": [1, 2]},
            "costs": {},
            "metrics": {},
            "timings": {},
            "memory": {},
        }
    }
    (finding,) = document["verdicts"][COUNTS]["findings"]
    assert finding == ["missing", "no baseline for this case"]


def test_a_results_folder_that_is_a_file_is_refused(counting):
    (counting.path / "results").write_text("a file where the folder should be")
    result = counting.runpytest()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *Not a directory*results*"])


def test_a_last_run_that_cannot_be_written_is_reported_and_fails_the_session(counting):
    (counting.path / "results" / "last-run.json").mkdir(parents=True)
    result = counting.runpytest()
    result.assert_outcomes(passed=1)
    assert result.ret == 4
    assert rows(result)[-1].startswith("the results could not be written: ")


def test_the_case_is_named_from_the_rootdir_wherever_pytest_starts(
    pytester, baseline, monkeypatch
):
    pytester.makeini("[pytest]")
    pytester.makepyfile(**{"suites/deep/test_counts": COUNTING})
    case = f"suites/deep/{COUNTS}"
    baseline({case: {"params": 3, "shape": (1, 3)}})
    monkeypatch.chdir(pytester.path / "suites")
    result = pytester.runpytest("deep")
    assert "1 equal, 1 differs regression" in row(result, case)
    remedy = "to accept: tlbench accept --reason TEXT"
    assert f"{remedy} --results ../results" in rows(result)


def test_another_results_folder_is_taken_from_where_pytest_starts(
    counting, acceptance, monkeypatch
):
    folder = counting.path / "other results"
    exact = {"params": 4, "shape": (1, 2)}
    accepted = Baseline(exact=exact, accepted=acceptance)
    write_accepted(folder, Baselines(cases={COUNTS: accepted}))
    result = counting.runpytest("--tl-results", "other results")
    assert "regression" in row(result, COUNTS)
    result.stdout.fnmatch_lines(["*tlbench accept --reason TEXT --results 'other *"])
    assert (folder / "last-run.json").exists()
    assert not (counting.path / "results").exists()
    monkeypatch.chdir(counting.mkdir("below"))
    result = counting.runpytest("..", "--tl-results", "../other results")
    assert "regression" in row(result, COUNTS)


# Sessions that are left alone, and refusals


def test_a_session_without_records_is_left_alone(pytester):
    pytester.makepyfile("def test_a():\n    pass\n")
    result = pytester.runpytest()
    assert result.ret == 0
    assert rows(result) == []
    assert not (pytester.path / "results").exists()


def test_collecting_only_writes_and_prints_nothing(counting, baseline):
    results = baseline({"test_counts.py::test_gone": {"n": 1}})
    result = counting.runpytest("--collect-only")
    assert result.ret == 0
    assert rows(result) == []
    assert not (results / "last-run.json").exists()


def test_a_damaged_baseline_does_not_disturb_sessions_without_records(
    pytester, baseline
):
    results = baseline({})
    (results / "any" / "accepted.json").write_text("<<<<<<<")
    pytester.makepyfile("def test_a():\n    pass\n")
    assert pytester.runpytest().ret == 0
    assert pytester.runpytest("--tl-gate").ret == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 99}', "*must have schema 2 or older. Received: schema=99.*newer*"),
        ("<<<<<<<", "*must be a whole tlbench file. Received: a damaged one*"),
    ],
)
@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_baseline_that_cannot_be_read_is_refused(
    counting, baseline, xdist, text, message, workers
):
    results = baseline(ACCEPTED)
    (results / "any" / "accepted.json").write_text(text)
    result = xdist(*workers)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert rows(result) == []
    assert not (results / "last-run.json").exists()


def test_the_options_have_a_group_of_their_own(pytester):
    result = pytester.runpytest("--help")
    result.stdout.fnmatch_lines(
        ["recorded values and their baselines (tlbench):", "*--tl-results=DIR*"]
    )
    result.stdout.fnmatch_lines(["*--tl-gate*"])


# Workers of pytest-xdist


@pytest.mark.parametrize(
    "dist", [pytest.param("load", marks=pytest.mark.matrix), "loadgroup"]
)
def test_workers_give_the_same_verdicts(pytester, baseline, dist, xdist):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.xdist_group('one')\n"
        "def test_equal(record):\n    record.exact('n', 1)\n"
        "def test_differs(record):\n    record.exact('n', 2)\n"
        "def test_new(record):\n    record.exact('n', 3)\n"
        "def test_bad(record):\n    record.exact('n', 4)\n    assert False\n"
        "def test_silent():\n    pass\n"
        "def test_timed(record):\n    record.timing('t', [1.0, 2.0])\n",
    )
    file = "test_workers_give_the_same_verdicts.py::test_"
    names = ("equal", "differs", "bad", "silent", "gone")
    baseline({f"{file}{name}": {"n": 1} for name in names})
    alone = xdist("--tl-gate")
    alone_run = last_run(pytester)
    shared = xdist("-n2", "--tl-gate", "--dist", dist)
    shared_run = last_run(pytester)
    assert alone.ret == shared.ret == 1
    assert rows(shared) == rows(alone)
    # One heading, 7 cases, an empty line, 7 findings, 3 remarks.
    assert len(rows(alone)) == 19
    assert (shared_run.cases, shared_run.gone) == (alone_run.cases, alone_run.gone)
    assert alone_run.gone == (f"{file}gone",)


@pytest.mark.parametrize(
    ("accepted", "gate", "status"),
    [({}, (), 0), ({}, ("--tl-gate",), 1), (ACCEPTED, ("--tl-gate",), 0)],
)
def test_the_gate_holds_with_workers(counting, baseline, xdist, accepted, gate, status):
    baseline(accepted)
    assert xdist("-n1", *gate).ret == status


def test_a_crashed_worker_leaves_no_pass(pytester, baseline, xdist):
    pytester.makepyfile(
        test_counts="import os\ndef test_counts(record):\n"
        "    record.exact('params', 3)\n    os._exit(1)\n"
    )
    baseline({COUNTS: {"params": 3}})
    result = xdist("-n1", "--tl-gate")
    assert result.ret == 1
    assert row(result, COUNTS) == f"{COUNTS} missing: the case did not run"


def test_only_the_controlling_process_writes(pytester, baseline, xdist):
    baseline({"test_counts.py::test_gone": {"n": 1}})
    pytester.makepyfile(test_counts=COUNTING)
    pytester.makeconftest(
        """
        from pathlib import Path
        from tlbench import session

        write = session.write_run

        def counted(*arguments):
            with Path(__file__).with_name("writes").open("a") as file:
                file.write("x")
            write(*arguments)

        session.write_run = counted
        """
    )
    pytester.runpytest_subprocess("-p", "xdist", "-p", "tlbench", "-n1")
    assert (pytester.path / "writes").read_text() == "x"


def test_workers_leave_a_session_without_records_alone(pytester, baseline, xdist):
    pytester.makepyfile(test_counts="def test_counts():\n    pass\n")
    results = baseline(ACCEPTED)
    result = xdist("-n1")
    assert (result.ret, rows(result)) == (0, [])
    assert not (results / "last-run.json").exists()
