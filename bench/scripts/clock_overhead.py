"""Measure what recording both clocks costs a session, as a ratio.

Sessions of a foreign suite with and without processor time, in turn. The suite and its
environment are those of `gates.py`. Prints the processor time of a session with both
clocks over one with wall time alone, as the median over the pairs.

    python bench/scripts/clock_overhead.py --folder /tmp/suites --pairs 10
"""

import argparse
import math
import os
import statistics
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from ab_sessions import SUITES, prepare
from gates import PLACES, environment, repository

WITHOUT = """
import tlbench.plugin
tlbench.plugin.measure_processor_time = lambda fixture: None
"""


def main() -> None:
    """Print the ratio for each suite."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the suites")
    parser.add_argument("--only", default="", help="one of the packages")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each case")
    chosen = parser.parse_args()
    prepare(chosen.folder)
    print("| suite | pairs | both clocks / wall time alone | standard error |")
    print("| --- | --- | --- | --- |", flush=True)
    for suite in SUITES:
        if chosen.only not in ("", suite.package):
            continue
        tree = repository(suite, chosen.folder)
        python = environment(suite, PLACES[suite.package], tree, chosen.folder)
        words = [
            *(str(python), "-m", "pytest", suite.path, "-q", "-W", "ignore"),
            *("-p", "no:cacheprovider", f"--benchmark-max-time={chosen.seconds}"),
        ]
        ratios = []
        for pair in range(chosen.pairs):
            spent = {
                clocks: session(words, tree, clocks=clocks)
                for clocks in ((1, 2) if pair % 2 else (2, 1))
            }
            ratios.append(math.log(spent[2] / spent[1]))
        error = statistics.stdev(ratios) / math.sqrt(len(ratios))
        ratio = math.exp(statistics.median(ratios))
        print(f"| {suite.package} | {chosen.pairs} | {ratio:.3f} | {error:.3f} |")


def session(words: list[str], tree: Path, *, clocks: int) -> float:
    """Run one session; return its processor time in seconds."""
    with TemporaryDirectory() as aside:
        (Path(aside) / "without.py").write_text(WITHOUT, encoding="utf-8")
        plugin = ["-p", "without"] if clocks == 1 else []
        process = subprocess.Popen(
            [*words, "--tl-results", aside, *plugin],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": aside},
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
