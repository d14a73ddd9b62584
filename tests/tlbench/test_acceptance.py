"""Acceptance: which runs become a baseline, and what stays as it was."""

from dataclasses import replace

import pytest

from tlbench import acceptance as accepting
from tlbench.record import CaseRecord
from tlbench.recorder import Recorder
from tlbench.storage import history
from tlbench.storage.baselines import Baseline, Baselines, MachineBaseline
from tlbench.storage.last_run import LastRun
from tlbench.verdicts.figures import Figures


@pytest.fixture
def later(acceptance):
    return replace(acceptance, by="Grace", reason="another head")


def run_of(*records, gone=()):
    return LastRun(
        when="2025-01-02T12:00:00+00:00",
        versions={"python": "3.11"},
        cases={record.case: record for record in records},
        gone=gone,
    )


def case(name, outcome="passed", **exact):
    return CaseRecord(case=name, outcome=outcome, exact=exact)


def accept(before, run, how, **options):
    return accepting.accept(Baselines(cases=before), run, how, **options)


def test_accepting_takes_new_and_changed_values_and_leaves_the_rest(acceptance, later):
    before = {
        name: Baseline(exact={"n": 1}, accepted=acceptance)
        for name in ("same", "changed", "absent", "skipped")
    }
    run = run_of(
        case("same", n=1),
        case("changed", "regression", n=2),
        case("new", n=3),
        case("skipped", "skipped", n=9),
        case("timed only"),
    )
    done = accept(before, run, later)
    assert done.new == ("new",)
    assert done.changed == ("changed",)
    assert done.unchanged == ("same",)
    assert done.dropped == ()
    assert done.baselines.cases == {
        "same": before["same"],
        "changed": Baseline(exact={"n": 2}, accepted=later),
        "absent": before["absent"],
        "skipped": before["skipped"],
        "new": Baseline(exact={"n": 3}, accepted=later),
    }


@pytest.mark.parametrize("exact", [{"n": 1, "m": 1}, {"m": 1}, {"n": True}])
def test_a_value_gained_lost_or_of_another_type_is_a_change(acceptance, later, exact):
    before = {"a": Baseline(exact={"n": 1}, accepted=acceptance)}
    done = accept(before, run_of(case("a", **exact)), later)
    assert done.changed == ("a",)
    assert done.baselines.cases["a"] == Baseline(exact=exact, accepted=later)


def test_a_case_that_records_no_exact_value_loses_its_baseline(acceptance, later):
    before = {"a": Baseline(exact={"n": 1}, accepted=acceptance)}
    done = accept(before, run_of(case("a")), later)
    assert (done.dropped, done.baselines.cases) == (("a",), {})


@pytest.mark.parametrize("prune", [False, True])
def test_only_prune_drops_the_cases_that_are_gone(acceptance, later, prune):
    before = {
        name: Baseline(exact={"n": 1}, accepted=acceptance)
        for name in ("gone", "elsewhere")
    }
    run = run_of(case("new", n=1), gone=("gone", "never accepted"))
    done = accept(before, run, later, prune=prune)
    assert done.dropped == (("gone",) if prune else ())
    kept = {"elsewhere", "new"} if prune else {"gone", "elsewhere", "new"}
    assert set(done.baselines.cases) == kept


def test_named_cases_alone_are_accepted(later):
    run = run_of(case("a", n=1), case("b", n=2), case("c", "failed", n=3))
    done = accept({}, run, later, cases=["b"])
    assert set(done.baselines.cases) == {"b"}


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], r"Received: broken \(failed\)\. Fix it and run again"),
        (["broken"], r"Received: broken \(failed\)"),
        (["idle"], r"Received: idle \(skipped\)"),
        (["awaited"], r"Received: awaited \(xfailed\)"),
        (["fien"], r"Received: fien\. .*has: awaited, .*, fine"),
    ],
)
def test_a_case_that_did_not_pass_cannot_become_a_baseline(later, cases, message):
    run = run_of(
        case("fine", n=1),
        case("broken", "failed", n=1),
        case("idle", "skipped", n=1),
        case("awaited", "xfailed", n=1),
    )
    with pytest.raises(ValueError, match=message):
        accept({}, run, later, cases=cases)


@pytest.mark.parametrize("reason", ["", " \n"])
def test_accepting_without_a_reason_is_refused(acceptance, reason):
    with pytest.raises(ValueError, match=r"Received: reason='.*--reason TEXT"):
        accept({}, run_of(), replace(acceptance, reason=reason))


# Costs


def run_with(record, frameworks="keras 3.15.1", **options):
    return replace(run_of(record, **options), frameworks=frameworks)


def test_costs_are_accepted_beside_those_of_other_versions(acceptance, later):
    recorder = Recorder("a")
    recorder.exact("n", 1)
    recorder.cost("flops", 10)
    old = accept({}, run_with(recorder.snapshot("passed"), "keras 3.12.0"), acceptance)
    done = accept(old.baselines.cases, run_with(recorder.snapshot("passed")), later)
    assert done.changed == ("a",)
    costs = done.baselines.cases["a"].costs
    assert costs == {"keras 3.12.0": {"flops": 10}, "keras 3.15.1": {"flops": 10}}
    again = accept(done.baselines.cases, run_with(recorder.snapshot("passed")), later)
    assert again.unchanged == ("a",)


# Figures


def entries(values, *, version="1", outcome="passed", exact=1, first=0):
    """A history of one case, a run for each value."""
    found = []
    for i, value in enumerate(values, first):
        recorder = Recorder("a", version)
        recorder.exact("n", exact)
        recorder.timing("epoch", [value], warmup=0)
        recorder.metric("accuracy", correct=80 + i % 5, n=100, seed=i % 3)
        record = recorder.snapshot(outcome)
        found.append(
            history.Entry(
                run=f"r{i}",
                when="",
                record=record,
                verdict="pass",
                structure=history.structure_of(record),
            )
        )
    return found


def take(before, found, how, **options):
    last = run_of(found[-1].record)
    return accepting.accept_figures(before, last, found, how, **options)


def test_the_newest_runs_become_the_figures(acceptance):
    found = entries([1.0 + i / 1000 for i in range(30)])
    done = take({}, found, acceptance)
    (figures, anchored) = (done.figures["a"].figures, done.figures["a"].anchored)
    assert list(figures.series["epoch"]) == [f"r{i}" for i in range(10, 30)]
    assert figures.metrics["accuracy"][0] == ("seed 1", 0.8, 100)
    assert len(figures.metrics["accuracy"]) == 20
    assert (figures.anchor, anchored) == (figures.series, acceptance)
    assert done.runs == {"a": 20}


@pytest.mark.parametrize(
    "changes", [{"version": "0"}, {"outcome": "failed"}, {"exact": 2}]
)
def test_runs_of_something_else_are_left_out(acceptance, changes):
    found = [*entries([9.0] * 4, **changes), *entries([1.0] * 6, first=4)]
    figures = take({}, found, acceptance).figures["a"].figures
    assert list(figures.series["epoch"]) == [f"r{i}" for i in range(4, 10)]


@pytest.mark.parametrize(
    ("earlier", "count"),
    [({"iterations": 1}, 6), ({"timer": "process_time"}, 6), ({}, 10)],
)
def test_runs_that_were_timed_otherwise_are_left_out(acceptance, earlier, count):
    """Runs of which neither is known are kept: they are from before it was."""
    found = [
        *timed(entries([9.0] * 4), **earlier),
        *timed(entries([1.0] * 6, first=4), iterations=300, timer="perf_counter"),
    ]
    figures = take({}, found, acceptance).figures["a"].figures
    assert len(figures.series["epoch"]) == count
    assert figures.iterations == {"epoch": 300}
    assert figures.timers == {"epoch": "perf_counter"}


def timed(found, **how):
    for one in found:
        timing = replace(one.record.timings["epoch"], **how)
        record = replace(one.record, timings={"epoch": timing})
        yield replace(one, record=record)


def test_imported_runs_count_although_they_know_no_version(acceptance):
    own = entries([1.0] * 3, first=4)
    imported = [
        replace(x, structure="", record=replace(x.record, version="", exact={}))
        for x in entries([1.1] * 4)
    ]
    figures = take({}, [*imported, *own], acceptance).figures["a"].figures
    assert len(figures.series["epoch"]) == 7
    assert figures.version == own[0].record.version


def test_fewer_runs_are_taken_where_fewer_are_asked_for(acceptance):
    done = take({}, entries([1.0] * 10), acceptance, last=3)
    assert done.runs == {"a": 3}


def test_without_saved_runs_nothing_is_taken(acceptance):
    run = run_of(entries([1.0])[0].record)
    done = accepting.accept_figures({}, run, [], acceptance)
    assert (done.figures, done.runs) == ({}, {})


def test_a_metric_without_a_seed_goes_by_its_run(acceptance):
    recorder = Recorder("a", "1")
    recorder.metric("accuracy", correct=8, n=10)
    record = recorder.snapshot("passed")
    entry = replace(
        entries([1.0])[0], record=record, structure=history.structure_of(record)
    )
    figures = take({}, [entry], acceptance).figures["a"].figures
    assert figures.metrics["accuracy"] == (("r0", 0.8, 10),)


def test_small_steps_leave_the_anchor_where_it_is(acceptance, later):
    wiggle = [0.99, 1.01, 1.0, 0.995, 1.005] * 4
    before = take({}, entries(wiggle), acceptance)
    steps = entries([x * 1.003 for x in wiggle], first=20)
    after = take(before.figures, steps, later)
    taken = after.figures["a"]
    assert taken.accepted == later
    assert taken.figures.anchor == before.figures["a"].figures.series
    assert taken.anchored == acceptance
    assert after.anchored == ()


@pytest.mark.parametrize(
    ("factor", "options"), [(1.2, {}), (0.8, {}), (1.003, {"anchor": True})]
)
def test_a_level_that_changed_or_an_option_moves_the_anchor(
    acceptance, later, factor, options
):
    wiggle = [0.99, 1.01, 1.0, 0.995, 1.005] * 4
    before = take({}, entries(wiggle), acceptance)
    steps = entries([x * factor for x in wiggle], first=20)
    after = take(before.figures, steps, later, **options)
    taken = after.figures["a"]
    assert taken.figures.anchor == taken.figures.series
    assert taken.anchored == later
    assert after.anchored == ("a",)


def test_another_version_moves_the_anchor(acceptance, later):
    before = take({}, entries([1.0] * 6), acceptance)
    after = take(before.figures, entries([1.0] * 6, version="2", first=6), later)
    assert after.anchored == ("a",)


def test_cases_that_are_not_named_keep_their_figures(acceptance, later):
    before = take({}, entries([1.0] * 6), acceptance)
    other = Recorder("b", "1").snapshot("passed")
    run = run_of(entries([2.0])[0].record, other, gone=("a",))
    done = accepting.accept_figures(
        before.figures, run, entries([2.0] * 6), later, cases=["b"]
    )
    assert done.figures == before.figures
    pruned = accepting.accept_figures(
        before.figures, run, [], later, cases=["b"], prune=True
    )
    assert pruned.figures == {}


# Renaming


def test_a_renamed_case_keeps_what_was_accepted(acceptance, later):
    figures = take({}, entries([1.0] * 6), acceptance).figures
    baselines = accept({}, run_of(case("a", n=1)), acceptance).baselines
    moved, machines = accepting.rename(baselines, {"m": figures}, "a", "b", later)
    assert moved.cases == {"b": baselines.cases["a"]}
    assert machines == {"m": {"b": figures["a"]}}
    assert moved.aliases == {"a": "b"}
    back, _ = accepting.rename(moved, machines, "b", "a", later)
    assert back.aliases == {"b": "a"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x", "y", r"old name .*Received: 'x'\. Accepted are: a"),
        ("a", "b", r"new name .*Received: 'b'\."),
        ("a", "a", r"new name .*Received: 'a'\."),
    ],
)
def test_a_rename_that_makes_no_sense_is_refused(acceptance, old, new, message):
    baselines = accept({}, run_of(case("a", n=1), case("b", n=1)), acceptance).baselines
    with pytest.raises(ValueError, match=message):
        accepting.rename(baselines, {}, old, new, acceptance)


def test_renaming_needs_a_reason_too(acceptance):
    baselines = accept({}, run_of(case("a", n=1)), acceptance).baselines
    with pytest.raises(ValueError, match=r"Received: reason=' '\."):
        accepting.rename(baselines, {}, "a", "b", replace(acceptance, reason=" "))


# Branches


def test_runs_of_other_branches_are_counted_by_branch(acceptance):
    kept = [
        replace(entry, branch=branch)
        for entry, branch in zip(
            entries([1.0] * 5), ["main", "change", "change", "", "gone"], strict=True
        )
    ]
    values = {entry.run: 1.0 for entry in kept[:4]}  # the last one is not accepted
    figures = {
        "a": MachineBaseline(
            figures=Figures(version="1", series={"epoch": values, "step": values}),
            accepted=acceptance,
            anchored=acceptance,
        )
    }
    found = {
        here: accepting.other_branches(figures, kept, ["a"], here)
        for here in ("main", "change", "")
    }
    assert found == {"main": {"change": 2}, "change": {"main": 1}, "": {}}
    assert accepting.other_branches(figures, kept, [], "main") == {}


# Portable figures


def portable_run(machine, ratio, share=0.95, **exact):
    recorder = Recorder("t", "1")
    for name, value in exact.items():
        recorder.exact(name, value)
    recorder.metric("speedup", value=ratio, better="higher", portable=True)
    recorder.metric("accuracy", correct=round(200 * share), n=200, portable=True)
    return replace(run_of(recorder.snapshot("passed")), machine=machine)


def accepted_on(machines, acceptance, **exact):
    before = {}
    for number in range(machines):
        run = portable_run(f"machine-{number}", 8 + number / 4, **exact)
        before = dict(accept(before, run, acceptance).baselines.cases)
    return before


def test_each_machine_that_is_accepted_adds_its_portable_figures(acceptance, later):
    before = accepted_on(3, acceptance)
    done = accept(before, portable_run("machine-9", 8.0), later)
    assert (done.changed, done.machines) == (("t",), {"t": 4})
    portable = done.baselines.cases["t"].portable
    assert len(portable.figures.values["speedup"]) == 4
    assert portable.accepted == later
    # Its exact values, of which it has none here, were accepted before.
    assert done.baselines.cases["t"].accepted == acceptance


def test_no_name_of_a_machine_is_kept(acceptance):
    (case,) = accepted_on(1, acceptance).values()
    assert "machine-0" not in str(case)


def test_the_same_run_again_changes_nothing(acceptance, later):
    before = accepted_on(3, acceptance, n=1)
    done = accept(before, portable_run("machine-2", 8.5, n=1), later)
    assert (done.unchanged, done.baselines.cases) == (("t",), before)


def test_a_machine_unlike_the_others_widens_what_is_expected(acceptance, later):
    before = accepted_on(6, acceptance)
    done = accept(before, portable_run("machine-9", 2.0), later)
    figures = done.baselines.cases["t"].portable.figures
    assert (len(figures.values["speedup"]), figures.spreads) == (7, {})


def test_a_known_machine_at_another_level_starts_it_with_the_spread_of_before(
    acceptance, later
):
    before = accepted_on(6, acceptance)
    done = accept(before, portable_run("machine-0", 2.0), later)
    figures = done.baselines.cases["t"].portable.figures
    assert list(figures.values["speedup"].values()) == [2.0]
    assert len(figures.shares["accuracy"]) == 6  # whose level is as it was
    assert list(figures.spreads) == ["speedup"]


def test_a_case_that_records_nothing_portable_any_more_loses_it(acceptance, later):
    before = accepted_on(2, acceptance, n=1)
    done = accept(before, run_of(case("t", n=1)), later)
    assert done.baselines.cases["t"].portable is None
    assert done.changed == ("t",)
    assert accept(accepted_on(2, acceptance), run_of(case("t")), later).dropped == (
        "t",
    )
