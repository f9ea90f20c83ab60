"""Does the model keep its latency and throughput budgets, with confidence?

A quantile passes when its upper bound is under the limit, fails when its lower bound is over it, and is inconclusive in
between. Each verdict states its own confidence: a test with several limits is a little less sure of all together.

A bound speaks for calls that go on as they were. Of a latency that drifts it is believed only where another drift of
the same size would not change the answer.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from pytest_accel import stats
from pytest_accel.records import Budgets, Measurement, Verdict, VerdictKind
from pytest_accel.verdict.plausibility import disturbances, unless_disturbed
from pytest_accel.verdict.server import BLOCKS, judge_rate, overloaded

#: A latency that ended by this share slower or faster than it began has drifted; a clock alone wanders by less.
MATERIAL_DRIFT = 0.10


def judge_sla(measurement: Measurement, budgets: Budgets, *, confidence: float = 0.95, looks: int = 1) -> list[Verdict]:
    """One verdict for each latency limit, for ``min_throughput`` and for the rate of a server.

    ``looks`` is how often this measurement may be judged in all: 2 where one extension is planned, at both looks.
    A breach that a disturbed measurement shows is inconclusive. An overload is the only answer: how long calls waited
    in a queue that grows says nothing.
    """
    verdicts = judge_rate(measurement, confidence=confidence, looks=looks)
    if not overloaded(measurement, confidence=confidence, looks=looks):
        verdicts += _judge_times(measurement, budgets, confidence, looks)
    return [unless_disturbed(verdict, disturbances(measurement)) for verdict in verdicts]


def further_calls(measurement: Measurement, budgets: Budgets, *, confidence: float = 0.95, looks: int = 1) -> int:
    """How many more calls would pass every undecided latency limit, were none of them over; 0 when all are decided."""
    if overloaded(measurement, confidence=confidence, looks=looks):
        return 0
    slas = _latency_slas(measurement, budgets, confidence, looks)
    return max((sla.more_calls for sla in slas if sla.at_rest == "inconclusive"), default=0)


def _judge_times(measurement: Measurement, budgets: Budgets, confidence: float, looks: int) -> list[Verdict]:
    verdicts = [sla.verdict() for sla in _latency_slas(measurement, budgets, confidence, looks)]
    if budgets.min_throughput is not None:
        verdicts.append(_judge_throughput(measurement, budgets.min_throughput, confidence, looks))
    return verdicts


def _latency_slas(measurement: Measurement, budgets: Budgets, confidence: float, looks: int) -> list[_LatencySla]:
    latencies_ms = [latency / 1e6 for latency in measurement.latencies_ns]
    drift = _drift(measurement)
    return [
        _latency_sla(latencies_ms, quantile, limit_ms, confidence, looks, drift)
        for quantile, limit_ms in budgets.latency_limits_ms.items()
    ]


def _drift(measurement: Measurement) -> float:
    """How much slower single calls became; waiting in a queue has ups and downs of its own."""
    drift = stats.drift(measurement.services_ns)
    return drift if abs(drift - 1.0) >= MATERIAL_DRIFT else 1.0


def _either_way(drift: float) -> float:
    """The drift as a factor of at least 1: what went one way may go on, or come back."""
    return max(drift, 1.0 / drift)


def _told(drift: float) -> str:
    return (
        f"Calls ended {drift:.2f} times as slow as they began, and as much again would change the answer: "
        "let the machine settle, and measure again."
    )


class _LatencySla(NamedTuple):
    """One latency limit beside what the calls say about it."""

    name: str
    bound: stats.QuantileBound
    limit_ms: float
    over: int
    allowed: int
    too_many: int
    needed: int
    more_calls: int
    confidence: float
    drift: float

    @property
    def kind(self) -> VerdictKind:
        return "inconclusive" if self.drifted_too_far else self.at_rest

    @property
    def at_rest(self) -> VerdictKind:
        """The answer if calls go on as they were."""
        if self.over <= self.allowed:
            return "pass"
        return "sla-breach" if self.over > self.too_many else "inconclusive"

    @property
    def drifted_too_far(self) -> bool:
        """Whether another such drift could turn the answer."""
        as_much_again = _either_way(self.drift)
        if self.at_rest == "pass":
            return self.bound.upper is not None and self.bound.upper * as_much_again > self.limit_ms
        if self.at_rest == "sla-breach":
            return self.bound.lower is not None and self.bound.lower / as_much_again <= self.limit_ms
        return False

    def verdict(self) -> Verdict:
        sure = f"with {self.confidence:.4g} % confidence ({self.bound.n} calls)"
        if self.at_rest == "sla-breach":
            claim = f"{self.name} >= {self.bound.lower:.4g} ms {sure}"
        elif self.bound.upper is None:
            claim = f"{self.name} has no upper bound yet: {self.bound.n} calls, at least {self.needed} needed"
        else:
            claim = f"{self.name} <= {self.bound.upper:.4g} ms {sure}"
        passes = f"<= {self.allowed}" if self.allowed >= 0 else "more calls"
        fails_from = f">= {self.too_many + 1}" if self.too_many < self.bound.n else "more calls"
        needs = f"pass needs {passes}, fail needs {fails_from}"
        summary = f"{claim}; limit {self.limit_ms:g} ms: {self.over} calls over, {needs}."
        if self.at_rest == "inconclusive":
            summary += f" If no further call is over, {self.more_calls} more would pass."
        details = [_told(self.drift)] if self.drifted_too_far else []
        if self.bound.effective_n < self.bound.n:
            details.append(f"Slow calls came in clusters: they are worth {self.bound.effective_n} independent ones.")
        budget = f"{self.name.replace('.', '')}_ms"
        return Verdict(kind=self.kind, question="sla", summary=summary, details=tuple(details), budget=budget)


def _latency_sla(
    latencies_ms: list[float], quantile: float, limit_ms: float, confidence: float, looks: int, drift: float
) -> _LatencySla:
    each = stats.per_look_confidence(confidence, looks)
    bound = stats.quantile_bound(latencies_ms, quantile, each)
    worth = bound.effective_n / bound.n
    over = sum(latency > limit_ms for latency in latencies_ms)
    allowed, too_many = stats.scaled_limits(bound.n, bound.effective_n, quantile, each)
    needed_for_over = ceil(stats.required_samples(quantile, each, ceil(over * worth)) / worth)
    return _LatencySla(
        name=f"p{100 * quantile:g}",
        bound=bound,
        limit_ms=limit_ms,
        over=over,
        allowed=allowed,
        too_many=too_many,
        needed=ceil(stats.required_samples(quantile, each) / worth),
        more_calls=max(0, needed_for_over - bound.n),
        confidence=100 * confidence,
        drift=drift,
    )


def _judge_throughput(measurement: Measurement, least: float, confidence: float, looks: int) -> Verdict:
    calls = len(measurement.latencies_ns)
    if calls < BLOCKS:
        summary = f"Throughput cannot be bounded: {calls} calls, at least {BLOCKS} needed."
        return Verdict(kind="inconclusive", question="sla", summary=summary)
    spread = stats.mean_spread(stats.block_means(measurement.latencies_ns, BLOCKS))
    margin = spread.margin(stats.per_look_confidence(confidence, looks)) / spread.mean
    # Relative to the blocks' mean, so that time between the calls counts too: the wall clock has it.
    lower = measurement.throughput / (1.0 + margin)
    upper = measurement.throughput / (1.0 - margin) if margin < 1.0 else None
    sure = f"with {100 * confidence:.4g} % confidence ({calls} calls)"
    drift = _drift(measurement)
    as_much_again = _either_way(drift)
    if lower >= least:
        summary = f"Throughput >= {lower:.4g} items/s {sure}; needed {least:g}."
        return _unless_drifting("pass", summary, drift, decided=lower / as_much_again >= least)
    if upper is not None and upper < least:
        summary = f"Throughput <= {upper:.4g} items/s {sure}; needed {least:g}."
        return _unless_drifting("sla-breach", summary, drift, decided=upper * as_much_again < least)
    top = f"{upper:.4g}" if upper is not None else "any"
    summary = f"Throughput is between {lower:.4g} and {top} items/s {sure}; needed {least:g}. More calls would decide."
    return Verdict(kind="inconclusive", question="sla", summary=summary)


def _unless_drifting(kind: VerdictKind, summary: str, drift: float, *, decided: bool) -> Verdict:
    if decided:
        return Verdict(kind=kind, question="sla", summary=summary)
    return Verdict(kind="inconclusive", question="sla", summary=summary, details=(_told(drift),))
