"""A session: gathers what its cases recorded, judges it, and writes what is kept.

Owns the bookkeeping between pytest's hooks: which baseline cases the session should
have met, what travels between the processes of pytest-xdist, when suspects are run
again, and what is written and printed at the end. It does not know pytest: `plugin`
calls it from the hooks, and turns its errors into pytest's.
"""

import json
import platform
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tlbench import (
    baseline,
    confirmation,
    conviction,
    git,
    machine,
    renames,
    unknown,
)
from tlbench.inventory import Inventory
from tlbench.options import Options
from tlbench.record import CaseRecord
from tlbench.recorder import BENCHMARK
from tlbench.reporting import report, summary
from tlbench.settings import Settings, read_settings
from tlbench.storage import history
from tlbench.storage.baselines import (
    Baselines,
    accepted_json,
    accepted_path,
    parse_accepted,
    read_accepted,
    read_figures,
)
from tlbench.storage.last_run import LastRun, last_run_path, read_run, write_run
from tlbench.storage.machines import write_machine
from tlbench.unrecorded import Uses
from tlbench.verdicts import circumstances, verdict
from tlbench.verdicts.exact import differences
from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge, suspects, unseen
from tlbench.verdicts.limits import unmatched_notes
from tlbench.verdicts.trials import Trial, representatives, tried

Ending: TypeAlias = Literal["passed", "findings", "unwritten"]
"""How a session ended: as the gate wants, with findings, or without its files."""


class Session:
    """Gathers what the cases of one session recorded, and judges it.

    Under pytest-xdist there is one in each worker, which judges exact values and takes
    the inventory of its cases, and one in the controlling process, which does the rest.

    Args:
        options: what the session was asked to do.
        identity: returns what the suites know about the machine; called at most once.
        versions: by name, the versions of the programs that run the session.
        say: prints a line while the session runs.
    """

    def __init__(
        self,
        options: Options,
        *,
        identity: Callable[[], Mapping[str, Any]],
        versions: Mapping[str, str],
        say: confirmation.Say,
    ) -> None:
        self.options = options
        self._identity = identity
        self._versions = versions
        self._say = say
        self._settings = Settings()
        self._baselines: Baselines | None = None
        self._accepted = Accepted()
        self.inventory = Inventory(root=options.root)
        self.uses = Uses(switch=options.switch, takes_all=options.takes_all)
        self._records: dict[str, CaseRecord] = {}
        self._failed: set[str] = set()
        self._cases: Sequence[verdict.Case] = ()
        self._unsaved: dict[str, str] = {}
        self._silence = ""
        self._notes: list[str] = []
        self._context: machine.Context = {}

    # What is compared with

    def load(self) -> None:
        """Read the baselines, once.

        Raises:
            ValueError: a file is damaged or of a newer schema.
            OSError: a file cannot be read.
        """
        # Load and clocks are read before the cases run, which change both.
        if self._baselines is None:
            known = read_settings(self.options.root)
            install = self.options.install or known.install
            self._settings = replace(known, install=install)
            if self.options.gate and self.options.base:
                unknown.find_base(self.options.root, self.options.base)
            self._baselines = read_accepted(self.options.results)
            self._accepted = baseline.gather(
                self.options.results, self._here, self._baselines
            )
            self._context = machine.context(ask=self._ask)

    def load_parcel(self, parcel: str) -> None:
        """Take the baselines from the controlling process, once.

        A worker reads no file: all workers must judge by the same baselines, even if
        someone accepts new ones meanwhile. Of figures it only needs to know which cases
        have some; they are judged in the controlling process.
        """
        if self._baselines is None:
            data = json.loads(parcel)
            content = json.dumps(data["accepted"]).encode()
            path = accepted_path(self.options.results)
            self._baselines = parse_accepted(content, path)
            self._accepted = replace(
                baseline.judged(self._baselines, data["versions"]),
                figures={case: Figures(version="") for case in data["figures"]},
            )

    def parcel(self) -> str:
        """Return what the workers of pytest-xdist need of the baselines, as JSON.

        JSON because execnet, which carries it, takes plain values only.
        """
        accepted = accepted_json(self._baselines or Baselines())
        return json.dumps(
            {
                "accepted": json.loads(accepted),
                "figures": sorted(self._accepted.figures),
                "versions": self._accepted.versions,
            }
        )

    def has_baseline(self, case: str) -> bool:
        """Tell whether a case has a baseline of any kind."""
        return case in self._accepted.cases

    def iterations(self, case: str, version: str) -> int | None:
        """Return how many iterations a round of a case had before, None if unknown.

        Those of the session that is repeated; else of the accepted runs; as long as
        there are none, of the newest saved run, so that the first runs are alike.
        """
        if case in self._repeated:
            timing = self._repeated[case].timings.get(BENCHMARK)
            return timing.iterations if timing else None
        figures = self._accepted.figures.get(case)
        if figures and figures.version == version and BENCHMARK in figures.iterations:
            return figures.iterations[BENCHMARK]
        return self._saved_iterations.get((case, version))

    @cached_property
    def _saved_iterations(self) -> dict[tuple[str, str], int]:
        path = history.history_path(self.options.results, self._here.name)
        aliases = (self._baselines or Baselines()).aliases
        try:
            kept = history.read(path).renamed(aliases)
        except (ValueError, OSError):
            return {}  # calibrated again; what cannot be compared then says so
        return {
            (x.case, x.record.version): timing.iterations
            for x in kept.entries
            for name, timing in x.record.timings.items()
            if name == BENCHMARK and timing.iterations
        }

    @cached_property
    def _repeated(self) -> Mapping[str, CaseRecord]:
        return read_run(self.options.repeat)[0].cases if self.options.repeat else {}

    # Cached, and only when needed: a session that records nothing starts no nvidia-smi.

    @cached_property
    def _ask(self) -> machine.Query | None:
        return machine.nvidia_smi()

    @cached_property
    def _here(self) -> baseline.Machine:
        """The machine, with what the suites know about it."""
        found = machine.identity(self._identity(), ask=self._ask)
        return baseline.Machine.at(self.options.results, found)

    # Collecting: which baseline cases should this session meet?

    def take_inventory(
        self, chosen: Iterable[str], *, searched: Sequence[Path], narrowed: bool
    ) -> None:
        """Compare the collected cases with those that have a baseline."""
        self.inventory.take(
            self._accepted.cases, chosen, searched=searched, narrowed=narrowed
        )

    def found(self) -> str:
        """Return what a worker found while collecting, as JSON."""
        return json.dumps([self.inventory.to_json(), self.uses.to_json()])

    def add_found(self, parcel: str) -> None:
        """Add what a worker found while collecting."""
        inventory, uses = json.loads(parcel)
        self.inventory.add_json(inventory)
        self.uses.add_json(uses)

    # Running: exact values are judged at the end of each case.

    def differences(self, record: CaseRecord) -> tuple[str, ...]:
        """Return a sentence for each exact value or cost that differs."""
        costs = self._accepted.costs.get(record.case, {}).get(self._accepted.versions)
        return (
            *differences(record.exact, self._accepted.exact.get(record.case)),
            *differences(record.costs, costs),
        )

    def begin(self, node: str) -> None:
        """Start an attempt at a case, which may not be the first."""
        self._failed.discard(node)

    def take(self, node: str, record: CaseRecord) -> None:
        """Keep a record.

        A case is reported up to three times (setup, call, teardown); an attempt that
        failed in any phase stays a failure.
        """
        if record.outcome == "failed":
            self._failed.add(node)
        if node in self._failed:
            record = replace(record, outcome="failed")
        self._records[record.case] = record

    # Ending: judge, run suspects again, write, print.

    def finish(self) -> Ending:
        """Judge and write what the cases left."""
        if self.options.records:
            write_run(self.options.records, self._run())
            return "passed"
        expects = self.options.gate or self.options.takes_all
        if expects and not any(x.names for x in self._records.values()):
            self._silence = self.uses.why()
        if not (self._records or self.inventory.gone or self.inventory.chosen):
            return "findings" if self._fails else "passed"
        self._cases = self._judge()
        self._check_lines()
        self._check_patterns()
        try:
            self._write()
        except (OSError, ValueError) as error:
            self._notes.append(f"the results could not be written: {error}")
            return "unwritten"
        return "findings" if self._fails else "passed"

    def lines(self) -> Iterator[summary.Line]:
        """Yield the lines of the section `tlbench` at the end of the session."""
        if self._cases:
            yield from summary.table(self._cases)
            found = list(summary.findings(self._cases))
            if found:
                yield "", {}
            yield from found
            yield summary.count(self._cases), {}
            if self._has_findings:
                yield f"to accept: {self.options.remedy}", {}
        if self._silence:
            yield f"missing: {self._silence}", summary.COLOURS["missing"]
        if self._fails:
            yield "--tl-gate: a finding fails the session", {}
        for note in self._notes:
            yield note, {"bold": True}

    @property
    def has_verdicts(self) -> bool:
        """Whether anything was judged, or should have been."""
        return bool(self._cases or self._silence)

    @property
    def _fails(self) -> bool:
        """Whether the gate fails the session."""
        return self.options.gate and (bool(self._silence) or self._has_findings)

    @property
    def _has_findings(self) -> bool:
        return any(x.fails for case in self._cases for x in case.findings)

    def _judge(self) -> Sequence[verdict.Case]:
        # Judged twice: the first time says who is suspect, the second time is with
        # what convicts or clears them, and is the verdict.
        judged = partial(
            judge,
            self._records,
            self._accepted,
            now=self._context,
            policy=self._settings.policy,
        )
        cases = judged()
        trials = self._convict(cases) if self.options.gate else {}
        left = {case for case, one in trials.items() if one.outcome == "unknown"}
        suspected = [
            case for case in _suspected(cases) if case in left or case not in trials
        ]
        if suspected and self.options.confirm:
            again = confirmation.run_again(
                {case: self._records[case] for case in suspected},
                times=self.options.confirm,
                root=self.options.root,
                start=self.options.start,
                options=self.options.again,
                say=self._say,
            )
            cases = judged(again)
        cases = tried(cases, trials, self._changes(trials))
        hints = partial(
            renames.hint,
            records=self._records,
            accepted=self._accepted,
            remedy=self.options.remedy,
        )
        missing = [
            verdict.absent(case, "the case did not run")
            for case in self.inventory.chosen - set(self._records)
        ]
        missing += [
            verdict.absent(case, f"its file has no such case; {hints(case)}")
            for case in self.inventory.gone
        ]
        if not self._silence:
            silent = self.uses.silent(self._records)
            missing += [verdict.absent(case, why) for case, why in silent.items()]
        return sorted([*self._unknown(cases), *missing], key=lambda case: case.case)

    def _convict(self, cases: Sequence[verdict.Case]) -> Mapping[str, Trial]:
        """Measure the suspects in turn with the commits that were accepted."""
        # Those that the history is blind for too: the pair sees what it cannot.
        suspected = dict.fromkeys((*_suspected(cases), *unseen(cases)))
        settings = self._settings
        if not suspected or not settings.convict:
            return {}
        path = history.history_path(self.options.results, self._here.name)
        aliases = self._baselines.aliases if self._baselines else {}
        commits = conviction.accepted_commits(
            self._accepted.figures,
            history.read(path).renamed(aliases).entries,
            drifted=[x.case for case in cases for x in case.judgements if x.drifted],
        )
        done = conviction.convict(
            tuple(suspected),
            commits,
            root=self.options.root,
            settings=settings,
            options=self.options.handed_on,
            say=self._say,
            devices=bool(self._here.identity.get("gpus")),
        )
        self._notes += done.notes
        return done.trials

    def _unknown(self, cases: Sequence[verdict.Case]) -> Sequence[verdict.Case]:
        """Do what was asked for on a machine that no figure was accepted for."""
        here = self._here.name
        if not self.options.gate or read_figures(self.options.results, here):
            return cases
        question = unknown.Question(
            answer=self.options.unknown or self._settings.unknown,
            base=self.options.base,
            root=self.options.root,
            settings=self._settings,
            options=self.options.handed_on,
            devices=bool(self._here.identity.get("gpus")),
        )
        found, notes = unknown.answer(cases, self._accepted, question, say=self._say)
        self._notes += notes
        return found

    def _changes(self, trials: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return, by case, what changed around it since its accepted runs."""
        figures = self._accepted.figures
        return {
            case: circumstances.changes(figures[case].context, self._context)
            for case in trials
            if case in figures
        }

    def _check_lines(self) -> None:
        """Find the cases that do not fit into the history; the others are saved."""
        for entry in self._entries(self._run()) if self.options.save else ():
            try:
                history.line(entry)
            except ValueError as error:
                self._unsaved[entry.case] = f"it is not saved: {error}"
        self._cases = [
            replace(
                case,
                findings=(
                    *case.findings,
                    verdict.Finding("missing", self._unsaved[case.case]),
                ),
            )
            if case.case in self._unsaved
            else case
            for case in self._cases
        ]

    def _check_patterns(self) -> None:
        """Note the patterns of the settings that are about no case."""
        if self.inventory.is_full:
            known = self.inventory.cases | self._accepted.cases
            where = "that was collected or has a baseline"
            self._notes += unmatched_notes(self._settings.policy, known, where)

    def _write(self) -> None:
        # In this order: the report reads the files that were written before it.
        run, results = self._run(), self.options.results
        if self._records or self.inventory.gone:
            write_run(last_run_path(results), run)
        if self.options.save:
            write_machine(results, self._here.name, self._here.identity)
            path = history.history_path(results, self._here.name)
            entries = self._entries(run)
            history.append(path, [x for x in entries if x.case not in self._unsaved])
        if self.options.report:
            page = report.write(results, self.options.report, self._settings.policy)
            self._notes.append(f"the report: {page}")

    def _entries(self, run: LastRun) -> list[history.Entry]:
        return [
            history.Entry(
                run=run.run,
                when=run.when,
                record=history.rounded(case.record),
                verdict=case.verdict,
                structure=history.structure_of(case.record),
                commit=self._commit,
                branch=run.branch,
                context=self._context,
            )
            for case in self._cases
            if case.record is not None
        ]

    @cached_property
    def _commit(self) -> str:
        return machine.commit(self.options.root)

    def _run(self) -> LastRun:
        now = datetime.now(UTC)
        return LastRun(
            when=now.isoformat(timespec="seconds"),
            versions={
                "python": platform.python_version(),
                **self._versions,
                **machine.own_versions(),
                **machine.libraries(),
                **self._here.identity["frameworks"],
            },
            cases=self._records,
            gone=tuple(sorted(self.inventory.gone)),
            # Random digits: two sessions may end in the same second.
            run=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            machine=self._here.name,
            frameworks=self._here.versions,
            verdicts={case.case: verdict.to_json(case) for case in self._cases},
            branch=git.branch(self.options.root),
        )


def _suspected(cases: Sequence[verdict.Case]) -> tuple[str, ...]:
    """Return the cases that may have got slower, or stand for a slower machine."""
    return tuple(dict.fromkeys((*suspects(cases), *representatives(cases))))
