"""Replay the same runs to several judges, and print who was right, as Markdown.

Twenty accepted runs of 24 series, then one run in which nothing changed, or one case or
the whole machine became slower. Each run has ten samples; the spread between runs and
within them is given. The judges: a fixed threshold against the last run, a U test on
the samples of two runs, and tlbench with three fresh runs of each suspect.

    python bench/scripts/replay_runs.py [--repeats 2000] [--seed 1]
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tlbench.verdicts import noise

SERIES, ACCEPTED, FRESH, SAMPLES = 24, 20, 3, 10
WITHIN = 0.003
"""Spread of the samples of one run, as a fraction."""

Runs = NDArray[np.float64]
"""Samples of all runs, (accepted + 1 + fresh, series, samples), as logarithms."""

SCENES: dict[str, tuple[float, float, float]] = {
    "nothing, CV 0.55 %": (0.0055, 0.0, 0.0),
    "nothing, CV 2 %": (0.02, 0.0, 0.0),
    "machine 5 % slower, CV 1 %": (0.01, 0.05, 0.0),
    "one case 2 % slower, CV 0.55 %": (0.0055, 0.0, 0.02),
    "one case 4 % slower, CV 1 %": (0.01, 0.0, 0.04),
    "one case 7 % slower, CV 2 %": (0.02, 0.0, 0.07),
    "machine and one case 5 % slower each, CV 1 %": (0.01, 0.05, 0.05),
}
"""The spread from run to run, and by what the machine and the first case got slower."""


def draw(
    chance: np.random.Generator, spread: float, machine: float, slow: float
) -> Runs:
    """Draw the samples of all runs."""
    levels = chance.normal(0, spread, (ACCEPTED + 1 + FRESH, SERIES))
    levels[ACCEPTED:] += math.log1p(machine)
    levels[ACCEPTED:, 0] += math.log1p(slow)
    return levels[:, :, None] + chance.normal(0, WITHIN, (*levels.shape, SAMPLES))


def threshold(size: float) -> Callable[[Runs], set[int]]:
    """Judge by a fixed percentage between two runs."""

    def judge(runs: Runs) -> set[int]:
        middles = np.median(runs, axis=2)
        change = np.expm1(middles[ACCEPTED] - middles[ACCEPTED - 1])
        return set(np.flatnonzero(change > size).tolist())

    return judge


def u_test(runs: Runs) -> set[int]:
    """Judge by Mann and Whitney's test on the samples of two runs, at 5 %."""
    return {
        i
        for i in range(SERIES)
        if stats.mannwhitneyu(
            runs[ACCEPTED, i], runs[ACCEPTED - 1, i], alternative="greater"
        ).pvalue
        < 0.05
    }


def tlbench(runs: Runs) -> set[int]:
    """Judge as tlbench does."""
    middles = np.median(runs, axis=2)
    accepted = {
        str(i): {str(run): float(middles[run, i]) for run in range(ACCEPTED)}
        for i in range(SERIES)
    }
    values = {str(i): float(middles[ACCEPTED, i]) for i in range(SERIES)}
    alpha = noise.FALSE_ALARMS / SERIES
    judged = noise.compare_run(accepted, values, alpha=alpha)
    found = set()
    for i in range(SERIES):
        expected = judged.expectations[str(i)]
        if judged.shifts[str(i)] > expected.limit(2 * noise.SCREENING):
            mean = middles[ACCEPTED + 1 :, i].mean()
            change = mean - expected.centre - judged.common_mode
            limit = expected.limit(alpha, fresh=FRESH, common=judged.common_variance)
            if change > max(limit * judged.reach, noise.PRACTICAL_SIZE):
                found.add(i)
    return found


JUDGES: dict[str, Callable[[Runs], set[int]]] = {
    "fixed 5 %": threshold(0.05),
    "fixed 10 %": threshold(0.10),
    "U test": u_test,
    "tlbench": tlbench,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"| runs ({arguments.repeats:,} each) | {' | '.join(JUDGES)} |")
    print("| --- " * (len(JUDGES) + 1) + "|")
    for scene, (spread, machine, slow) in SCENES.items():
        chance = np.random.default_rng(arguments.seed)
        found = dict.fromkeys(JUDGES, 0)
        wrong = dict.fromkeys(JUDGES, 0)
        for _ in range(arguments.repeats):
            runs = draw(chance, spread, machine, slow)
            for name, judge in JUDGES.items():
                alarms = judge(runs)
                found[name] += 0 in alarms
                wrong[name] += bool(alarms - {0} if slow else alarms)
        cells = [
            (f"found {found[name] / arguments.repeats:.1%}, " if slow else "")
            + f"false {wrong[name] / arguments.repeats:.1%}"
            for name in JUDGES
        ]
        print(f"| {scene} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
