"""The page and the summary: what they hold, and how a browser draws them."""

import re
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tlbench import baseline, selftest
from tlbench.recorder import Recorder
from tlbench.reporting import report
from tlbench.storage import documents, history, retention
from tlbench.storage.baselines import read_accepted
from tlbench.storage.history import history_path
from tlbench.storage.last_run import LastRun, last_run_path, read_last_run, write_run
from tlbench.storage.machines import write_machine
from tlbench.verdicts import verdict
from tlbench.verdicts.judge import judge

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ODD = 'bench_a.py::bench[<script>alert("x")</script>|ü]'


def last_run(records, here, cases=()):
    return LastRun(
        when="2026-02-01T02:00:00+00:00",
        versions={"python": "3.12"},
        cases=records,
        run="newest",
        machine=here.name,
        frameworks=here.versions,
        verdicts={case.case: verdict.to_json(case) for case in cases},
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Twenty accepted runs and one with findings."""
    folder = tmp_path_factory.mktemp("results")
    selftest.accept_runs(folder)
    here = baseline.Machine.of(selftest.IDENTITY)
    records = selftest.records_of(20)
    run = selftest.Run(records=records, identity=selftest.IDENTITY, now=None)
    records = dict(selftest.slower(run).records)
    recorder = Recorder(ODD, "1")
    recorder.exact("total_params", 4_062_381)
    recorder.metric("accuracy", correct=94, n=100, seed=1)
    for name, seconds in (
        ("epoch.first", 3.0),
        ("epoch.compute", 1.0),
        ("epoch.+input", 1.25),
        ("epoch.+validation", 1.2),
    ):
        recorder.timing(name, [seconds], warmup=0)
    records[ODD] = recorder.snapshot("passed")
    accepted = baseline.gather(folder, here, read_accepted(folder))
    cases = judge(records, accepted)
    write_run(last_run_path(folder), last_run(records, here, cases))
    published = {"work": "ours", "figure": "accuracy", "value": "80 %", "source": "a"}
    ours = {"case": ODD, "name": "accuracy"}
    text = documents.encode({"schema": 2, "figures": [{**published, **ours}]})
    documents.write_text(folder / "any" / "published.json", text)
    return folder


@pytest.fixture(scope="module")
def page(results):
    return report.build(results)[0]


def test_the_same_files_give_the_same_bytes(results):
    assert report.build(results) == report.build(results)


def test_the_page_is_whole_and_fetches_nothing(tags_of, page):
    tags = tags_of(page)
    assert tags.open == []
    assert not {tag for tag, _ in tags.found} & {"script", "link", "img", "iframe"}
    urls = [
        v for _, attrs in tags.found for k, v in attrs.items() if k in {"src", "href"}
    ]
    assert urls == []
    assert not re.search(r"@import|url\(", page)


def test_a_name_is_shown_and_is_no_markup(page):
    assert "<script>" not in page
    assert "&lt;script&gt;alert(" in page


def test_every_case_and_every_finding_stands_there(page):
    for number in range(selftest.CASES):
        assert f"bench_case[{number}]" in page
    assert "slower than the 20 accepted runs" in page
    assert "no baseline for this case" in page


def test_findings_come_first_and_passes_are_a_line_for_each_suite(page):
    places = [
        page.index(text)
        for text in ("<h1>What changed", "<h2>Their cases", "<h2>As accepted")
    ]
    assert places == sorted(places)
    folded = page[places[2] :]
    assert re.search(
        r"<summary><code>bench/suites/bench_selftest.py</code>: \d+ ", folded
    )
    assert '<span class="badge regression">' not in folded


def test_every_series_has_a_trend_with_its_band(page):
    count = selftest.CASES * 3  # epoch, val_loss, val_accuracy
    assert page.count('class="card trend"') == count
    assert page.count('class="band"') == selftest.CASES * 2


def test_an_epoch_is_divided_and_no_part_is_negative(page):
    part = page[page.index("What an epoch is made of") :]
    parts = dict(re.findall(r"<title>(\S+(?: \S+)?) ([\d.]+ m?s)</title>", part))
    assert parts == {
        "compute": "1 s",
        "input": "250 ms",
        "validation": "0 s",
        "trace, once": "2 s",
    }
    assert 'aria-label="What an epoch is made of"' in page


def test_accuracy_stands_over_parameters_and_published_figures_beside_ours(page):
    assert "4,062,381 parameters" in page
    assert re.search(r"80 %</td><td class=\"n\">94.00% \(n=100\)", page)


def test_the_summary_is_a_table_that_markdown_reads(results):
    text = report.build(results)[1]
    assert text.startswith("## tlbench: 13 cases: ")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert any("| regression |" in row for row in rows)


def test_without_findings_both_say_so(tmp_path):
    here = baseline.Machine.of(selftest.IDENTITY)
    write_run(last_run_path(tmp_path), last_run({}, here))
    page, text = report.build(tmp_path)
    assert "Nothing was found" in page
    assert "Nothing was found." in text


def test_a_run_without_verdicts_and_no_run_at_all_are_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"Received: no file .*last-run\.json\. .*run pytest"
    ):
        report.build(tmp_path)
    here = baseline.Machine.of(selftest.IDENTITY)
    bad = LastRun(
        when="",
        versions={},
        cases={},
        machine=here.name,
        verdicts={"a": {"findings": 3}},
    )
    write_run(last_run_path(tmp_path), bad)
    with pytest.raises(ValueError, match=r"Received: .* Run pytest again"):
        report.build(tmp_path)


def test_damage_is_shown(results, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    path = next(copy.glob("*/history.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0][:-30] + b"\n", *lines[1:]]))
    assert "line 1 is damaged" in report.build(copy)[0]


def test_a_machine_that_changed_is_reported(results, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    other = {**selftest.IDENTITY, "driver": ["569.0"]}
    write_machine(copy, "another", other)
    assert "driver 569.0 -&gt; 570.1" in report.build(copy)[0]


@pytest.mark.matrix
def test_a_year_is_reported_in_seconds_and_kept_in_megabytes(tmp_path):
    here = baseline.Machine.of(selftest.IDENTITY)
    path = history_path(tmp_path, here.name)
    records = [
        replace_case(
            selftest.record_of(number % 12, 0), f"bench_year.py::bench[{number}]"
        )
        for number in range(24)
    ]
    entries = [
        history.Entry(
            run=f"run-{day}",
            when=f"day {day}",
            record=record,
            verdict="pass",
            context={"load": 0.5, "cpu_mhz": 2500, "pressure": 1.5},
        )
        for day in range(365)
        for record in records
    ]
    history.append(path, entries)
    write_machine(tmp_path, here.name, selftest.IDENTITY)
    write_run(last_run_path(tmp_path), last_run({}, here))
    start = time.process_time()
    page, _ = report.build(tmp_path)
    took = time.process_time() - start
    assert page.count('class="card trend"') == 24 * 3
    assert path.stat().st_size < 18e6
    assert took < 5 * slack()


def replace_case(record, case):
    from dataclasses import replace

    return replace(record, case=case)


def slack():
    """How much slower than usual this machine is just now, at least 1."""
    start = time.process_time()
    sum(i * i for i in range(3_000_000))
    return max(1.0, (time.process_time() - start) / 0.3)


# In a browser


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(("name", "width"), [("desktop", 1280), ("phone", 390)])
@pytest.mark.matrix
def test_a_browser_draws_it_within_its_width(results, tmp_path, name, width):
    page = report.write(results, tmp_path)
    probe = (
        "<script>document.title = [document.documentElement.scrollWidth,"
        "innerWidth, document.querySelectorAll('svg').length,"
        "Math.min(...[...document.querySelectorAll('svg')].map(x => x.clientHeight)),"
        "performance.getEntriesByType('resource').length].join(' ')</script></body>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text("utf-8").replace("</body>", probe), "utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            f"--screenshot={tmp_path / 'page.png'}",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    title = re.search(r"<title>([\d. ]+)</title>", done.stdout)
    assert title is not None, done.stderr[-500:]
    across, inner, count, height, fetched = map(float, title[1].split())
    assert across <= inner
    assert count == selftest.CASES * 3 + 2
    assert height > 40
    assert fetched == 0


def test_the_branch_of_a_run_is_shown_where_it_is_known(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    run, _ = read_last_run(folder)
    for branch in ("", "change"):
        write_run(last_run_path(folder), replace(run, branch=branch))
        page, text = report.build(folder)
        assert ("of <code>change</code>" in page) is bool(branch)
        assert ("of `change`" in text) is bool(branch)
    path = history_path(folder, run.machine)
    entry = history.read(path).entries[-1]
    history.append(path, [replace(entry, run="r", commit="abc", branch="change")])
    assert f"{entry.when} abc change: " in report.build(folder)[0]


def test_a_trend_shows_the_months_that_were_folded(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    run, _ = read_last_run(folder)
    path = history_path(folder, run.machine)
    count = len(history.read(path).entries)
    newest = max(x.when for x in history.read(path).entries)
    later = datetime.fromisoformat(newest) + timedelta(days=99)
    assert retention.fold(path, {}, days=9, now=later) > 0
    kept = history.read(path)
    page = report.build(folder)[0]
    assert re.search(r"<title>\d{4}-\d\d: median [\d.]+ m?s of \d+ runs, spread ", page)
    series = {x.case for x in kept.entries}
    assert f"{count // len(series)} runs; " in page
