"""What noise can do: limits against closed forms, and simulated runs from seeds."""

import math
import statistics
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from tlbench.verdicts import noise

UNHURRIED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""No example fails for a busy machine, nor by the luck of the draw."""

SERIES, RUNS, FRESH = 24, 20, 3


def say(figure):
    sys.stdout.write(f"{figure}\n")  # seen with -s


def expectation(**changes):
    values = {"centre": 0.0, "spread": 0.01, "freedom": 19.0, "runs": 20, **changes}
    return noise.Expectation(**values)


# Limits


@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.01 / 24])
@pytest.mark.parametrize("freedom", [4.0, 19.0, 137.5])
def test_the_limit_is_students_prediction_interval(alpha, freedom):
    limit = expectation(freedom=freedom).limit(alpha)
    width = stats.t.ppf(1 - alpha / 2, freedom)
    assert limit == pytest.approx(width * 0.01 * math.sqrt(1 + 1 / 20))


def test_known_for_certain_the_spread_has_the_normal_quantile():
    limit = expectation(freedom=math.inf).limit(0.05)
    assert limit == pytest.approx(1.959964 * 0.01 * math.sqrt(1.05), rel=1e-6)


@pytest.mark.parametrize("fresh", [1, 2, 3, 10])
def test_more_fresh_runs_narrow_it_down_to_the_accepted_ones(fresh):
    error = expectation().error(fresh)
    assert error == pytest.approx(0.01 * math.sqrt(1 / fresh + 1 / 20))


def test_what_was_taken_out_of_one_run_stays_in_the_mean_of_others():
    assert expectation().error(1, common=0.04) == expectation().error(1)
    wide = expectation().error(4, common=0.04)
    assert wide == pytest.approx(math.sqrt(0.01**2 * (0.25 + 0.05) + 0.04 * 0.75))


def test_the_detectable_change_is_seen_with_the_power_it_names():
    expected, alpha = expectation(freedom=math.inf), 0.01
    change = expected.detectable(alpha)
    beyond = (change - expected.limit(alpha)) / expected.error()
    assert statistics.NormalDist().cdf(beyond) == pytest.approx(noise.POWER)


def test_nothing_below_the_smallest_size_is_detectable():
    change = expectation(spread=1e-6).detectable(0.01, smallest=0.015)
    assert change == pytest.approx(0.015, abs=1e-5)


# Spread


def test_few_series_stand_alone():
    values = {"a": [0.0, 1.0, 2.0], "b": [0.0, 0.1, 0.2]}
    assert noise.moderated(values) == {"a": (1.0, 2.0), "b": (pytest.approx(0.1), 2.0)}


def test_series_that_are_alike_lend_each_other_freedom():
    random = np.random.default_rng(1)
    values = {str(i): list(random.normal(0, 0.01, 5)) for i in range(24)}
    found = noise.moderated(values)
    spreads, freedoms = zip(*found.values(), strict=True)
    assert min(freedoms) > 20
    assert max(spreads) / min(spreads) < 2
    own = [statistics.stdev(x) for x in values.values()]
    assert max(own) / min(own) > 3


def test_series_that_are_not_alike_keep_their_own():
    random = np.random.default_rng(1)
    scales = np.exp(random.normal(0, 1, 24))
    values = {str(i): list(random.normal(0, s, 20)) for i, s in enumerate(scales)}
    found = noise.moderated(values)
    for name, own in values.items():
        spread, freedom = found[name]
        assert 0.65 < spread / statistics.stdev(own) < 1.6
        assert freedom < 22


def test_the_prior_is_that_of_the_paper():
    # Against Smyth's estimator written out with scipy's own root finding.
    from scipy import optimize, special

    random = np.random.default_rng(3)
    scales = np.exp(random.normal(0, 0.5, 40))
    values = {str(i): list(random.normal(0, s, 8)) for i, s in enumerate(scales)}
    variances = np.array([np.var(x, ddof=1) for x in values.values()])
    logs = np.log(variances) - special.digamma(3.5) + np.log(3.5)
    excess = np.var(logs, ddof=1) - special.polygamma(1, 3.5)
    half = optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-3, 1e6)
    prior = np.exp(logs.mean() + special.digamma(half) - np.log(half))
    for (spread, freedom), variance in zip(
        noise.moderated(values).values(), variances, strict=True
    ):
        assert freedom == pytest.approx(7 + 2 * half, rel=1e-6)
        expected = (7 * variance + 2 * half * prior) / (7 + 2 * half)
        assert spread == pytest.approx(math.sqrt(expected), rel=1e-6)


def test_equal_runs_are_luck_and_not_law():
    accepted = {"a": {str(run): 1.0 for run in range(20)}}
    compared = noise.compare_run(accepted, {"a": 1.0})
    assert compared.expectations["a"].spread == noise.SPREAD_FLOOR


def test_one_run_has_no_spread_and_no_freedom():
    assert noise.moderated({"a": [1.0]}) == {"a": (0.0, 0.0)}


# Common mode


def accepted_runs(values):
    return {
        str(series): {str(run): float(x) for run, x in enumerate(values[:, series])}
        for series in range(values.shape[1])
    }


def test_what_all_series_share_is_taken_out_of_every_run():
    shared = np.linspace(-0.1, 0.1, RUNS)[:, None]
    accepted = accepted_runs(shared + np.zeros((RUNS, SERIES)))
    compared = noise.compare_run(accepted, {str(i): 0.05 for i in range(SERIES)})
    assert compared.common_mode == pytest.approx(0.05)
    assert compared.shifts["3"] == pytest.approx(0, abs=1e-12)
    assert compared.expectations["3"].spread == noise.SPREAD_FLOOR


@pytest.mark.parametrize("series", [1, noise.FEWEST_SERIES - 1])
def test_with_few_series_nothing_is_taken_out(series):
    accepted = accepted_runs(np.zeros((RUNS, series)))
    compared = noise.compare_run(accepted, {str(i): 0.05 for i in range(series)})
    assert compared.common_mode == 0
    assert compared.shifts["0"] == 0.05
    assert compared.common_variance == 0


def test_series_that_share_no_machine_keep_what_they_share():
    accepted = accepted_runs(np.zeros((RUNS, SERIES)))
    values = {str(i): 0.05 for i in range(SERIES)}
    compared = noise.compare_run(accepted, values, shared=False)
    assert (compared.common_mode, compared.common_variance) == (0, 0)
    assert compared.shifts["0"] == 0.05


def test_one_slow_case_is_not_mistaken_for_the_machine():
    accepted = accepted_runs(np.zeros((RUNS, SERIES)))
    values = {str(i): 0.0 for i in range(SERIES)} | {"7": 0.3}
    compared = noise.compare_run(accepted, values)
    assert compared.common_mode == 0
    assert compared.shifts["7"] == pytest.approx(0.3)


def test_the_common_variance_is_that_of_a_median():
    random = np.random.default_rng(1)
    medians = [np.median(random.normal(0, 0.01, SERIES)) for _ in range(4000)]
    accepted = accepted_runs(random.normal(0, 0.01, (RUNS, SERIES)))
    compared = noise.compare_run(accepted, {str(i): 0.0 for i in range(SERIES)})
    assert compared.common_variance == pytest.approx(np.var(medians), rel=0.25)


def test_a_machine_that_was_always_noisy_is_given_its_noise():
    random = np.random.default_rng(1)
    calm = accepted_runs(random.normal(0, 0.001, (RUNS, SERIES)))
    shared = random.normal(0, 0.05, (RUNS, 1))
    rough = accepted_runs(shared + random.normal(0, 0.001, (RUNS, SERIES)))
    values = {str(i): 0.0 for i in range(SERIES)}
    assert noise.compare_run(calm, values).common_limit < 0.005
    assert 0.1 < noise.compare_run(rough, values).common_limit < 0.3


def test_one_accepted_run_says_nothing_of_the_machine():
    accepted = accepted_runs(np.zeros((1, SERIES)))
    compared = noise.compare_run(accepted, {str(i): 0.0 for i in range(SERIES)})
    assert compared.common_limit == math.inf


# Seeds


def test_runs_of_one_seed_count_once():
    accepted = [("seed 1", 0.8, 100)] * 10 + [("seed 2", 0.9, 100)] * 2
    expected, samples = noise.seeds(accepted, [(0.85, 100)])
    assert expected.centre == pytest.approx(0.85)
    assert (expected.runs, expected.freedom, samples) == (2, 1.0, 0.0)
    assert expected.spread == pytest.approx(statistics.stdev([0.8, 0.9]))


def test_seeds_that_agree_leave_half_a_sample():
    accepted = [(seed, 1.0, 200) for seed in range(5)]
    expected, _ = noise.seeds(accepted, [(1.0, 200)])
    assert expected.spread == 0.5 / 200


def test_another_test_set_adds_the_variance_of_both():
    accepted = [(seed, 0.8, 200) for seed in range(5)]
    _, samples = noise.seeds(accepted, [(0.8, 400)])
    share = (0.8 * 200 + 2) / 204
    assert samples == pytest.approx(share * (1 - share) * (1 / 200 + 1 / 400))


# Values


@UNHURRIED
@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_positive_values_are_compared_as_ratios(value, accepted):
    runs = {"a": accepted}
    change = noise.scaled(value, runs) - noise.scaled(accepted, runs)
    assert change == pytest.approx(math.log(value / accepted), abs=1e-9)


@pytest.mark.parametrize("runs", [{"a": 0.0}, {"a": 1.0, "b": -1.0}])
def test_values_that_may_be_zero_are_compared_as_they_are(runs):
    assert not noise.is_relative(runs)
    assert noise.scaled(-3.0, runs) == -3.0


def test_what_was_always_positive_and_is_not_is_as_low_as_can_be():
    assert noise.scaled(0.0, {"a": 1.0}) == -math.inf


# Simulated runs


def simulate(
    repeats, spread, *, slow=0.0, machine=0.0, autocorrelation=0.0, runs=RUNS, seed=1
):
    """Return how often the slow case and how often any other was alarmed."""
    random = np.random.default_rng(seed)
    hits = others = 0
    for _ in range(repeats):
        values = random.normal(size=(runs + 1 + FRESH, SERIES))
        for run in range(1, len(values)):
            kept = math.sqrt(1 - autocorrelation**2) * values[run]
            values[run] = autocorrelation * values[run - 1] + kept
        values *= spread
        values[runs:] += math.log1p(machine)
        values[runs:, 0] += math.log1p(slow)
        alarms = alarmed(values, runs)
        hits += 0 in alarms
        others += bool(alarms - {0} if slow else alarms)
    return hits / repeats, others / repeats


def alarmed(values, runs):
    alpha = noise.FALSE_ALARMS / SERIES
    values_now = {str(i): float(x) for i, x in enumerate(values[runs])}
    compared = noise.compare_run(accepted_runs(values[:runs]), values_now, alpha=alpha)
    found = set()
    for i in range(SERIES):
        expected = compared.expectations[str(i)]
        if compared.shifts[str(i)] > expected.limit(2 * noise.SCREENING):
            again = (
                values[runs + 1 :, i].mean() - expected.centre - compared.common_mode
            )
            limit = expected.limit(alpha, fresh=FRESH, common=compared.common_variance)
            if again > max(limit * compared.reach, noise.PRACTICAL_SIZE):
                found.add(i)
    return found


REPEATS = 2000
"""Of the table in the documentation; the quick tests take a part of them."""
QUICK = 300


@pytest.mark.parametrize(
    ("spread", "autocorrelation", "most"),
    [
        pytest.param(0.0055, 0.0, 0.01, marks=pytest.mark.matrix),
        (0.0055, 0.3, 0.03),
        pytest.param(0.02, 0.0, 0.01, marks=pytest.mark.matrix),
    ],
)
def test_a_run_rarely_has_a_false_alarm(spread, autocorrelation, most):
    _, alarms = simulate(QUICK, spread, autocorrelation=autocorrelation)
    assert alarms <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "autocorrelation", "most"),
    [(0.0055, 0.0, 0.01), (0.0055, 0.3, 0.03), (0.02, 0.0, 0.01), (0.02, 0.3, 0.03)],
)
def test_two_thousand_runs_rarely_have_a_false_alarm(spread, autocorrelation, most):
    _, alarms = simulate(REPEATS, spread, autocorrelation=autocorrelation)
    say(f"CV {spread:.2%}, AR(1) {autocorrelation}: {alarms:.2%} of runs")
    assert alarms <= most


@pytest.mark.parametrize(
    "repeats", [QUICK, pytest.param(REPEATS, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("spread", "slow"),
    [
        (0.0055, 0.02),
        pytest.param(0.01, 0.04, marks=pytest.mark.matrix),
        pytest.param(0.02, 0.07, marks=pytest.mark.matrix),
    ],
)
def test_a_slowdown_is_found_in_the_first_run(spread, slow, repeats):
    found, others = simulate(repeats, spread, slow=slow)
    say(f"CV {spread:.2%}, {slow:.0%} slower: found {found:.1%}")
    assert found >= (0.85 if repeats == REPEATS else 0.82)
    assert others <= 0.01


@pytest.mark.parametrize(
    "repeats", [QUICK, pytest.param(REPEATS, marks=pytest.mark.slow)]
)
def test_a_slower_machine_alarms_no_case_and_hides_none(repeats):
    _, alarms = simulate(repeats, 0.01, machine=0.05)
    found, others = simulate(repeats, 0.01, machine=0.05, slow=0.05)
    say(f"machine 5 % slower: {alarms:.2%} of runs, a case within it {found:.1%}")
    assert alarms <= 0.02
    assert found >= 0.75
    assert others <= 0.02


def accuracy_alarms(repeats, *, drop, images, resampled=False, seed=1):
    """Return how often three fresh seeds are below twenty accepted ones."""
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(repeats):
        shares = random.normal(0.85, 0.005, 23)
        shares[20:] -= drop
        if resampled:
            shares = random.binomial(images, np.clip(shares, 0, 1)) / images
        else:
            shares = np.round(shares * images) / images
        accepted = [(seed, float(x), images) for seed, x in enumerate(shares[:20])]
        expected, samples = noise.seeds(
            accepted, [(float(x), images) for x in shares[20:]]
        )
        error = math.sqrt(expected.error(3) ** 2 + samples)
        limit = noise.quantile(1 - noise.FALSE_ALARMS / 2, expected.freedom) * error
        hits += expected.centre - shares[20:].mean() > limit
    return hits / repeats


@pytest.mark.parametrize("images", [200, 2500])
def test_two_points_of_accuracy_are_found(images):
    power = accuracy_alarms(REPEATS, drop=0.02, images=images)
    alarms = accuracy_alarms(REPEATS, drop=0.0, images=images)
    say(f"{images} images: power {power:.1%}, false alarms {alarms:.2%}")
    assert power >= 0.95
    assert alarms <= 0.01


@pytest.mark.parametrize("images", [200, 2500])
def test_a_test_set_drawn_again_makes_no_false_alarms_either(images):
    alarms = accuracy_alarms(REPEATS, drop=0.0, images=images, resampled=True)
    assert alarms <= 0.01
