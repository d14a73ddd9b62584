"""Measure a GPU in one sitting: five runs, their acceptance, a judged sixth, a report.

Leaves a folder whose `results` drops into that of the repository. Every step is marked
when it is done: the same command again goes on where the last one ended, whatever ended
it. With a budget it begins no step that would not end within it.

    python bench/scripts/gpu_session.py build/gpu
    python bench/scripts/gpu_session.py build/gpu --small --budget 900

Exit code 0 when all is done, 3 when steps are left, 1 when one failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bench/suites/bench_gpu.py"
DONE, FAILED, LEFT = 0, 1, 3
_GUESS = 60.0
"""Seconds that a step takes which was never taken before."""


@dataclass(frozen=True)
class Session:
    """A folder, and what is measured into it.

    Attributes:
        folder: where everything is written.
        backend: of Keras.
        runs: saved before the acceptance.
        small: whether images are small and steps are few, to try it without a GPU.
        workers: processes that compile at once, before anything is measured.
    """

    folder: Path
    backend: str
    runs: int
    small: bool
    workers: int

    @property
    def results(self) -> Path:
        """Return the folder of the baselines."""
        return self.folder / "results"

    def steps(self) -> Mapping[str, Sequence[str]]:
        """Return the command of each step, in order."""
        measured = ["--tl-results", str(self.results), "--tl-save"]
        steps: dict[str, Sequence[str]] = {}
        if self.backend == "jax":
            # XLA compiles for minutes, and keeps what it compiled.
            steps["compile"] = self._pytest("-n", str(self.workers))
        for number in range(1, self.runs + 1):
            steps[f"run {number}"] = self._pytest(*measured)
        reason = f"The first {self.runs} runs on this machine, one after the other."
        accept = ["--last", str(self.runs), "--reason", reason]
        steps["accept"] = self._tlbench("accept", *accept)
        # Judged behind the run: a gate would measure suspects in turn with the accepted
        # commit, which is this one, and install both.
        steps["judged run"] = self._pytest(*measured)
        steps["verdict"] = self._tlbench("compare")
        report = ["--out", str(self.folder / "report")]
        steps["report"] = self._tlbench("report", *report)
        steps["status"] = self._tlbench("status")
        return steps

    def environment(self) -> dict[str, str]:
        """Return the environment of every step."""
        paths = [str(ROOT), str(ROOT / "bench"), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "KERAS_BACKEND": self.backend,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "JAX_COMPILATION_CACHE_DIR": str(self.folder.resolve() / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            # Two processes share the GPU while timm is measured.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }

    def _pytest(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", SUITE, "-m", "gpu", "-q", "-rs"]
        # What a newer framework warns of must not cost a run on a GPU.
        command += ["-W", "default", "-p", "no:cacheprovider", *options]
        command += ["-p", "tlbench.plugin"] * (not _installed("tlbench"))
        return command + ["--small"] * self.small

    def _tlbench(self, *options: str) -> list[str]:
        program = [sys.executable, "-m", "tlbench", *options]
        return [*program, "--results", str(self.results)]


def main() -> int:
    """Take the steps that are left; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", choices=("jax", "torch", "tensorflow"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="to try it on a CPU")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds")
    chosen = parser.parse_args()
    if chosen.runs < 2:
        parser.error(f"--runs must be at least 2. Received: {chosen.runs}.")
    backend = chosen.backend or os.environ.get("KERAS_BACKEND", "jax")
    session = Session(chosen.folder, backend, chosen.runs, chosen.small, chosen.workers)
    if not session.results.is_dir():
        # With what is accepted of all machines: exact values and costs.
        session.results.mkdir(parents=True)
        shutil.copytree(ROOT / "results/any", session.results / "any")
    return take(session, chosen.budget, time.monotonic)


def take(session: Session, budget: float, clock: Callable[[], float]) -> int:
    """Take the steps that are left, within a budget of seconds."""
    begin = clock()
    marks = session.folder / "steps.jsonl"
    for step, command in session.steps().items():
        taken = _taken(marks)
        if step in taken:
            continue
        left = budget - (clock() - begin)
        if _expected(step, taken) > left:
            print(f"{step}: not begun, {left:.0f} s are left. Type the same again.")
            return LEFT
        print(f"{step}: ...", flush=True)
        started = clock()
        done = subprocess.run(command, cwd=ROOT, env=session.environment(), check=False)
        seconds = clock() - started
        print(f"{step}: {seconds:.0f} s, exit code {done.returncode}", flush=True)
        # A regression is a result.
        if done.returncode and not (step == "verdict" and done.returncode == 1):
            return FAILED
        mark = {"step": step, "seconds": seconds, "code": done.returncode}
        with marks.open("a", encoding="utf-8") as file:
            # The line break ends what a killed session may have left of a mark.
            file.write(f"\n{json.dumps(mark)}\n")
    print(spread(session))
    print(f"Copy {session.results} over results/, and commit.")
    return DONE


def spread(session: Session) -> str:
    """Return how much the timings of the saved runs differ, as Markdown."""
    rows = ["| case | timing | median | largest over smallest |", "| - | - | - | - |"]
    found: dict[tuple[str, str], list[float]] = {}
    for path in session.results.glob("*/history.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            for name, timing in entry.get("timings", {}).items():
                found.setdefault((entry["case"], name), []).append(timing["median"])
    for (case, name), values in found.items():
        share = max(values) / min(values) - 1
        figures = f"{median(values):.4g} s | {share:.1%}"
        rows.append(f"| {case.partition('::')[2]} | {name} | {figures} |")
    return "\n".join(rows)


def _taken(marks: Path) -> dict[str, float]:
    """Return the seconds of each step that is done."""
    if not marks.exists():
        return {}
    taken: dict[str, float] = {}
    for line in marks.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # half a mark is none
            mark = json.loads(line)
            taken[mark["step"]] = mark["seconds"]
    return taken


def _expected(step: str, taken: Mapping[str, float]) -> float:
    """Return the seconds that a step may take."""
    if step in {"accept", "verdict", "report", "status"}:
        return 0.0
    runs = [seconds for name, seconds in taken.items() if name.startswith("run")]
    return 1.1 * max(runs, default=_GUESS)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
