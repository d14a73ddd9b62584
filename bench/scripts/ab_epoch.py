"""Compare an epoch of `sample_net` with one that does a little more work, many times.

Head does a planted share of its own work more at the end of each `fit`; the other side
is the same code. Such a case can only be run whole, so that whole epochs alternate.
Prints the verdict of each comparison and what it measured, as Markdown.

    python bench/scripts/ab_epoch.py --sessions 3
    python bench/scripts/ab_epoch.py --sessions 3 --plant 0
"""

import argparse
import math
import sys
import time
from pathlib import Path

from ab_sessions import busy, compared

ROOT = Path(__file__).parents[2]
SUITE = "bench/suites/bench_training.py"
CASE = f"{SUITE}::bench_epoch[feature_extraction]"

PLANT = '''
"""Lets `fit` do more work, within what the case measures by either clock."""
import os, time
SHARE = float(os.environ["PLANT_SHARE"])
def pytest_collection_finish():
    from tlcore import training
    fit = training.fit
    def more(*given, **named):
        start = time.process_time()
        result = fit(*given, **named)
        end = time.process_time() + SHARE * (time.process_time() - start)
        while time.process_time() < end:
            pass
        return result
    training.fit = more
'''


def main() -> None:
    """Run the sessions that the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="other processes at work")
    parser.add_argument("--plant", type=float, default=0.05, help="0.05 is 5 %%")
    parser.add_argument("--budget", type=float, default=600)
    chosen = parser.parse_args()
    print("| planted | busy | verdict | change | pairs | seconds |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with busy(chosen.busy):
        for _ in range(chosen.sessions):
            print(session(chosen), flush=True)


def session(chosen: argparse.Namespace) -> str:
    """Compare once; return a row of the table."""
    begin = time.monotonic()
    done = compared(
        Path(sys.executable),
        ROOT,
        SUITE,
        plant=PLANT,
        share=chosen.plant,
        budget=chosen.budget,
        only=[CASE],
    )
    row = done.rows[0]
    changes = "; ".join(
        f"{change.name} {math.expm1(change.estimate.change):+.1%} "
        f"(standard error {change.estimate.error:.1%})"
        for change in row.changes
        if change.judged
    )
    return (
        f"| {chosen.plant:.0%} | {chosen.busy} | {row.verdict} | {changes} "
        f"| {done.pairs} | {time.monotonic() - begin:.0f} |"
    )


if __name__ == "__main__":
    main()
