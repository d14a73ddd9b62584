"""The command `tlbench`.

Owns the command line, its exit codes (0 done, 1 a finding, 2 wrong input), and who
accepts and when. What the commands do is in the other modules.
"""

import getpass
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tlbench import (
    acceptance,
    baseline,
    git,
    kinds,
    machine,
    pitfalls,
    prune,
    selftest,
    staleness,
)
from tlbench.ab import ab
from tlbench.arguments import RESULTS
from tlbench.output import echo, echo_json
from tlbench.refusal import Commands, refusing
from tlbench.reporting import report, summary
from tlbench.settings import read_settings
from tlbench.storage import history, importing, locks
from tlbench.storage.baselines import (
    Acceptance,
    Baselines,
    read_accepted,
    read_figures,
    write_accepted,
    write_figures,
)
from tlbench.storage.history import history_path
from tlbench.storage.last_run import LastRun, read_last_run
from tlbench.storage.machines import read_machines, write_machine
from tlbench.sync import sync
from tlbench.verdicts import noise, verdict
from tlbench.verdicts.judge import judge
from tlbench.verdicts.limits import Policy, unmatched_notes


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tlbench", prog_name="tlbench")
def main() -> None:
    """Accept, list and compare the baselines of recorded values."""


main.add_command(ab)
main.add_command(sync)


@main.command()
@click.option("--reason", default="", metavar="TEXT", help="Why the values are right.")
@click.option(
    "--prune", is_flag=True, help="Drop cases that are no longer in their files."
)
@click.option(
    "--last",
    type=click.IntRange(1, noise.MOST_RUNS),
    default=noise.MOST_RUNS,
    show_default=True,
    help="Accept the figures of this many saved runs, the newest.",
)
@click.option("--anchor", is_flag=True, help="Measure drift from these runs.")
@click.option(
    "--alias",
    nargs=2,
    metavar="OLD NEW",
    help="Rename a case: its baselines and history continue under the new name.",
)
@RESULTS
@click.argument("cases", nargs=-1, metavar="[CASE]...")
def accept(
    reason: str,
    results: Path,
    last: int,
    *,
    prune: bool,
    anchor: bool,
    alias: tuple[str, str] | None,
    cases: tuple[str, ...],
) -> None:
    """Make the last run the baseline: exact values, costs and saved figures.

    Portable figures join those of the machines that were accepted before.

    Without CASE, all cases of the last run. A case that failed is refused, unless a
    differing exact value or cost is all that failed. Figures (timings, memory,
    metrics) come from the newest runs that `pytest --tl-save` appended to the history
    of the machine.
    """
    with refusing(), _alone(results):
        if alias:
            _rename(results, alias, reason)
            return
        run, evidence = read_last_run(results)
        how = _how(reason, evidence)
        done = acceptance.accept(
            read_accepted(results), run, how, cases=cases, prune=prune
        )
        figures = _accept_figures(
            results,
            run,
            done.baselines.aliases,
            acceptance=how,
            cases=cases,
            last=last,
            anchor=anchor,
            prune=prune,
            policy=_policy(),
        )
        if done.new or done.changed or done.dropped:
            write_accepted(results, done.baselines)
        if figures is not None:
            write_figures(results, run.machine, figures.figures)
    for word in ("new", "changed", "dropped"):
        for case in getattr(done, word):
            echo(f"{word:<8} {case}")
    echo(
        f"{len(done.new)} new, {len(done.changed)} changed, "
        f"{len(done.unchanged)} unchanged, {len(done.dropped)} dropped"
    )
    if done.machines:
        counts = sorted(set(done.machines.values()))
        _show_portable(len(done.machines), counts)
    if figures is not None and figures.runs:
        _show_figures(figures, run.machine)
    _show_branches(results, run, figures)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print plain JSON.")
@RESULTS
def status(results: Path, *, as_json: bool) -> None:
    """List what is accepted, and cases that have had no good run for too long.

    Exit code 1 if there are such cases, or if a history is damaged.
    """
    with refusing():
        if not results.is_dir():
            raise ValueError(
                f"--results must be an existing folder. Received: {results}. "
                "Name another, or run pytest with --tl-results first."
            )
        baselines = read_accepted(results)
        found = list(_stale(results, baselines, datetime.now(UTC)))
        policy = _policy()
        known = _known_cases(results, baselines)
        ignored = sorted(case for case in known if policy.of(case).ignore)
        notes = unmatched_notes(policy, known, "that has a baseline")
    if as_json:
        _print_json(
            {
                "accepted": {c: vars(b.accepted) for c, b in baselines.cases.items()},
                "findings": found,
                "ignored": ignored,
                "notes": notes,
            }
        )
    else:
        width = max(map(len, baselines.cases), default=0)
        for case, entry in sorted(baselines.cases.items()):
            accepted = entry.accepted
            how = f"{accepted.when[:10]}  {accepted.by}: {accepted.reason}"
            echo(f"{case:<{width}}  {how}")
        echo(f"{len(baselines.cases)} accepted cases in {results}")
        if ignored:
            echo(f"timings ignored: {', '.join(ignored)}")
        for sentence in (*notes, *found):
            echo(sentence)
    if found:
        sys.exit(1)


@main.command("machine")
@click.option("--json", "as_json", is_flag=True, help="Print plain JSON.")
@RESULTS
def show_machine(results: Path, *, as_json: bool) -> None:
    """Show this machine: what must match to compare, and what only explains."""
    ask = machine.nvidia_smi()
    with refusing():
        here = baseline.Machine.at(results, machine.identity(ask=ask))
        context = machine.context(ask=ask)
        known = read_machines(results)
    if as_json:
        _print_json({"name": here.name, "identity": here.identity, "context": context})
        return
    echo(f"{here.name}{'' if here.name in known else ' (no runs saved yet)'}")
    for title, facts in (("identity", here.identity), ("context", context)):
        echo(f"{title}:")
        for key, value in facts.items():
            echo(f"  {key}: {value}")
    for name, other in known.items():
        if name != here.name:
            found = "; ".join(machine.differences(here.identity, other))
            echo(f"{name} differs: {found}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print plain JSON.")
@RESULTS
def compare(results: Path, *, as_json: bool) -> None:
    """Judge the last run again, by the present baselines.

    Exit code 1 if there is a finding. No case is run.
    """
    with refusing():
        run, _ = read_last_run(results)
        known = read_machines(results).get(run.machine)
        accepted = baseline.gather(
            results,
            baseline.Machine(
                identity=known or {},
                name=run.machine or "none",
                versions=run.frameworks,
            ),
            read_accepted(results),
        )
        policy = _policy()
        cases = judge(run.cases, accepted, policy=policy)
        known_cases = accepted.cases | run.cases.keys()
        notes = unmatched_notes(policy, known_cases, "that is known")
    if as_json:
        _print_json({case.case: verdict.to_json(case) for case in cases})
    else:
        for text, _ in (*summary.table(cases), *summary.findings(cases)):
            echo(text)
        for text in (summary.count(cases), *notes):
            echo(text)
    if any(finding.fails for case in cases for finding in case.findings):
        sys.exit(1)


@main.command("prune")
@click.option(
    "--keep-days",
    type=int,
    required=True,
    metavar="N",
    help="Runs that are older are folded.",
)
@RESULTS
def prune_histories(results: Path, keep_days: int) -> None:
    """Fold old runs into one line per case and month: median, spread and number.

    Runs that are accepted or an anchor stay, and so does the newest good run of each
    case.
    """
    with refusing(), _alone(results):
        gone = prune.prune(results, days=keep_days, now=datetime.now(UTC))
    for name, lines in gone.items():
        echo(f"{lines} lines fewer in the history of {name}")
    if not gone:
        echo("there is nothing to fold: no run is so old, or all of them stay")


@main.command("report")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="Folder to write to.",
)
@RESULTS
def write_report(results: Path, out: Path) -> None:
    """Write the page and the summary of the last run, from files alone."""
    with refusing():
        page = report.write(results, out, _policy())
    echo(page)


@main.command("selftest")
def run_selftest() -> None:
    """Plant known defects and check that each is found.

    The practical size and the largest detectable change are those of the project.

    Exit code 1 if one is not.
    """
    with refusing():
        # Not its patterns, which are about other cases.
        policy = Policy(default=_policy().default)
    missed = 0
    for planted in (*selftest.run(policy), *pitfalls.run()):
        missed += not planted.found
        word = "found " if planted.found else "MISSED"
        echo(f"{word}  {planted.name}: {planted.seen}")
    echo("every defect was found" if not missed else f"{missed} missed")
    if missed:
        sys.exit(1)


@main.command("import")
@click.option(
    "--as-machine",
    is_flag=True,
    help="Append to the history of this machine, if the file is from it.",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@RESULTS
def import_file(file: Path, results: Path, *, as_machine: bool) -> None:
    """Append the runs of a pytest-benchmark JSON file to the history.

    They go to a machine of their own, made from what the file says about it, or with
    --as-machine to this one, where `tlbench accept` can make them the baseline.
    """
    with refusing():
        imported = importing.read(file)
        name, identity = imported.machine, imported.identity
        if as_machine:
            here = machine.identity(ask=machine.nvidia_smi())
            importing.check_machine(imported, here, file)
            name, identity = _this_machine(results, here)
        write_machine(results, name, identity)
        history.append(history_path(results, name), imported.entries)
    word = "case" if len(imported.entries) == 1 else "cases"
    echo(f"{len(imported.entries)} {word} -> {name}")


def _this_machine(
    results: Path, here: machine.Identity
) -> tuple[str, machine.Identity]:
    """Return the name and identity that sessions on this machine are saved under."""
    # A suite may have added to the identity, which no command knows.
    known = [
        (name, identity)
        for name, identity in read_machines(results).items()
        if here.items() <= kinds.kind(identity).items()
    ]
    return known[0] if len(known) == 1 else (machine.machine_id(here), here)


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Let one acceptance wait for another: each reads, changes and writes files."""
    if not results.is_dir():
        yield  # reading the last run will say what is missing
        return
    with locks.alone(results / "accept"):
        yield


def _how(reason: str, evidence: str) -> Acceptance:
    how = Acceptance(
        by=_who(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason.strip(),
        evidence=evidence,
    )
    acceptance.check_reason(how)
    return how


def _accept_figures(
    results: Path, run: LastRun, aliases: Mapping[str, str], **options: Any
) -> acceptance.AcceptedFigures | None:
    """Return the figures after an acceptance; None if they do not change."""
    if not run.machine:
        return None
    kept = history.read(history_path(results, run.machine))
    # A baseline from what is left of a damaged history would be another one.
    if kept.damage:
        raise ValueError(kept.damage[0])
    before = read_figures(results, run.machine)
    entries = kept.renamed(aliases).entries
    done = acceptance.accept_figures(before, run, entries, **options)
    return done if done.figures != before else None


def _count(numbers: Sequence[int], word: str) -> str:
    """Return sorted numbers of something in words: "1 run", "5 to 9 runs"."""
    few, most = numbers[0], numbers[-1]
    count = str(few) if few == most else f"{few} to {most}"
    return f"{count} {word if most == 1 else word + 's'}"


def _show_portable(cases: int, machines: Sequence[int]) -> None:
    count = _count(machines, "machine")
    echo(f"portable figures of {cases} cases, from {count} each")
    if machines[0] < noise.FEWEST_RUNS:
        echo(f"they are judged elsewhere once there are {noise.FEWEST_RUNS} machines")


def _show_figures(figures: acceptance.AcceptedFigures, where: str) -> None:
    runs = sorted(set(figures.runs.values()))
    count = _count(runs, "run")
    echo(f"figures of {len(figures.runs)} cases, {count} each, on {where}")
    if runs[0] < noise.FEWEST_RUNS:
        echo(f"they are judged once there are {noise.FEWEST_RUNS} saved runs")
    for case in figures.anchored:
        echo(f"drift is now measured from these runs: {case}")


def _show_branches(
    results: Path, run: LastRun, figures: acceptance.AcceptedFigures | None
) -> None:
    """Say which of the accepted runs are of another branch than the present one."""
    here = git.branch(Path.cwd())
    found = {}
    if figures is not None:
        kept = history.read(history_path(results, run.machine))
        aliases = read_accepted(results).aliases
        entries = kept.renamed(aliases).entries
        found = acceptance.other_branches(figures.figures, entries, figures.runs, here)
    if here and run.branch not in {"", here}:
        echo(f"the last run is of the branch {run.branch}, not of {here}")
    for name, count in found.items():
        word = "run is" if count == 1 else "runs are"
        echo(f"{count} accepted {word} of the branch {name}, not of {here}")


def _rename(results: Path, alias: tuple[str, str], reason: str) -> None:
    how = _how(reason, "")
    machines = {name: read_figures(results, name) for name in read_machines(results)}
    old, new = alias
    baselines, figures = acceptance.rename(
        read_accepted(results), machines, old, new, how
    )
    write_accepted(results, baselines)
    for name, cases in figures.items():
        if cases != machines[name]:
            write_figures(results, name, cases)
    echo(f"{old} is now {new}")


def _policy() -> Policy:
    """Return what the project in this folder judges its cases by."""
    return read_settings(Path.cwd()).policy


def _known_cases(results: Path, baselines: Baselines) -> set[str]:
    figures = (read_figures(results, name) for name in read_machines(results))
    return set(baselines.cases).union(*figures)


def _stale(results: Path, baselines: Baselines, now: datetime) -> Iterator[str]:
    for name in read_machines(results):
        kept = history.read(history_path(results, name))
        yield from kept.damage
        figures = read_figures(results, name)
        entries = kept.renamed(baselines.aliases).entries
        late = staleness.stale(figures, entries, now)
        for one in late:
            yield f"{name}: {one.why}"
        if late:
            yield f"{name}: if it is retired, remove its folder {results / name}"


def _print_json(document: Any) -> None:
    echo_json(json.dumps(document, indent=2, default=list))


def _who() -> str:
    """Return git's name of the user, else the login."""
    try:
        git = subprocess.run(
            ["git", "config", "user.name"],  # noqa: S607 - git is found by PATH
            capture_output=True,
            text=True,
            check=False,
        )
        name = git.stdout.strip()
    except OSError:  # no git
        name = ""
    try:
        return name or getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        raise ValueError(
            "Whoever accepts a baseline must have a name. Received: no git user.name, "
            "no login. Set one with `git config user.name NAME`."
        ) from None
