from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_accel import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

QUANTILES = [0.5, 0.9, 0.95, 0.99]

#: Misses allowed to pass and misses above which it fails, at 95 %, for p50, p90, p95, p99.
VERDICT_LIMITS_95 = {
    30: [(10, 19), (0, 6), (-1, 4), (-1, 1)],
    60: [(23, 36), (1, 10), (0, 6), (-1, 2)],
    100: [(41, 58), (4, 15), (1, 9), (-1, 3)],
    300: [(135, 164), (21, 39), (8, 21), (0, 6)],
    500: [(231, 268), (38, 61), (16, 33), (1, 9)],
    1000: [(473, 526), (84, 116), (38, 62), (4, 15)],
    5000: [(2441, 2558), (464, 535), (224, 276), (38, 62)],
}


@pytest.mark.parametrize("n", VERDICT_LIMITS_95)
def test_verdict_limits_agree_with_the_reference_table(n: int) -> None:
    assert [stats.over_limits(n, p, 0.95) for p in QUANTILES] == VERDICT_LIMITS_95[n]


@given(
    n=st.integers(1, 3000),
    p=st.sampled_from([*QUANTILES, 0.999]),
    c=st.sampled_from([0.9, 0.95, 0.975, 0.99]),
)
def test_verdict_limits_are_binomial_quantiles(n: int, p: float, c: float) -> None:
    allowed, too_many = stats.over_limits(n, p, c)
    misses_at_the_limit = scipy.stats.binom(n, 1 - p)
    assert allowed == -1 or misses_at_the_limit.cdf(allowed) <= 1 - c + 1e-9
    assert misses_at_the_limit.cdf(allowed + 1) > 1 - c - 1e-9
    assert too_many == misses_at_the_limit.ppf(c) or math.isclose(misses_at_the_limit.cdf(too_many - 1), c)


@pytest.mark.parametrize(
    ("p", "at_90", "at_95", "at_99"),
    [(0.5, 4, 5, 7), (0.9, 22, 29, 44), (0.95, 45, 59, 90), (0.99, 230, 299, 459), (0.999, 2302, 2995, 4603)],
)
def test_fewest_samples_that_can_pass(p: float, at_90: int, at_95: int, at_99: int) -> None:
    assert [stats.required_samples(p, c) for c in (0.9, 0.95, 0.99)] == [at_90, at_95, at_99]


@pytest.mark.parametrize(
    ("misses", "at_95", "at_99"),
    [(0, 299, 459), (1, 473, 662), (2, 628, 838), (5, 1049, 1307), (10, 1693, 2010), (50, 6323, 6898)],
)
def test_samples_that_absorb_misses_at_p99(misses: int, at_95: int, at_99: int) -> None:
    assert stats.required_samples(0.99, 0.95, misses) == at_95
    assert stats.required_samples(0.99, 0.99, misses) == at_99


def test_a_plan_leaves_room_for_two_misses() -> None:
    assert stats.planned_samples(0.99, 0.95) == 628
    assert stats.over_limits(628, 0.99, 0.95)[0] == 2


def test_samples_that_pass_with_misses() -> None:
    assert stats.required_samples(0.99, 0.95, misses=4) == 500 + 413


def test_error_is_split_between_the_planned_looks() -> None:
    assert stats.per_look_confidence(0.95, 1) == 0.95
    assert stats.per_look_confidence(0.95, 2) == pytest.approx(0.975)


def test_worthless_samples_widen_the_undecided_zone() -> None:
    assert stats.scaled_limits(1000, 1000, 0.99, 0.95) == (4, 15)
    assert stats.scaled_limits(1000, 500, 0.99, 0.95) == (2, 19)  # pass up to 1 and fail from 10 of 500
    assert stats.scaled_limits(1000, 200, 0.99, 0.95) == (-1, 29)
    assert stats.scaled_limits(100, 1, 0.99, 0.95) == (-1, 99)
    assert stats.scaled_limits(100, 1, 0.5, 0.95) == (-1, 100)


def test_percentiles_are_nearest_rank() -> None:
    ordered = [float(i) for i in range(1, 101)]
    assert [stats.nearest_rank(ordered, p) for p in (0.5, 0.9, 0.99, 0.999, 1.0)] == [50, 90, 99, 100, 100]
    assert stats.nearest_rank([7.0], 0.01) == 7.0


def test_quantile_bound_takes_order_statistics() -> None:
    shuffled = [float(i) for i in range(1, 1001)]
    random.Random(0).shuffle(shuffled)
    bound = stats.quantile_bound(shuffled, 0.99, 0.95)
    assert (bound.lower, bound.estimate, bound.upper) == (985.0, 990.0, 996.0)  # u = 15 and a = 4 from the table
    assert (bound.n, bound.effective_n) == (1000, 1000)


def test_too_few_samples_have_no_upper_bound() -> None:
    bound = stats.quantile_bound([1.0, 1.1] * 50, 0.99, 0.95)
    assert bound.upper is None
    assert bound.estimate == 1.1


def test_one_sample_is_a_lower_bound_at_most() -> None:
    assert stats.quantile_bound([3.0], 0.99, 0.95) == stats.QuantileBound(3.0, 3.0, None, 1, 1)
    assert stats.quantile_bound([3.0], 0.5, 0.95) == stats.QuantileBound(None, 3.0, None, 1, 1)


def test_constant_samples_are_bounded_by_their_value() -> None:
    bound = stats.quantile_bound([2.0] * 500, 0.99, 0.95)
    assert (bound.lower, bound.upper, bound.effective_n) == (2.0, 2.0, 500)


def test_lag1_autocorrelation() -> None:
    assert stats.lag1_autocorrelation([1.0, -1.0] * 100) == pytest.approx(-1.0, abs=0.01)
    assert stats.lag1_autocorrelation([float(i) for i in range(1000)]) == pytest.approx(1.0, abs=0.01)
    assert stats.lag1_autocorrelation([5.0] * 10) == 0.0
    assert stats.lag1_autocorrelation([5.0]) == 0.0


def test_scattered_and_bunched_slow_samples_are_told_apart() -> None:
    scattered = [2.0 if i % 50 == 0 else 1.0 for i in range(1000)]
    bunched = [2.0 if i < 20 else 1.0 for i in range(1000)]
    assert stats.clustering(scattered, 0.99) == 1.0  # nothing lies over the quantile itself
    assert stats.clustering(scattered, 0.9) == 1.0
    assert stats.clustering(bunched, 0.9) > 10


def test_the_autocorrelation_time_of_a_known_process_is_found() -> None:
    """Where each value remembers rho of the one before, (1 + rho) / (1 - rho) of them count as one."""
    rng = random.Random(1)
    for rho in (0.0, 0.5, 0.8):
        values = _remembering(rng, rho, 20_000)
        assert stats.autocorrelation_time(values) == pytest.approx((1 + rho) / (1 - rho), rel=0.15)
    assert stats.autocorrelation_time([1.0, -1.0] * 100) == 1.0, "values that alternate are worth no less"
    assert stats.autocorrelation_time([5.0] * 100) == 1.0


def test_the_autocorrelation_time_of_short_series_is_not_too_small() -> None:
    """Nine count as one where each value remembers 0.8 of the one before."""
    rng = random.Random(1)
    times = [stats.autocorrelation_time(_remembering(rng, 0.8, 100)) for _ in range(400)]
    assert math.fsum(times) / len(times) == pytest.approx(9.0, rel=0.1)


def _remembering(rng: random.Random, rho: float, n: int) -> list[float]:
    values = [rng.gauss(0.0, 1.0) / math.sqrt(1.0 - rho * rho)]
    while len(values) < n:
        values.append(rho * values[-1] + rng.gauss(0.0, 1.0))
    return values


def test_a_series_of_long_runs_alike_wanders() -> None:
    assert stats.wandering([4.0] * 60 + [6.0] * 60 + [4.0] * 60) == pytest.approx(1.5)
    assert stats.wandering([4.0, 6.0] * 90) == 1.0


@given(p=st.floats(0.001, 0.9999), freedom=st.floats(1.0, 500.0))
def test_student_t_agrees_with_scipy(p: float, freedom: float) -> None:
    assert stats.student_t(p, freedom) == pytest.approx(scipy.stats.t.ppf(p, freedom), rel=1e-7, abs=1e-7)


def test_blocks_are_consecutive_and_equal() -> None:
    assert stats.block_means([1, 3, 10, 30, 100, 300, 9999], blocks=3) == [2, 20, 200]


def test_mean_spread_agrees_with_scipy() -> None:
    values = [0.01, 0.03, -0.02, 0.05, 0.00]
    spread = stats.mean_spread(values)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert spread.mean - spread.margin(0.95) == pytest.approx(expected.low)
    assert spread.mean + spread.margin(0.95) == pytest.approx(expected.high)


def test_difference_spread_is_welchs() -> None:
    now, then = [0.10, 0.13, 0.08], [0.00, 0.05, -0.03, 0.01, 0.02]
    spread = stats.mean_spread(now).minus(stats.mean_spread(then))
    expected = scipy.stats.ttest_ind(now, then, equal_var=False)
    assert spread.freedom == pytest.approx(expected.df)
    assert spread.mean - spread.margin(0.975) == pytest.approx(expected.confidence_interval(0.95).low)


def test_equal_samples_have_no_spread_at_all() -> None:
    assert stats.mean_spread([0.1, 0.1, 0.1]) == stats.Spread(0.1, 0.0, 2)
    assert stats.mean_spread([0.3] * 3).minus(stats.mean_spread([0.1] * 3)).margin(0.999) == 0.0


def test_a_moderated_spread_knows_something_before_the_first_sample() -> None:
    assert stats.moderated_spread([0.7], deviation=0.02, freedom=4.0) == stats.Spread(0.7, 0.02, 4.0)
    values = [0.01, 0.03, -0.02, 0.05, 0.00]
    own = stats.mean_spread(values)
    unknown = stats.moderated_spread(values, deviation=0.02, freedom=0.0)
    assert unknown.error == pytest.approx(own.error)
    assert unknown.freedom == 4
    both = stats.moderated_spread(values, deviation=0.02, freedom=4.0)
    assert both.freedom == 8
    assert both.error**2 == pytest.approx((own.error**2 + 0.02**2 / 5) / 2)


def test_a_bound_for_all_looks_lies_further_out_than_for_one_and_nears_the_mean() -> None:
    spread = stats.Spread(0.0, 0.01, 9.0)
    margins = [stats.Spread(0.0, 0.1 / math.sqrt(n), n - 1).margin_at_any_time(0.95, n) for n in (5, 20, 100, 1000)]
    assert spread.margin_at_any_time(0.95, 10) > spread.margin(0.95)
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] < 0.02
    assert stats.Spread(0.0, 0.01, 1.0).margin_at_any_time(0.95, 1) == math.inf


def test_the_error_of_a_median_is_half_of_what_lies_around_it() -> None:
    assert stats.median_error([3.0]) == 0.0
    assert stats.median_error([float(i) for i in range(100)]) == pytest.approx(5.5)
    normal = [scipy.stats.norm.ppf((i + 0.5) / 400) for i in range(400)]
    assert stats.median_error(normal) == pytest.approx(1.2533 / 20, rel=0.06)
    assert stats.median_error([*normal[:-1], 1e9]) == stats.median_error(normal)


def test_wilson_interval_agrees_with_scipy() -> None:
    expected = scipy.stats.binomtest(3, 40).proportion_ci(0.95, method="wilson")
    assert stats.wilson_interval(3, 40, 0.95) == pytest.approx((expected.low, expected.high))


def test_paired_interval_agrees_with_newcombes_own_example() -> None:
    assert stats.paired_drop_interval(36, 12, 2, 0, 0.95) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_paired_interval_without_flips_is_not_zero_wide() -> None:
    interval = stats.paired_drop_interval(95, 0, 0, 5, 0.95)
    assert interval.lower < 0.0 < interval.upper
    assert interval.upper < 0.05


def test_a_weak_correlation_is_taken_for_none() -> None:
    """Newcombe's correction: 3 * 3 - 2 * 2 is no more than half of the samples, so the margins add in quadrature."""
    share = stats.wilson_interval(5, 10, 0.95)
    quadrature = math.sqrt(2.0) * (share.upper - 0.5)
    assert stats.paired_drop_interval(3, 2, 2, 3, 0.95) == pytest.approx((-quadrature, quadrature))


def test_a_paired_interval_is_narrower_than_an_unpaired_one() -> None:
    agreeing = stats.paired_drop_interval(750, 10, 5, 235, 0.95)
    opposing = stats.paired_drop_interval(520, 240, 235, 5, 0.95)
    assert agreeing.upper - agreeing.lower < 0.3 * (opposing.upper - opposing.lower)


def coverages(quantiles: Sequence[float], *, n: int, rho: float, runs: int, looks: int = 1) -> list[float]:
    """How often the 95 % upper bound of each quantile holds, for lognormal latencies with AR(1) memory ``rho``."""
    rng, confidence = random.Random(20), stats.per_look_confidence(0.95, looks)
    truth = {p: math.exp(0.15 * scipy.stats.norm.ppf(p)) for p in quantiles}
    covered = dict.fromkeys(quantiles, 0)
    for _ in range(runs):
        x = rng.gauss(0.0, 1.0)
        latencies = []
        for _ in range(n):
            x = rho * x + math.sqrt(1.0 - rho * rho) * rng.gauss(0.0, 1.0)
            latencies.append(math.exp(0.15 * x))
        for p in quantiles:
            upper = stats.quantile_bound(latencies, p, confidence).upper
            covered[p] += upper is None or upper >= truth[p]
    return [covered[p] / runs for p in quantiles]


def test_the_bound_covers() -> None:
    assert min(coverages([0.9], n=200, rho=0.0, runs=300)) >= 0.92


def test_the_bound_survives_autocorrelation() -> None:
    assert min(coverages([0.9], n=200, rho=0.6, runs=300)) >= 0.90  # 0.88 and less without the effective sample size


@pytest.mark.statistical
@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.94), (0.3, 0.93), (0.5, 0.93), (0.9, 0.86)])
def test_coverage_over_many_runs(rho: float, least: float) -> None:
    assert min(coverages([0.5, 0.9, 0.99], n=500, rho=rho, runs=2000)) >= least


@pytest.mark.statistical
def test_one_extension_spends_no_more_than_the_error_allowed() -> None:
    """At exactly the limit, look at 300 samples and, if undecided, at 600: false passes stay under 5 %."""
    rng, confidence = random.Random(4), stats.per_look_confidence(0.95, 2)
    passes = 0
    for _ in range(5000):
        first = sum(rng.random() < 0.05 for _ in range(300))
        both = first + sum(rng.random() < 0.05 for _ in range(300))
        passes += first <= stats.over_limits(300, 0.95, confidence)[0] or (
            first <= stats.over_limits(300, 0.95, confidence)[1] and both <= stats.over_limits(600, 0.95, confidence)[0]
        )
    assert passes / 5000 <= 0.05


def test_a_series_that_rises_or_falls_throughout_has_drifted() -> None:
    rising = [100.0 + at for at in range(120)]
    assert stats.drift(rising) == pytest.approx(199.5 / 119.5)  # the middles of the last and the first third
    assert stats.drift(rising[::-1]) == pytest.approx(1 / stats.drift(rising))


def test_what_goes_up_and_down_has_not_drifted() -> None:
    assert stats.drift([100.0] * 120) == 1.0
    assert stats.drift([100.0, 200.0] * 60) == 1.0
    assert stats.drift([100.0 + min(at, 120 - at) for at in range(120)]) == 1.0
    assert stats.drift([float(at + 1) for at in range(3 * stats.TREND_BLOCKS - 1)]) == 1.0, "too few to tell"
