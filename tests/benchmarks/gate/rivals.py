"""What other gates would say of two recorded runs: each looks at one process then and one process now.

Their calls are those that our own verdicts are made of: of the candidates of two launches, or of two runs of pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Protocol

import scipy.stats

from tests.benchmarks.gate.record import Calls

#: pytest-benchmark's ``--benchmark-compare-fail=mean:5%`` and the like.
THRESHOLD = 1.05
SIGNIFICANCE = 0.05

#: Whether the calls now count as slower than the calls then.
Rule = Callable[[Calls, Calls], bool]

RULES: Mapping[str, Rule] = {
    "pytest-benchmark, mean:5%": lambda now, then: now.mean > THRESHOLD * then.mean,
    "pytest-benchmark, median:5%": lambda now, then: now.median > THRESHOLD * then.median,
    "pytest-benchmark, min:5%": lambda now, then: now.min > THRESHOLD * then.min,
    "Mann-Whitney at 0.05": lambda now, then: slower_by_ranks(now.some, then.some),
}


def slower_by_ranks(now: Sequence[float], then: Sequence[float]) -> bool:
    """A one-sided Mann-Whitney U test on single calls."""
    return bool(scipy.stats.mannwhitneyu(now, then, alternative="greater", method="asymptotic").pvalue < SIGNIFICANCE)


class Process(Protocol):
    """Whatever was measured in one process."""

    @property
    def calls(self) -> Calls:
        """Its calls."""


def red(rule: Rule, now: Sequence[Process], then: Sequence[Process]) -> float:
    """The share of all pairs of different processes that the rule calls slower."""
    pairs = [(a.calls, b.calls) for a, b in product(now, then) if a is not b]
    return sum(rule(*pair) for pair in pairs) / len(pairs)
