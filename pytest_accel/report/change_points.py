"""Find where the level of a series has changed. It is for the eye: no verdict depends on it.

The series is divided into parts of one level each so that the squares of what is left add up to the least, where each
further part costs a penalty (optimal partitioning: Jackson and others, IEEE Signal Processing Letters 12, 2005). Unlike
the search for one best cut after the other, it also finds a change that was taken back later. The penalty is the square
of Student's t at a strict level, divided by the number of possible cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import inf, sqrt
from statistics import fmean, median

from pytest_accel.stats import Spread

#: MOST_VALUES is the number of values that are searched, the latest ones: the time grows with its square.
MOST_VALUES = 1000
#: LEVEL is the share of series without a change in which one may be found. Where runs scatter three times as wide as is
#: expected, one hundredth of them have one.
LEVEL = 0.005
#: FEWEST is the number of values that make a level: one alone may be an accident.
FEWEST = 2
#: ACCIDENT is how many standard deviations one value may be off both of its neighbours before it is cut down to that.
ACCIDENT = 3.0
#: SMALLEST is the least change of the level that is told. A long series would show even smaller ones.
SMALLEST = 0.01
#: EXPECTED_DEVIATION is the standard deviation that the logarithms of ratios of whole runs are expected to have.
EXPECTED_DEVIATION = 0.01
#: EXPECTED_FREEDOM is the number of degrees of freedom that this expectation is worth, beside that of the series.
EXPECTED_FREEDOM = 4.0
#: FREEDOM_OF_DIFFERENCE is what a difference of neighbours is worth in the median of all of them.
FREEDOM_OF_DIFFERENCE = 0.4
#: DEVIATION_PER_MEDIAN is the standard deviation of normal values beside the median of their neighbours' differences.
DEVIATION_PER_MEDIAN = 1.0 / (0.6745 * 2.0**0.5)


def change_points(values: Sequence[float]) -> list[int]:
    """Return where each new level begins, as indexes of the values, which are logarithms."""
    skipped = max(0, len(values) - MOST_VALUES)
    searched = values[skipped:]
    if len(searched) < 2 * FEWEST:
        return []
    noise = _noise(searched)
    clipped = _clipped(searched, ACCIDENT * noise.error)
    penalty = noise.margin(1.0 - LEVEL / (2.0 * len(searched))) ** 2
    return [skipped + cut for cut in _large_enough(clipped, _cuts(clipped, penalty))]


def _noise(values: Sequence[float]) -> Spread:
    """Return the deviation of values of one level, as far as it is known."""
    # Neighbours differ by noise alone but where the level changes, which the median does not feel.
    differences = [abs(after - before) for before, after in pairwise(values)]
    own_freedom = FREEDOM_OF_DIFFERENCE * len(differences)
    own_variance = (DEVIATION_PER_MEDIAN * median(differences)) ** 2
    freedom = EXPECTED_FREEDOM + own_freedom
    variance = (EXPECTED_FREEDOM * EXPECTED_DEVIATION**2 + own_freedom * own_variance) / freedom
    return Spread(0.0, sqrt(variance), freedom)


def _clipped(values: Sequence[float], most: float) -> list[float]:
    """Return the values without accidents: none is further away from both of its neighbours than ``most``."""
    neighbours = [values[1:3], *zip(values, values[2:], strict=False), values[-3:-1]]
    return [
        min(max(value, min(beside) - most), max(beside) + most)
        for value, beside in zip(values, neighbours, strict=True)
    ]


def _cuts(values: Sequence[float], penalty: float) -> list[int]:
    """Return the cuts of the partition whose squares and penalties add up to the least."""
    sums = [0.0, *accumulate(values)]
    squares = [0.0, *accumulate(value * value for value in values)]
    least = [-penalty] + [inf] * len(values)  # of the first so many values
    last_cut = [0] * (len(values) + 1)
    for end in range(FEWEST, len(values) + 1):
        for begin in (0, *range(FEWEST, end - FEWEST + 1)):
            left = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)
            if (cost := least[begin] + penalty + max(left, 0.0)) < least[end]:
                least[end], last_cut[end] = cost, begin
    cuts, end = [], last_cut[len(values)]
    while end:
        cuts.append(end)
        end = last_cut[end]
    return cuts[::-1]


def _large_enough(values: Sequence[float], cuts: Sequence[int]) -> list[int]:
    """Leave out, one by one and the smallest first, the cuts at which the level hardly changes."""
    kept = list(cuts)
    while kept:
        levels = [fmean(values[begin:end]) for begin, end in pairwise([0, *kept, len(values)])]
        changes = [abs(after - before) for before, after in pairwise(levels)]
        if min(changes) >= SMALLEST:
            break
        kept.pop(changes.index(min(changes)))
    return kept
