"""How often an SLA is decided wrongly when the limit is exactly the quantile: beside the promised confidence.

Calls are planned, judged, extended once where that could decide, and judged again, as a check does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from pytest_accel import verdict
from pytest_accel.check.check import LOOKS
from pytest_accel.facts.records import Budgets
from pytest_accel.measuring.latency import planned_calls
from tests.unit import facts

RUNS = 1000
CONFIDENCE = 0.95
QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}


def latencies_ns(rng: np.random.Generator, n: int, rho: float) -> list[int]:
    """Lognormal latencies of about 10 ms, each of which remembers ``rho`` of the one before."""
    innovations = rng.standard_normal(n + 200) * np.sqrt(1.0 - rho * rho)
    normal = scipy.signal.lfilter([1.0], [1.0, -rho], innovations)[200:]
    return [int(each) for each in 1e7 * np.exp(0.15 * normal)]


def answers(limit: str, rho: float) -> Counter[str]:
    """What is said of a limit that the true quantile meets exactly."""
    rng, counts = np.random.default_rng(7), Counter[str]()
    budgets = Budgets(**{limit: 10.0 * float(np.exp(0.15 * scipy.stats.norm.ppf(QUANTILES[limit])))})
    planned = planned_calls(budgets, CONFIDENCE, LOOKS)
    for _ in range(RUNS):
        drawn = latencies_ns(rng, 2 * planned, rho)
        calls = facts.measurement(latencies_ns=drawn[:planned])
        more = verdict.further_calls(calls, budgets, confidence=CONFIDENCE, looks=LOOKS)
        if 0 < more <= planned:
            calls = facts.measurement(latencies_ns=drawn[: planned + more])
        (answer,) = verdict.judge_sla(calls, budgets, confidence=CONFIDENCE, looks=LOOKS)
        counts[answer.kind] += 1
    return counts


@pytest.mark.statistical
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("limit", QUANTILES)
def test_a_limit_at_the_quantile_is_decided_wrongly_no_more_often_than_promised(
    limit: str, rho: float, tell: Callable[[str], None]
) -> None:
    counts = answers(limit, rho)
    most = scipy.stats.binom.ppf(0.999, RUNS, 1.0 - CONFIDENCE)
    tell(f"{limit} rho {rho}: {counts['pass'] / RUNS:.1%} passed and {counts['sla-breach'] / RUNS:.1%} failed")
    assert counts["pass"] <= most
    assert counts["sla-breach"] <= most
