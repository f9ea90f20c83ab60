from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_accel import verdict
from pytest_accel.facts.records import Budgets, Conditions
from pytest_accel.verdict.server import judge_rate
from tests.unit import facts

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement
    from pytest_accel.facts.verdicts import Verdict

MS = 1_000_000


def served(rate: float, waits_ms: list[float], service_ms: float | list[float] = 2.0, **changed: Any) -> Measurement:
    """Calls to a server that arrived exactly as often as asked for."""
    services_ms = [service_ms] * len(waits_ms) if isinstance(service_ms, float) else service_ms
    latencies_ns = [round((wait + service) * MS) for wait, service in zip(waits_ms, services_ms, strict=True)]
    return facts.measurement(
        load_shape="server",
        rate=rate,
        latencies_ns=latencies_ns,
        waits_ns=[round(wait * MS) for wait in waits_ms],
        wall_s=len(waits_ms) / rate + latencies_ns[-1] / 1e9,
        items_per_call=1,
        **changed,
    )


#: 600 calls a second, of which a lane that takes 2 ms a call can serve 500: each waits a third of a millisecond longer.
OVERLOAD = served(600, [nth / 3 for nth in range(900)])
EASY = served(100, [0.0] * 900)


def only(verdicts: list[Verdict]) -> Verdict:
    (verdict,) = verdicts
    return verdict


def test_an_overload_is_told_with_the_rate_that_could_be_kept_and_how_the_queue_grew() -> None:
    answer = only(verdict.judge_sla(OVERLOAD, Budgets(), confidence=0.95))
    assert (answer.kind, answer.question) == ("sla-breach", "sla")
    assert answer.summary == (
        "Overload: 600 calls/s were asked for, but only about 500 calls/s can be kept, and no more than 500 with 95 % "
        "confidence (900 calls)."
    )
    assert answer.details == ("The queue grew: the first third of the calls waited 49.8 ms, the last third 250 ms.",)


def test_no_percentile_of_an_overload_passes_or_is_measured_further() -> None:
    budgets = Budgets(p99_ms=1e6)
    assert [each.kind for each in verdict.judge_sla(OVERLOAD, budgets, confidence=0.95)] == ["sla-breach"]
    undecided = served(600, [*[nth / 3 for nth in range(899)], 2e6])
    assert verdict.further_calls(undecided, budgets, confidence=0.95) == 0
    assert verdict.further_calls(msgspec.structs.replace(undecided, rate=None), budgets, confidence=0.95) > 0


def test_more_lanes_keep_a_higher_rate() -> None:
    assert only(judge_rate(served(900, [0.0] * 900, concurrency=2), confidence=0.95)).kind == "pass"
    assert only(judge_rate(served(1100, [0.0] * 900, concurrency=2), confidence=0.95)).kind == "sla-breach"


def test_a_rate_that_is_kept_is_said_beside_the_latency() -> None:
    rate, latency = verdict.judge_sla(served(100, [0.5] * 900), Budgets(p99_ms=3), confidence=0.95)
    assert (rate.kind, latency.kind) == ("pass", "pass")
    assert rate.summary == (
        "100 calls/s are kept: they take at most 20% of the lanes' time with 95 % confidence (900 calls), and wait "
        "0.5 ms on average."
    )


def test_service_times_that_vary_around_the_limit_decide_nothing() -> None:
    varying = [1.0 + (nth // 45) % 2 * 2.0 for nth in range(900)]  # 1 or 3 ms, a block each
    answer = only(judge_rate(served(490, [0.0] * 900, varying), confidence=0.95))
    assert answer.kind == "inconclusive"
    assert answer.summary.startswith("Whether 490 calls/s are kept is not decided: they take 79% to 117% of the lanes'")
    # Looking twice takes more confidence each time.
    close = served(640, [0.0] * 900, varying)
    assert only(judge_rate(close, confidence=0.95)).kind == "sla-breach"
    assert only(judge_rate(close, looks=2, confidence=0.95)).kind == "inconclusive"


def test_a_queue_that_has_grown_decides_nothing_although_each_call_is_fast_enough() -> None:
    late = served(100, [nth * 1.2 for nth in range(900)])
    answer = only(judge_rate(late, confidence=0.95))
    assert answer.kind == "inconclusive"
    assert "the last call ended 10.7% of the whole time after it arrived" in answer.summary


def test_few_calls_decide_nothing() -> None:
    assert only(judge_rate(served(100, [0.0] * 19), confidence=0.95)).kind == "inconclusive"


def test_a_disturbed_overload_is_undecided() -> None:
    disturbed = msgspec.structs.replace(OVERLOAD, conditions=Conditions(in_process=True))
    assert only(verdict.judge_sla(disturbed, Budgets(), confidence=0.95)).kind == "inconclusive"


def test_other_load_shapes_have_no_rate_to_keep() -> None:
    assert judge_rate(facts.measurement(), confidence=0.95) == []


# -- plausibility -----------------------------------------------------------------------------------------------------


def test_waiting_makes_no_measurement_implausible() -> None:
    queueing = served(400, [0.0, 40.0, 80.0] * 300)
    assert only(verdict.judge_measurement(queueing)).kind == "pass"
    scattered = served(400, [0.0] * 900, [0.5, 3.0, 3.0] * 300)
    assert "rates scatter" in only(verdict.judge_measurement(scattered)).summary


@pytest.mark.parametrize(("rate", "kind"), [(100, "pass"), (400, "not-measured")])
def test_calls_may_scatter_where_most_of_them_follow_a_pause(rate: float, kind: str) -> None:
    """A call takes half a millisecond behind another one, and three after a pause in which a core fell asleep."""
    calls = served(rate, [0.0] * 900, [0.5, 3.0, 3.0] * 300)
    assert verdict.judge_measurement(calls)[0].kind == kind


@pytest.mark.parametrize("load_shape", ["server", "multi_stream"])
def test_calls_side_by_side_add_up_to_no_more_than_all_lanes_have(load_shape: str) -> None:
    calls = facts.measurement(load_shape=load_shape, latencies_ns=[10 * MS] * 100, concurrency=4, wall_s=0.25)
    assert only(verdict.judge_measurement(calls)).kind == "pass"
    two = msgspec.structs.replace(calls, concurrency=2)
    assert "2.00 times the wall clock of 2 lanes" in only(verdict.judge_measurement(two)).summary


def test_a_server_may_be_idle() -> None:
    assert only(verdict.judge_measurement(EASY)).kind == "pass"
