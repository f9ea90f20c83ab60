"""Can a server keep the rate of calls that it was asked for?

A queue is stable only while all lanes together serve calls faster than they arrive. Otherwise it grows for as long as
one cares to measure, and a percentile of such latencies says when the measurement was stopped.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.facts.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement

#: BLOCKS is the number of consecutive blocks of calls whose means bound the mean; blocks are nearly independent where
#: calls are not.
BLOCKS = 20
#: MAX_LAG is the lateness of the last call, as a share of the whole time, that is allowed; a queue that grows slowly
#: shows here.
MAX_LAG = 0.1


def judge_rate(measurement: Measurement, *, confidence: float, looks: int = 1) -> list[Verdict]:
    """Judge whether a server keeps its rate; empty for another load shape. ``looks`` is how often that is judged."""
    if measurement.rate is None:
        return []
    calls = len(measurement.latencies_ns)
    if calls < BLOCKS:
        summary = f"Whether the rate is kept cannot be told from {calls} calls, at least {BLOCKS} needed."
        return [Verdict(kind="inconclusive", question="sla", summary=summary)]
    asked = _asked(measurement, measurement.rate, confidence, looks)
    sure = f"with {100 * confidence:.4g} % confidence ({calls} calls)"
    if asked.lower >= 1.0:
        return [_overload(measurement, asked, sure)]
    lag = measurement.latencies_ns[-1] / 1e9 / measurement.wall_s
    if asked.upper >= 1.0 or lag > MAX_LAG:
        summary = (
            f"Whether {measurement.rate:g} calls/s are kept is not decided: they take {asked.lower:.0%} to "
            f"{asked.upper:.0%} of the lanes' time {sure}, and the last call ended {lag:.1%} of the whole time "
            "after it arrived. More calls or a lower rate would decide."
        )
        return [Verdict(kind="inconclusive", question="sla", summary=summary)]
    summary = (
        f"{measurement.rate:g} calls/s are kept: they take at most {asked.upper:.0%} of the lanes' time {sure}, "
        f"and wait {fmean(measurement.waits_ns) / 1e6:.3g} ms on average."
    )
    return [Verdict(kind="pass", question="sla", summary=summary)]


def overloaded(measurement: Measurement, *, confidence: float, looks: int = 1) -> bool:
    """Return whether calls arrived faster than they could be served, beyond doubt."""
    return any(verdict.kind == "sla-breach" for verdict in judge_rate(measurement, confidence=confidence, looks=looks))


class _Asked(NamedTuple):
    """What the asked rate takes of all lanes' time, with one-sided bounds: over 1 it cannot be kept."""

    lower: float
    estimate: float
    upper: float


def _asked(measurement: Measurement, rate: float, confidence: float, looks: int) -> _Asked:
    spread = stats.mean_spread(stats.block_means(measurement.services_ns, BLOCKS))
    margin = spread.margin(stats.per_look_confidence(confidence, looks))
    each = rate / measurement.concurrency / 1e9
    return _Asked(each * (spread.mean - margin), each * spread.mean, each * (spread.mean + margin))


def _overload(measurement: Measurement, asked: _Asked, sure: str) -> Verdict:
    rate = measurement.rate or 0.0
    third = len(measurement.waits_ns) // 3
    first_ms, last_ms = (fmean(part) / 1e6 for part in (measurement.waits_ns[:third], measurement.waits_ns[-third:]))
    summary = (
        f"Overload: {rate:g} calls/s were asked for, but only about {rate / asked.estimate:.4g} calls/s can be kept, "
        f"and no more than {rate / asked.lower:.4g} {sure}."
    )
    detail = f"The queue grew: the first third of the calls waited {first_ms:.3g} ms, the last third {last_ms:.3g} ms."
    return Verdict(kind="sla-breach", question="sla", summary=summary, details=(detail,))
