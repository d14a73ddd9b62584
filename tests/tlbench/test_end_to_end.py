"""Suites from end to end: saved, accepted, judged, run again, reported."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tlbench import machine
from tlbench.cli import main
from tlbench.storage import history
from tlbench.storage.baselines import figures_path
from tlbench.storage.history import history_path
from tlbench.storage.last_run import read_last_run
from tlbench.storage.machines import read_machines, write_machine

CASE = "test_epochs.py::test_epoch"
EPOCHS = """
    import json
    from pathlib import Path

    # How long an epoch takes is set from outside, for each run.
    script = Path(__file__).with_name("script.json")

    def seconds():
        left = json.loads(script.read_text())
        if len(left) == 1:
            return left[0]  # written by nobody, so that sessions at once may read it
        value = left.pop(0)
        script.write_text(json.dumps(left))
        return value

    def test_epoch(record):
        record.exact("trainable", 4)
        record.timing("epoch", [9.0, *[seconds()] * 5])
"""
QUICK = "--benchmark-max-time=0.01"
FIVE = [1.0, 1.01, 0.99, 1.005, 0.995]


@pytest.fixture
def run_suite(pytester, monkeypatch):
    """A suite of one timed case whose epochs last what a script says."""
    pytester.makepyfile(test_epochs=EPOCHS)
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Ada",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*seconds, options=("--tl-save",)):
        (pytester.path / "script.json").write_text(json.dumps(list(seconds)))
        return pytester.runpytest(*options)

    return run


@pytest.fixture
def command(pytester, monkeypatch):
    def run(*words):
        monkeypatch.chdir(pytester.path)
        done = CliRunner().invoke(main, words)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    return run


@pytest.fixture
def accepted(run_suite, command):
    """Five run_suite, accepted."""
    for value in FIVE:
        assert run_suite(value).ret == 0
    code, text = command("accept", "--reason", "first baseline")
    assert code == 0, text
    assert "figures of 1 cases, 5 runs each, on " in text
    return run_suite


def reported(result):
    return [
        line for line in result.outlines if line.startswith((CASE + ":", "tlbench:"))
    ]


def machine_of(pytester):
    return next(read_machines(pytester.path / "results").keys().__iter__())


def test_the_first_run_says_that_there_is_no_baseline(run_suite, pytester):
    result = run_suite(1.0)
    assert result.ret == 0
    assert reported(result) == [
        f"{CASE}: missing: no baseline for this case",
        f"{CASE}: missing: no baseline for this machine",
    ]
    assert run_suite(1.0, options=("--tl-gate",)).ret == 1
    results = pytester.path / "results"
    entries = history.read(history_path(results, machine_of(pytester))).entries
    assert [x.record.timings["epoch"].median for x in entries] == [1.0]


def test_a_runner_of_the_same_kind_goes_on_with_the_history_of_another(
    accepted, pytester
):
    """Its folder was written before kinds were told apart, on a host with less."""
    results, name = pytester.path / "results", machine_of(pytester)
    identity = read_machines(results)[name]
    raw = {
        **identity,
        "cpu": f"{identity['cpu']}  3 @ 2.80GHz",
        "memory_gib": identity["memory_gib"] * 0.96,
    }
    pytester.makeconftest(
        "from tlbench import kinds\n"
        "def pytest_tlbench_identity(config):\n"
        f"    return kinds.kind({{'cpu': {raw['cpu']!r}, 'memory_gib': "
        f"{identity['memory_gib']!r}}})\n"
    )
    (results / name / "machine.json").unlink()
    write_machine(results, name, raw)
    result = accepted(1.0, options=("--tl-gate", "--tl-save"))
    assert result.ret == 0, result.outlines
    assert list(read_machines(results)) == [name]
    assert len(history.read(history_path(results, name)).entries) == len(FIVE) + 1


def test_without_the_option_nothing_is_saved(run_suite, pytester):
    run_suite(1.0, options=())
    assert read_machines(pytester.path / "results") == {}


def test_an_unchanged_run_passes_the_gate(accepted):
    result = accepted(1.0, options=("--tl-gate", "--tl-save"))
    assert result.ret == 0
    assert reported(result) == []
    (line,) = [x for x in result.outlines if x.startswith(CASE)]
    assert re.search(r"epoch 1 s \+0.0% \(sees \d+\.\d%\) +pass", line)


def test_an_epoch_that_is_a_third_slower_fails_the_gate_in_one_line(accepted):
    result = accepted(1.3, options=("--tl-gate",))
    assert result.ret == 1
    (line,) = reported(result)
    assert line.startswith(
        f"{CASE}: regression: epoch 1.3 s is 30.0% slower than the 5 accepted runs"
    )
    assert accepted(1.3, options=()).ret == 0  # found, but nothing is gated


def test_a_figure_that_varies_too_much_to_be_judged_is_inconclusive(run_suite, command):
    for value in (1.0, 1.5, 0.7, 1.2, 0.9):
        run_suite(value)
    command("accept", "--reason", "x")
    result = run_suite(1.0, options=("--tl-gate",))
    assert result.ret == 1
    (line,) = reported(result)
    why = (
        r"inconclusive: epoch: only a change of [\d.]+% could be seen \(bound 50.0%\): "
        r"the 5 accepted runs vary by [\d.]+%, load [\d.]+ now, [\d.]+ then"
    )
    assert re.fullmatch(f"{re.escape(CASE)}: {why}.*", line)


def test_fresh_processes_clear_a_case_of_a_bad_moment(accepted):
    options = ("--tl-gate", "--tl-confirm", "2")
    result = accepted(1.3, 1.0, 1.0, options=options)
    assert result.ret == 0
    assert reported(result) == [
        f"tlbench: again, 1 of 2: {CASE}",
        f"tlbench: again, 2 of 2: {CASE}",
    ]


def test_fresh_processes_confirm_what_is_slower(accepted, pytester):
    options = ("--tl-gate", "--tl-confirm", "2")
    result = accepted(1.3, 1.29, 1.31, options=options)
    assert result.ret == 1
    assert "mean of 2 fresh runs" in reported(result)[-1]
    # Runs again are no runs of the suite.
    run, _ = read_last_run(pytester.path / "results")
    assert run.cases[CASE].timings["epoch"].median == 1.3


def test_a_case_that_fails_when_it_is_run_again_is_not_cleared(
    run_suite, command, pytester
):
    """Its version is set, so that it is the same case although its code changed."""
    text = (pytester.path / "test_epochs.py").read_text()
    text = text.replace('record.exact("tr', 'record.version(2)\n    record.exact("tr')
    pytester.makepyfile(test_epochs=text)
    for value in FIVE:
        run_suite(value)
    assert command("accept", "--reason", "x")[0] == 0
    once = text.replace(
        "def test_epoch(record):",
        "def test_epoch(record, request):\n"
        "    assert not request.config.getoption('--tl-records')",
    )
    pytester.makepyfile(test_epochs=once)
    result = run_suite(1.3, options=("--tl-gate", "--tl-confirm", "1"))
    assert result.ret == 1
    again, failed, finding, unrepeated = reported(result)
    assert again == f"tlbench: again, 1 of 1: {CASE}"
    assert failed.startswith("tlbench: it did not pass: ")
    assert finding.startswith(f"{CASE}: regression: epoch 1.3 s is 30.0% slower")
    assert unrepeated.endswith("what the session measured: 1 of 1 did not pass")


@pytest.mark.parametrize("times", ["-1", "x", "1.5"])
def test_a_number_of_times_that_is_not_one_is_refused(run_suite, times):
    result = run_suite(1.0, options=(f"--tl-confirm={times}",))
    assert result.ret == 4


def test_another_case_under_the_name_is_not_compared(accepted, pytester):
    text = (pytester.path / "test_epochs.py").read_text()
    pytester.makepyfile(test_epochs=text.replace("* 5", "* 6"))
    result = accepted(1.3, options=("--tl-gate",))
    assert reported(result) == [
        f"{CASE}: not_comparable: the case changed since its figures were accepted"
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("record.exact", "# a comment\n    record.exact"),
        lambda text: text.replace(
            "def test_epoch(record):", 'def test_epoch(record):\n    """A docstring."""'
        ),
        lambda text: (
            "import pytest\n"
            + text.replace("def test_epoch", "@pytest.mark.timeout(99)\ndef test_epoch")
        ),
    ],
)
def test_comments_docstrings_and_marks_change_no_version(accepted, pytester, edit):
    text = (pytester.path / "test_epochs.py").read_text()
    pytester.makepyfile(test_epochs=edit(text))
    assert accepted(1.0, options=("--tl-gate",)).ret == 0


def test_a_case_may_set_its_version_itself(run_suite, command, pytester):
    text = (pytester.path / "test_epochs.py").read_text()
    said = text.replace('record.exact("tr', 'record.version(2)\n    record.exact("tr')
    pytester.makepyfile(test_epochs=said)
    for value in FIVE:
        run_suite(value)
    assert command("accept", "--reason", "x")[0] == 0
    pytester.makepyfile(test_epochs=said.replace("* 5", "* 6"))
    assert run_suite(1.0, options=("--tl-gate",)).ret == 0


def test_another_machine_is_not_compared_and_the_difference_is_given(
    accepted, pytester
):
    pytester.makeconftest(
        "def pytest_tlbench_identity(config):\n    return {'precision': 'mixed'}\n"
    )
    result = accepted(1.3, options=("--tl-gate",))
    assert result.ret == 1
    assert reported(result) == [
        f"{CASE}: not_comparable: the baseline is from another machine: "
        "precision none -> mixed"
    ]


def test_a_suite_that_knows_nothing_of_it_is_gated(pytester, command, scripted_clock):
    """The example of pytest-benchmark's own documentation, by a scripted clock."""
    pytester.makepyfile(
        test_example="""
        import time

        def something(duration=0.000001):
            time.sleep(duration)
            return 123

        def test_my_stuff(benchmark):
            result = benchmark(something)
            assert result == 123

        def test_with_its_class(benchmark):
            assert benchmark.pedantic(something, rounds=5, iterations=2) == 123

        def test_without(): pass
        """
    )
    words = ("--tl-results", "kept", "--benchmark-max-time=0.001", scripted_clock)
    first = pytester.runpytest(*words, "--tl-save")
    assert first.ret == 0
    case = "test_example.py::test_my_stuff"
    new = "2 cases: missing: no baseline for this machine, which their figures depend"
    assert any(line.startswith(new) for line in first.outlines)
    assert not any("test_without" in line for line in first.outlines)
    for _ in range(4):
        pytester.runpytest(*words, "--tl-save")
    code, text = command("accept", "--reason", "x", "--results", "kept")
    assert code == 0, text
    assert pytester.runpytest(*words, "--tl-gate").ret == 0
    file = pytester.path / "test_example.py"
    file.write_text(file.read_text().replace("0.000001", "0.00000103"))
    slow = pytester.runpytest(*words, "--tl-gate")
    assert slow.ret == 1
    assert f"{case}: regression: benchmark 1.03" in slow.stdout.str()
    assert not (pytester.path / "results").exists()


def test_a_history_that_is_damaged_is_said_and_cannot_be_accepted(
    accepted, command, pytester
):
    path = history_path(pytester.path / "results", machine_of(pytester))
    path.write_bytes(path.read_bytes().replace(b'"median":1.01', b'"median":0.01'))
    code, text = command("status")
    assert code == 1
    assert "line 2 is damaged (its checksum does not match)" in text
    code, text = command("accept", "--reason", "x")
    assert code == 2
    assert "line 2 is damaged" in text
    assert "Traceback" not in text


def test_figures_that_are_damaged_refuse_the_session(accepted, pytester):
    path = figures_path(pytester.path / "results", machine_of(pytester))
    path.write_text(path.read_text().replace('"r', "<<<"), encoding="utf-8")
    path.write_text(path.read_text()[:-50], encoding="utf-8")
    result = accepted(1.0, options=("--tl-gate",))
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *accepted.json must be a whole tlbench file*"])


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_reported(accepted, pytester):
    results = pytester.path / "results"
    results.chmod(0o500)
    result = accepted(1.0)
    results.chmod(0o700)
    assert result.ret == 4
    assert any("could not be written" in line for line in result.outlines)


def test_two_sessions_at_once_are_both_kept(run_suite, pytester):
    words = [sys.executable, "-m", "pytest", "-q", "--tl-save"]
    (pytester.path / "script.json").write_text("[1.0]")
    both = [
        subprocess.Popen(words, cwd=pytester.path, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait() for process in both] == [0, 0]
    results = pytester.path / "results"
    kept = history.read(history_path(results, machine_of(pytester)))
    assert len(kept.entries) == 2
    assert len({entry.run for entry in kept.entries}) == 2


@pytest.mark.parametrize("name", ["a/b", "Ü ñ 😀", "A", "a", "x" * 300, "tab\there"])
def test_cases_of_any_name_are_kept_apart(run_suite, command, pytester, name):
    ids = [name, f"{name.swapcase()}_"]
    pytester.makepyfile(
        test_epochs="import pytest\n"
        f"@pytest.mark.parametrize('p', [1, 2], ids={ids!r})\n"
        "def test_epoch(record, p):\n"
        "    record.exact('n', p)\n"
        "    record.timing('epoch', [1.0 * p], warmup=0)\n"
    )
    run_suite(1.0)
    assert command("accept", "--reason", "x")[0] == 0
    result = run_suite(1.0)
    assert "2 cases: 2 inconclusive" in result.outlines


def test_a_renamed_case_keeps_its_history(accepted, command, pytester):
    text = (pytester.path / "test_epochs.py").read_text()
    pytester.makepyfile(test_epochs=text.replace("def test_epoch(", "def test_again("))
    result = accepted(1.0, options=("--tl-gate",))
    new = "test_epochs.py::test_again"
    assert f"--alias {CASE} {new}" in result.stdout.str()
    code, text = command("accept", "--reason", "renamed", "--alias", CASE, new)
    assert (code, text) == (0, f"{CASE} is now {new}\n")
    assert accepted(1.0, options=("--tl-gate", "--tl-save")).ret == 0
    code, text = command("accept", "--reason", "newer")
    assert "figures of 1 cases, 6 runs each" in text


def test_the_last_run_can_be_judged_again(accepted, command):
    accepted(1.3)
    code, text = command("compare")
    assert code == 1
    assert f"{CASE}: regression: epoch 1.3 s" in text
    code, text = command("compare", "--json")
    assert json.loads(text)[CASE]["findings"][0][0] == "regression"
    accepted(1.0)
    assert command("compare")[0] == 0


def test_the_machine_is_shown(accepted, command, pytester):
    code, text = command("machine")
    assert code == 0
    assert text.startswith(machine_of(pytester))
    code, text = command("machine", "--json")
    assert json.loads(text)["name"] == machine_of(pytester)


def test_what_pytest_benchmark_saved_can_be_imported(run_suite, command, pytester):
    pytester.makepyfile(test_b="def test_b(benchmark):\n    benchmark(sum, [1])\n")
    pytester.runpytest("test_b.py", "--benchmark-json=saved.json", QUICK)
    code, text = command("import", "saved.json")
    assert code == 0
    assert text.startswith("1 case -> ")
    (pytester.path / "saved.json").write_text("{}")
    code, text = command("import", "saved.json")
    assert code == 2
    assert "Received: saved.json" in text


def test_imported_runs_can_become_the_baseline(run_suite, command, pytester):
    pytester.makepyfile(
        test_b="def test_b(benchmark):\n    benchmark.pedantic(sum, ([1],), rounds=5)\n"
    )
    info = machine.identity(ask=machine.nvidia_smi())
    for number in range(5):
        path = pytester.path / f"{number}.json"
        pytester.runpytest("test_b.py", f"--benchmark-json={path.name}", QUICK)
        document = json.loads(path.read_text())
        # By two programs a virtual machine may have two names for its processor.
        cpu = {"brand_raw": info["cpu"], "count": info["cpus"]}
        document["machine_info"]["cpu"] = cpu
        path.write_text(json.dumps(document))
        if number == 4:
            break
        assert command("import", path.name, "--as-machine")[0] == 0
    pytester.runpytest("test_b.py", "--tl-results=results", "--tl-save", QUICK)
    code, text = command("accept", "--reason", "from before")
    assert "figures of 1 cases, 5 runs each" in text
    document["machine_info"]["cpu"]["brand_raw"] = "Another"
    path.write_text(json.dumps(document))
    code, text = command("import", path.name, "--as-machine")
    assert code == 2
    assert f"which differs: cpu Another -> {info['cpu']}" in text
    assert len(read_machines(pytester.path / "results")) == 1


def test_runs_are_imported_to_the_machine_that_the_suite_names(
    accepted, command, pytester
):
    pytester.makeconftest(
        "def pytest_tlbench_identity(config):\n    return {'precision': 'mixed'}\n"
    )
    (pytester.path / "results").rename(pytester.path / "other")
    accepted(1.0)
    (name,) = read_machines(pytester.path / "results")
    info = machine.identity(ask=machine.nvidia_smi())
    system, _, kind = info["system"].partition(" ")
    saved = {
        "machine_info": {
            "system": system,
            "machine": kind,
            "processor": "",
            "python_version": f"{info['python']}.0",
            "cpu": {"brand_raw": info["cpu"], "count": info["cpus"]},
        },
        "datetime": "2026-01-01T00:00:00+00:00",
        "benchmarks": [{"fullname": "test_b.py::test_b", "stats": {"median": 2.0}}],
    }
    (pytester.path / "saved.json").write_text(json.dumps(saved))
    assert command("import", "saved.json", "--as-machine") == (0, f"1 case -> {name}\n")


def test_a_name_that_is_too_long_costs_that_case_alone(run_suite, pytester):
    pytester.makepyfile(
        test_epochs="import pytest\n"
        "@pytest.mark.parametrize('p', [1, 2], ids=['é' * 700, 'short'])\n"
        "def test_epoch(record, p):\n    record.timing('epoch', [1.0], warmup=0)\n"
    )
    result = run_suite(1.0)
    assert result.ret == 0
    kept = history.read(history_path(pytester.path / "results", machine_of(pytester)))
    assert [x.case for x in kept.entries] == ["test_epochs.py::test_epoch[short]"]
    lost = [x for x in result.outlines if ": missing: it is not saved: " in x]
    assert len(lost) == 1
    assert "must fit into a line of 2048 bytes. Received: " in lost[0]
    assert run_suite(1.0, options=("--tl-save", "--tl-gate")).ret == 1


def test_a_renamed_case_without_exact_values_is_recognised(
    run_suite, command, pytester
):
    timed = "def test_{}(record):\n    record.timing('t', [1.0], warmup=0)\n"
    pytester.makepyfile(test_epochs=timed.format("old"))
    run_suite(1.0)
    assert command("accept", "--reason", "x")[0] == 0
    pytester.makepyfile(test_epochs=timed.format("new"))
    result = run_suite(1.0)
    alias = "--alias test_epochs.py::test_old test_epochs.py::test_new"
    assert alias in result.stdout.str()


def test_no_lock_file_is_left_for_git(accepted, pytester):
    subprocess.run(["git", "init", "-q"], cwd=pytester.path, check=True)
    status = ["git", "status", "--short", "--untracked-files=all", "results"]
    done = subprocess.run(
        status, cwd=pytester.path, capture_output=True, text=True, check=True
    )
    assert ".gitignore" in done.stdout
    assert ".lock" not in done.stdout


def test_collecting_five_hundred_cases_loads_no_framework(pytester):
    pytester.makepyfile(
        test_many="import pytest\n"
        "@pytest.mark.parametrize('n', range(500))\n"
        "def test_n(record, n):\n    record.exact('n', n)\n"
    )
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            heavy = {"tensorflow", "keras", "scipy", "jinja2"} & set(sys.modules)
            print(f"loaded {sorted(heavy)}")
        """
    )
    result = pytester.runpytest_subprocess(
        "--collect-only", "-q", "-p", "no:hypothesispytest"
    )
    result.stdout.fnmatch_lines(["500 tests collected*", "loaded []"])


def limits(pytester, text):
    (pytester.path / "pyproject.toml").write_text(text)


UNKNOWN = "[tool.tlbench] in pyproject.toml: no case "


def test_an_ignored_case_passes_the_gate_and_is_counted(accepted, command, pytester):
    limits(pytester, '[tool.tlbench]\nignore = ["*::test_epoch", "gone*"]\n')
    result = accepted(1.3, options=("--tl-gate", "--tl-report", "report"))
    assert result.ret == 0
    assert "1 case: 1 pass; timings of 1 ignored" in result.outlines
    where = "that was collected or has a baseline"
    assert f"{UNKNOWN}{where} matches 'gone*'" in result.outlines
    code, text = command("compare")
    assert code == 0
    assert "1 case: 1 pass; timings of 1 ignored" in text
    assert f"{UNKNOWN}that is known matches 'gone*'" in text
    _, text = command("status")
    assert f"timings ignored: {CASE}\n" in text
    assert f"{UNKNOWN}that has a baseline matches 'gone*'" in text
    assert "timings of 1 ignored" in (pytester.path / "report/report.html").read_text()
    assert "timings of 1 ignored" in (pytester.path / "report/report.md").read_text()


def test_a_part_of_the_suite_says_nothing_of_patterns_for_the_rest(accepted, pytester):
    limits(pytester, '[tool.tlbench]\nignore = ["other.py::*"]\n')
    result = accepted(1.0, options=("test_epochs.py",))
    assert not any(line.startswith("[tool.tlbench]") for line in result.outlines)
    assert any(line.startswith("[tool.tlbench]") for line in accepted(1.0).outlines)


@pytest.mark.matrix
def test_workers_say_once_which_pattern_matches_no_case(accepted, pytester):
    limits(pytester, f'[tool.tlbench]\nignore = ["gone*", "{CASE}"]\n')
    result = accepted(1.0, options=("-n", "2"))
    (line,) = [x for x in result.outlines if x.startswith("[tool.tlbench]")]
    assert line.endswith("matches 'gone*'")


def test_the_practical_size_of_a_project_holds_everywhere(accepted, command, pytester):
    wide = '[[tool.tlbench.case]]\npattern = "*test_epoch"\npractical_size = 0.4\n'
    limits(pytester, wide)
    assert accepted(1.3, options=("--tl-gate",)).ret == 0
    limits(pytester, "")
    assert command("compare")[0] == 1
    limits(pytester, wide)
    assert accepted(1.3, options=("--tl-gate", "--tl-save")).ret == 0
    assert command("compare")[0] == 0
    # No new level: the sixth run joins the five before it.
    assert "6 runs each" in command("accept", "--reason", "as before")[1]


@pytest.mark.parametrize(
    "words",
    [
        ("accept", "--reason", "x"),
        ("compare",),
        ("status",),
        ("report",),
        ("selftest",),
    ],
)
def test_a_misspelt_limit_is_refused_by_every_command(
    accepted, command, pytester, words
):
    limits(pytester, "[tool.tlbench]\npractical_sise = 0.4\n")
    code, text = command(*words)
    assert code == 2
    assert "Did you mean 'practical_size'?" in text
    assert accepted(1.0).ret == pytest.ExitCode.USAGE_ERROR


PORTABLE = """
    import json
    from pathlib import Path

    def test_scores(record):
        speedup, share = json.loads(Path("script.json").read_text())
        record.metric("speedup", value=speedup, better="higher", portable=True)
        for seed in (1, 2):
            correct = round(200 * share)
            record.metric("accuracy", correct=correct, n=200, seed=seed, portable=True)
        record.timing("epoch", [1.0, 1.0])

    def test_timed(record):
        record.timing("epoch", [1.0, 1.0])
"""


@pytest.fixture
def on_machine(pytester, monkeypatch, run_suite):
    """A session on one of several machines: their threads are part of an identity."""
    pytester.path.joinpath("test_epochs.py").unlink()
    pytester.makepyfile(test_portable=PORTABLE)

    def run(threads, *values, options=()):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        return run_suite(*values, options=options)

    return run


@pytest.fixture
def everywhere(on_machine, command):
    """Portable figures that were accepted on six machines."""
    for threads, speedup in enumerate([8.0, 8.5, 7.5, 8.2, 7.8, 8.1]):
        assert on_machine(threads, speedup, 0.95).ret == 0
        code, text = command("accept", "--reason", f"{threads} threads")
        assert code == 0, text
    assert "portable figures of 1 cases, from 6 machines each" in text
    return on_machine


def test_a_new_machine_is_judged_by_others_and_says_once_what_it_lacks(everywhere):
    result = everywhere(99, 8.0, 0.95)
    (line,) = [x for x in result.outlines if "missing: " in x]
    assert line == (
        "2 cases: missing: no baseline for this machine, which their figures depend "
        "on: save some runs with --tl-save, then accept them"
    )
    (row,) = [x for x in result.outlines if x.startswith("test_portable.py::test_sc")]
    assert re.search(r"speedup 8 [-+][\d.]+% \(sees [\d.]+%\)", row)
    assert everywhere(99, 8.0, 0.95, options=("--tl-gate",)).ret == 1


def test_a_fault_is_red_on_a_machine_that_nobody_knows(everywhere):
    case = "test_portable.py::test_scores"
    for values in ((1.0, 0.95), (8.0, 0.1)):
        result = everywhere(99, *values)
        assert any(x.startswith(f"{case}: regression: ") for x in result.outlines)


def test_what_holds_for_all_machines_names_none(everywhere, pytester):
    results = pytester.path / "results"
    text = (results / "any" / "accepted.json").read_text()
    assert str(pytester.path) not in text
    assert "OMP_NUM_THREADS" not in text
    assert machine.identity(ask=None)["cpu"] not in text
