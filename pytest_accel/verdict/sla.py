"""Does the model keep its latency and throughput budgets, with confidence?

A quantile passes when its upper bound is under the limit, fails when its lower bound is over it, and is inconclusive in
between. Each verdict states its own confidence: a test with several limits is a little less sure of all together.

A bound speaks for calls that go on as they were, and of which each tells something of its own. Of a latency that drifts
or wanders it is believed only where as much of that again would not change the answer.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.verdict.plausibility import disturbances, unless_disturbed
from pytest_accel.verdict.server import BLOCKS, judge_rate, overloaded

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Measurement

#: MATERIAL_DRIFT is the change of a latency from its beginning to its end, as a share, that is a drift; a clock alone
#: wanders by less.
MATERIAL_DRIFT = 0.10


def judge_sla(measurement: Measurement, budgets: Budgets, *, confidence: float, looks: int = 1) -> list[Verdict]:
    """Return one verdict for each latency limit, for ``min_throughput`` and for the rate of a server.

    ``looks`` is how often this measurement may be judged in all: 2 where one extension is planned, at both looks.
    A breach that a disturbed measurement shows is inconclusive. An overload is the only answer: how long calls waited
    in a queue that grows says nothing.
    """
    verdicts = judge_rate(measurement, confidence=confidence, looks=looks)
    if not overloaded(measurement, confidence=confidence, looks=looks):
        verdicts += _judge_times(measurement, budgets, confidence, looks)
    return [unless_disturbed(verdict, disturbances(measurement)) for verdict in verdicts]


def throughput_bounds(measurement: Measurement, confidence: float) -> tuple[float | None, float | None]:
    """Return the lower and the upper bound of the throughput, in items per second, each at ``confidence`` on its own.

    Both are None where there are too few calls. The upper one is None, too, where they scatter too much for one.
    """
    if len(measurement.latencies_ns) < BLOCKS:
        return None, None
    spread = stats.mean_spread(stats.block_means(measurement.latencies_ns, BLOCKS))
    # Relative to the blocks' mean, so that time between the calls counts too: the wall clock has it.
    margin = spread.margin(confidence) / spread.mean if spread.mean else 0.0
    return measurement.throughput / (1.0 + margin), measurement.throughput / (1.0 - margin) if margin < 1.0 else None


def further_calls(measurement: Measurement, budgets: Budgets, *, confidence: float, looks: int = 1) -> int:
    """Return how many more calls, none of them slow, would pass every undecided limit; 0 when all are decided."""
    if overloaded(measurement, confidence=confidence, looks=looks):
        return 0
    slas = _latency_slas(measurement, budgets, confidence, looks)
    undecided = (sla for sla in slas if sla.kind == sla.at_rest == "inconclusive")
    return max((sla.more_calls for sla in undecided), default=0)


def _judge_times(measurement: Measurement, budgets: Budgets, confidence: float, looks: int) -> list[Verdict]:
    verdicts = [sla.verdict() for sla in _latency_slas(measurement, budgets, confidence, looks)]
    if budgets.min_throughput is not None:
        verdicts.append(_judge_throughput(measurement, budgets.min_throughput, confidence, looks))
    return verdicts


def _latency_slas(measurement: Measurement, budgets: Budgets, confidence: float, looks: int) -> list[_LatencySla]:
    latencies_ms = [latency / 1e6 for latency in measurement.latencies_ns]
    unrest = _unrest(measurement)
    return [
        _latency_sla(latencies_ms, quantile, limit_ms, confidence, looks, unrest)
        for quantile, limit_ms in budgets.latency_limits_ms.items()
    ]


class _Unrest(NamedTuple):
    """By how much calls changed while they were timed, as a factor of at least 1, and what is sentence of it."""

    factor: float = 1.0
    sentence: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}; as much again could change the answer. Let the machine settle, and measure again."


def _unrest(measurement: Measurement) -> _Unrest:
    """Of single calls, for waiting in a queue has ups and downs of its own."""
    drift = stats.drift(measurement.services_ns)
    if abs(drift - 1.0) >= MATERIAL_DRIFT:
        # What went one way may go on, or come back.
        return _Unrest(max(drift, 1.0 / drift), f"Calls ended {drift:.2f} times as slow as they began")
    wandering = stats.wandering(measurement.services_ns)
    return _Unrest(
        wandering, f"Calls came in long runs alike, the slowest {wandering:.2f} times as slow as the fastest"
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
    fastest_ms: float
    slowest_ms: float
    unrest: _Unrest

    @property
    def kind(self) -> VerdictKind:
        if self.clear is not None:
            return self.clear
        return "inconclusive" if self.too_restless else self.at_rest

    @property
    def clear(self) -> VerdictKind | None:
        """The answer of all calls together where they changed while they were timed and none of them is near the limit.

        Such calls say little about how many are over it, whatever their number.
        """
        if self.unrest.factor > 1.0 and self.slowest_ms * self.unrest.factor <= self.limit_ms:
            return "pass"
        if self.unrest.factor > 1.0 and self.fastest_ms / self.unrest.factor > self.limit_ms:
            return "sla-breach"
        return None

    @property
    def at_rest(self) -> VerdictKind:
        """The answer if calls go on as they were."""
        if self.over <= self.allowed:
            return "pass"
        return "sla-breach" if self.over > self.too_many else "inconclusive"

    @property
    def too_restless(self) -> bool:
        """Whether as much unrest again could turn the answer."""
        if self.at_rest == "pass":
            return self.bound.upper is not None and self.bound.upper * self.unrest.factor > self.limit_ms
        if self.at_rest == "sla-breach":
            return self.bound.lower is not None and self.bound.lower / self.unrest.factor <= self.limit_ms
        return False

    def verdict(self) -> Verdict:
        if self.clear is not None:
            summary = (
                f"{self.name}: {self.bound.n} calls took {self.fastest_ms:.4g} to {self.slowest_ms:.4g} ms, all "
                f"{'over' if self.clear == 'sla-breach' else 'under'} the limit of {self.limit_ms:g} ms, and still if "
                f"they change by {self.unrest.factor:.2f} times again."
            )
            return Verdict(kind=self.clear, question="sla", summary=summary, budget=self.budget)
        summary = f"{self._claim}; limit {self.limit_ms:g} ms: {self.over} calls over, {self._needs}."
        if self.at_rest == "inconclusive":
            summary += f" If no further call is over, {self.more_calls} more would pass."
        if self.kind == "inconclusive" and self.unrest.factor > 1.0:
            summary += f" Not decided: {self.unrest}"
        details = []
        if self.bound.effective_n < self.bound.n:
            details.append(f"Slow calls came in clusters: they are worth {self.bound.effective_n} independent ones.")
        return Verdict(kind=self.kind, question="sla", summary=summary, details=tuple(details), budget=self.budget)

    @property
    def budget(self) -> str:
        """The limit's name in a marker."""
        return f"{self.name.replace('.', '')}_ms"

    @property
    def _claim(self) -> str:
        sure = f"with {self.confidence:.4g} % confidence ({self.bound.n} calls)"
        if self.at_rest == "sla-breach":
            return f"{self.name} >= {self.bound.lower:.4g} ms {sure}"
        if self.bound.upper is None:
            return f"{self.name} has no upper bound yet: {self.bound.n} calls, at least {self.needed} needed"
        return f"{self.name} <= {self.bound.upper:.4g} ms {sure}"

    @property
    def _needs(self) -> str:
        passes = f"<= {self.allowed}" if self.allowed >= 0 else "more calls"
        fails_from = f">= {self.too_many + 1}" if self.too_many < self.bound.n else "more calls"
        return f"pass needs {passes}, fail needs {fails_from}"


def _latency_sla(
    latencies_ms: list[float], quantile: float, limit_ms: float, confidence: float, looks: int, unrest: _Unrest
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
        fastest_ms=min(latencies_ms),
        slowest_ms=max(latencies_ms),
        unrest=unrest,
    )


def _judge_throughput(measurement: Measurement, least: float, confidence: float, looks: int) -> Verdict:
    calls = len(measurement.latencies_ns)
    lower, upper = throughput_bounds(measurement, stats.per_look_confidence(confidence, looks))
    if lower is None:
        summary = f"Throughput cannot be bounded: {calls} calls, at least {BLOCKS} needed."
        return Verdict(kind="inconclusive", question="sla", summary=summary)
    sure = f"with {100 * confidence:.4g} % confidence ({calls} calls)"
    unrest = _unrest(measurement)
    if lower >= least:
        summary = f"Throughput >= {lower:.4g} items/s {sure}; needed {least:g}."
        return _unless_restless("pass", summary, unrest, decided=lower / unrest.factor >= least)
    if upper is not None and upper < least:
        summary = f"Throughput <= {upper:.4g} items/s {sure}; needed {least:g}."
        return _unless_restless("sla-breach", summary, unrest, decided=upper * unrest.factor < least)
    top = f"{upper:.4g}" if upper is not None else "any"
    summary = f"Throughput is between {lower:.4g} and {top} items/s {sure}; needed {least:g}. More calls would decide."
    return Verdict(kind="inconclusive", question="sla", summary=summary)


def _unless_restless(kind: VerdictKind, summary: str, unrest: _Unrest, *, decided: bool) -> Verdict:
    if decided:
        return Verdict(kind=kind, question="sla", summary=summary)
    return Verdict(kind="inconclusive", question="sla", summary=f"{summary} Not decided: {unrest}")
