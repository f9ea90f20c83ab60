"""What can be said about a quantile, a mean or a pair of shares from the samples at hand, and with what confidence.

Quantiles get distribution-free bounds: the number of samples over the true p-quantile is binomial, whatever the
latencies look like. Means of few launches get Student's t. Shares on the same samples get Newcombe's paired interval.
Standard library only; what is decided with these numbers lives in `verdict` and `gate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from math import ceil, exp, floor, fsum, inf, lgamma, log, log1p, pi, sqrt
from operator import mul
from statistics import NormalDist, median
from typing import NamedTuple

#: PLANNED_MISSES is the number of calls over a limit that a planned sample can have and still pass. With none, a model
#: whose share of slow calls is a tenth of the allowed one would be inconclusive in every fourth run.
PLANNED_MISSES = 2
#: MIXTURE_SAMPLES is the width of the alternatives that `Spread.margin_at_any_time` mixes, in samples that would tell
#: as much. Half a sample is best for means about one and a half standard deviations from the limit, as 5 % slower is
#: from 2.5 %.
MIXTURE_SAMPLES = 0.5
#: TREND_BLOCKS is the number of blocks of a series whose medians are compared to find a trend.
TREND_BLOCKS = 12
#: TREND_SHARE is the share of all pairs of blocks that must rise, or fall, for a trend.
TREND_SHARE = 0.7
#: MOST_CORRELATED_CALLS is the number of calls that count as a single one in a series so correlated that its bounds
#: would be wrong more often than they promise.
MOST_CORRELATED_CALLS = 8.0
#: MOST_LAGS is the largest lag, in calls, of an autocorrelation that is summed; a series that is correlated further
#: counts as the above.
MOST_LAGS = 400


class Interval(NamedTuple):
    """Two ends that enclose the truth with the confidence asked for."""

    lower: float
    upper: float


@dataclass(frozen=True)
class QuantileBound:
    """A quantile with one-sided bounds on either side, in the unit of the samples; None where n is too small for one.

    ``effective_n`` is how many independent samples the ``n`` are worth.
    """

    lower: float | None
    estimate: float
    upper: float | None
    n: int
    effective_n: int


def per_look_confidence(confidence: float, looks: int) -> float:
    """Return the confidence of each look when a sample may be looked at ``looks`` times.

    Extending a sample after an undecided look and testing again triples the false passes. The rule here: say beforehand
    how often you will look (once, or twice with one extension), split the error evenly between the looks, and judge
    every look, the first one too, at the confidence that this gives.
    """
    return 1.0 - (1.0 - confidence) / looks


@lru_cache(maxsize=1024)
def over_limits(n: int, p: float, c: float) -> tuple[int, int]:
    """Return how many of ``n`` samples over a limit decide about their p-quantile at confidence ``c``: ``(a, u)``.

    At most ``a`` over: the quantile is under the limit (a is -1 when n is too small to say so). More than ``u`` over:
    the quantile is over it (u is n when n is too small). In between nothing is decided.
    """
    q, a = 1.0 - p, -1
    log_pmf, cdf = n * log1p(-q), 0.0  # P(no sample is over) when the limit is exactly the quantile
    for k in range(n):
        cdf += exp(log_pmf)
        if cdf <= 1.0 - c:
            a = k  # so few would be a fluke of a system that is too slow
        if cdf >= c:
            return a, k  # more than k would be a fluke of a system that is fast enough
        log_pmf += log((n - k) / (k + 1)) + log(q / p)
    return a, n


def required_samples(p: float, c: float, misses: int = 0) -> int:
    """Return the smallest n that can show, at confidence ``c``, a p-quantile under a limit with ``misses`` over it."""
    return _first(lambda n: over_limits(n, p, c)[0] >= misses, start=misses + 1)


def planned_samples(p: float, c: float) -> int:
    """Return how many samples to take for the p-quantile: enough to pass with a few misses (628 for p99 at 95 %)."""
    return required_samples(p, c, PLANNED_MISSES)


def scaled_limits(n: int, effective_n: int, p: float, c: float) -> tuple[int, int]:
    """`over_limits` for ``n`` samples that are worth only ``effective_n`` independent ones.

    ``k`` misses of all count as ``k * effective_n / n`` of the worth, rounded to the undecided side.
    """
    a, u = over_limits(effective_n, p, c)
    allowed = floor(a * n / effective_n) if a >= 0 else -1
    too_many = ceil((u + 1) * n / effective_n) - 1 if u < effective_n else n
    return allowed, too_many


def nearest_rank(ordered: Sequence[float], p: float) -> float:
    """Return the p-quantile of ascending samples by nearest rank: one of the samples, never an interpolation."""
    # The guard keeps 0.99 * 100 = 99.00000000000001 from becoming rank 100.
    return ordered[max(1, ceil(p * len(ordered) - 1e-9)) - 1]


def quantile_bound(values: Sequence[float], p: float, c: float) -> QuantileBound:
    """Return bounds on the p-quantile, each at confidence ``c`` on its own, whatever the distribution is."""
    ordered, n = sorted(values), len(values)
    effective = max(1, floor(n / clustering(values, p)))
    a, u = scaled_limits(n, effective, p, c)
    return QuantileBound(
        lower=ordered[n - 1 - u] if u < n else None,
        estimate=nearest_rank(ordered, p),
        upper=ordered[n - 1 - a] if a >= 0 else None,
        n=n,
        effective_n=effective,
    )


def block_means(values: Sequence[float], blocks: int) -> list[float]:
    """Return the means of so many equal blocks of consecutive values: nearly independent even where the values are not.

    What is left over at the end is left out. There must be at least as many values as blocks.
    """
    return [fsum(block) / len(block) for block in _blocks(values, blocks)]


def lag1_autocorrelation(values: Sequence[float]) -> float:
    """Return how much a sample resembles the one before it, from -1 to 1; 0 for constant or fewer than two samples."""
    if len(values) < 2:
        return 0.0
    mean = fsum(values) / len(values)
    deviations = [value - mean for value in values]
    power = fsum(d * d for d in deviations)
    return fsum(a * b for a, b in pairwise(deviations)) / power if power else 0.0


def autocorrelation_time(values: Sequence[float]) -> float:
    """Return how many consecutive samples are worth one independent one; 1 if they are independent or constant.

    Twice the sum of the autocorrelations at all lags, taken as far as neighbouring lags add up to more than nothing and
    to no more than those before (Geyer's initial monotone sequence, Statistical Science 7, 1992). Deviations are from
    the samples' own mean, which makes the sum too small by twice the share of the series that these lags span; that is
    added again (Wolff, Computer Physics Communications 156, 2004).
    """
    mean, n = fsum(values) / len(values), len(values)
    deviations = [value - mean for value in values]
    power = fsum(map(mul, deviations, deviations))
    falling: list[float] = []
    for lag in range(1, min(n - 1, MOST_LAGS), 2) if power else ():
        pair = sum(fsum(map(mul, deviations, deviations[each:])) for each in (lag, lag + 1)) / power
        if pair <= 0.0:
            break
        falling.append(min([pair, *falling[-1:]]))
    time, lags = 1.0 + 2.0 * fsum(falling), 2 * len(falling)
    return time * (1.0 + 2.0 * lags / n)


def clustering(values: Sequence[float], p: float) -> float:
    """Return how many slow samples count as one: 1 if those over the p-quantile are scattered, more if bunched.

    This, not how much the samples themselves resemble each other, is what invalidates a bound on a quantile: latencies
    that wander mildly all the time still have scattered outliers.
    """
    threshold = nearest_rank(sorted(values), p)
    over = [1.0 if value > threshold else 0.0 for value in values]
    return autocorrelation_time(over) if any(over) else 1.0


def block_medians(values: Sequence[float], blocks: int) -> list[float]:
    """Return the medians of the same blocks, of which a few slow values change nothing."""
    return [median(block) for block in _blocks(values, blocks)]


def wandering(values: Sequence[float]) -> float:
    """Return how many times slower the slowest part of a series is than the fastest, where parts hang together; else 1.

    Of samples that resemble so many before them, even the number of independent ones is hardly known.
    """
    if len(values) < 3 * TREND_BLOCKS or clustering(values, 0.5) < MOST_CORRELATED_CALLS:
        return 1.0
    blocks = block_medians(values, TREND_BLOCKS)
    return max(blocks) / min(blocks)


def drift(values: Sequence[float]) -> float:
    """Return how many times slower a series ended than it began (below 1: faster); 1 where it shows no trend.

    The medians of equal blocks have to rise or fall with hardly an exception (Kendall's tau), which a stationary series
    does once in a few hundred times, however its values cluster within the blocks. Then the median of the last third of
    the blocks is put beside that of the first.
    """
    if len(values) < 3 * TREND_BLOCKS:
        return 1.0
    blocks = block_medians(values, TREND_BLOCKS)
    rises = [(later > earlier) - (later < earlier) for earlier, later in combinations(blocks, 2)]
    if abs(sum(rises)) < TREND_SHARE * len(rises):
        return 1.0
    third = TREND_BLOCKS // 3
    return median(blocks[-third:]) / median(blocks[:third])


@dataclass(frozen=True)
class Spread:
    """A mean (or a difference of means), its standard error and the degrees of freedom behind that error."""

    mean: float
    error: float
    freedom: float

    def margin(self, c: float) -> float:
        """Return how far a one-sided bound at confidence ``c`` lies from the mean; 0 when nothing varies."""
        return student_t(c, self.freedom) * self.error if self.error else 0.0

    def margin_at_any_time(self, c: float, n: float) -> float:
        """Return how far a one-sided bound is from the mean of ``n`` samples if it is looked at after every sample.

        At confidence ``c`` the truth stays within it at all looks together, however many there are and whatever ends
        them. This is the likelihood ratio of Student's t, mixed over the mean by a normal that is worth
        `MIXTURE_SAMPLES` samples, and Ville's inequality: Robbins 1970; Lai 1976; Wang and Ramdas, "Anytime-valid
        t-tests", 2023. Infinite while the samples are too few to exclude anything.
        """
        exponent = (self.freedom + 1.0) / 2.0
        rise = (sqrt((n + MIXTURE_SAMPLES) / MIXTURE_SAMPLES) / (2.0 * (1.0 - c))) ** (1.0 / exponent)
        left = 1.0 - rise * MIXTURE_SAMPLES / (n + MIXTURE_SAMPLES)
        return self.error * sqrt(self.freedom * (rise - 1.0) / left) if left > 0.0 else inf

    def minus(self, other: Spread) -> Spread:
        """Return the difference of two independent means (Welch: their variances may differ)."""
        part, other_part = self.error**2, other.error**2
        total = part + other_part
        if total == 0.0:
            return Spread(self.mean - other.mean, 0.0, self.freedom + other.freedom)
        freedom = total**2 / (part**2 / self.freedom + other_part**2 / other.freedom)
        return Spread(self.mean - other.mean, sqrt(total), freedom)


def mean_spread(values: Sequence[float]) -> Spread:
    """Return the mean of at least two samples."""
    mean, variance = _mean_and_variance(values)
    return Spread(mean, sqrt(variance / len(values)), len(values) - 1)


def moderated_spread(values: Sequence[float], *, deviation: float, freedom: float) -> Spread:
    """Return the mean of at least one sample, whose variance others have shown before.

    A standard deviation known from elsewhere with so many degrees of freedom is averaged with that of the samples
    (Smyth's moderated t, Statistical Applications in Genetics and Molecular Biology 3, 2004).
    """
    mean = fsum(values) / len(values)
    squares = freedom * deviation**2 + fsum((value - mean) ** 2 for value in values)
    known = freedom + len(values) - 1
    return Spread(mean, sqrt(squares / known / len(values)), known)


def median_error(values: Sequence[float]) -> float:
    """Return the standard error of a median for any distribution: half the distance of its neighbours in rank.

    The rank of the true median varies by half the root of n.
    """
    ordered, n = sorted(values), len(values)
    reach = sqrt(n) / 2.0
    lower, upper = floor((n - 1) / 2.0 - reach), ceil((n - 1) / 2.0 + reach)
    return (ordered[min(upper, n - 1)] - ordered[max(lower, 0)]) / 2.0


@lru_cache
def student_t(p: float, freedom: float) -> float:
    """Return the p-quantile of Student's t distribution for any (also fractional) degrees of freedom above 0."""
    if p < 0.5:
        return -student_t(1.0 - p, freedom)
    tail, t = 1.0 - p, 0.0
    while True:  # Newton's steps from the left; the tail is convex there, so none goes too far
        step = (_student_tail(t, freedom) - tail) / _student_density(t, freedom)
        if t + step <= t * (1.0 + 1e-15):
            return t
        t += step


def wilson_interval(hits: int, n: int, c: float) -> Interval:
    """Wilson's score interval for a share; it covers with confidence ``c``."""
    z2 = NormalDist().inv_cdf((1.0 + c) / 2.0) ** 2
    centre = (hits + z2 / 2.0) / (n + z2)
    margin = sqrt(z2 * (hits * (n - hits) / n + z2 / 4.0)) / (n + z2)
    return Interval(max(0.0, centre - margin), min(1.0, centre + margin))


def paired_drop_interval(both: int, lost: int, gained: int, neither: int, c: float) -> Interval:
    """Return the drop in the share of right answers to expect on unseen data, with confidence ``c`` (positive: worse).

    The counts are of samples answered right by both sides, by the reference only, by the candidate only, by neither.
    Newcombe's method 10 (Statistics in Medicine 17, 1998): Wilson intervals of the two shares, combined with the
    correlation between the answers, so that it stays honest with few or no flips.
    """
    n = both + lost + gained + neither
    before, after = both + lost, both + gained
    drop = (lost - gained) / n
    wilson_before, wilson_after = wilson_interval(before, n, c), wilson_interval(after, n, c)
    margins_product = before * (n - before) * after * (n - after)
    cross = float(both * neither - lost * gained)
    if cross > 0:
        cross = max(0.0, cross - n / 2)  # Newcombe's continuity correction
    phi = cross / sqrt(margins_product) if margins_product else 0.0

    def margin(before_end: float, after_end: float) -> float:
        d_before, d_after = abs(before / n - before_end), abs(after / n - after_end)
        return sqrt(max(0.0, d_before**2 - 2.0 * phi * d_before * d_after + d_after**2))

    return Interval(
        drop - margin(wilson_before.lower, wilson_after.upper),
        drop + margin(wilson_before.upper, wilson_after.lower),
    )


def _blocks(values: Sequence[float], blocks: int) -> list[Sequence[float]]:
    size = len(values) // blocks
    return [values[nth * size : (nth + 1) * size] for nth in range(blocks)]


def _first(holds: Callable[[int], bool], start: int) -> int:
    """Return the smallest integer from ``start`` on for which a monotone condition holds."""
    low, high = start, start
    while not holds(high):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    if all(value == values[0] for value in values):
        return values[0], 0.0  # exact: rounding of the mean must not make equal samples look spread
    mean = fsum(values) / len(values)
    return mean, fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _student_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0."""
    return 0.5 * _incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))


def _student_density(t: float, freedom: float) -> float:
    half = (freedom + 1.0) / 2.0
    log_scale = lgamma(half) - lgamma(freedom / 2.0) - log(freedom * pi) / 2.0
    return exp(log_scale - half * log1p(t * t / freedom))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), by Lentz's continued fraction."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)  # the fraction converges fast only on this side
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 / ((1.0 - (a + b) * x / (a + 1.0)) or tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / ((1.0 + term * d) or tiny)
            c = (1.0 + term / c) or tiny
            step *= c * d
        fraction *= step
        if abs(step - 1.0) < 1e-15:
            break
    return front * fraction
