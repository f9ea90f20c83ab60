from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel import stats
from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Budgets
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.measuring.latency import CHECKS, FEWEST_CALLS, Load, Steady, planned_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_accel.processes.client import LoadShape
    from tests.unit.conftest import Workshop


@contextmanager
def steady(
    workshop: Workshop, *, batch_size: int = 1, shape: LoadShape = "single_stream", **script: Any
) -> Iterator[Steady]:
    """A model in its steady state that rotates among two batches."""
    candidate = workshop.compile(workshop.model(**script), batch_size=batch_size)
    with candidate.load() as loaded:
        load = Load(shape, synthetic(loaded.signature, batch_size, batches=2), items_per_call=batch_size)
        yield Steady(loaded, load)


@pytest.mark.parametrize(
    ("budgets", "calls"),
    [
        (Budgets(), FEWEST_CALLS),
        (Budgets(p50_ms=1), FEWEST_CALLS),
        (Budgets(p99_ms=1), stats.planned_samples(0.99, 0.975)),
        (Budgets(p50_ms=1, p99_ms=1, p90_ms=1), stats.planned_samples(0.99, 0.975)),
        (Budgets(p999_ms=1), stats.planned_samples(0.999, 0.975)),
    ],
)
def test_the_most_demanding_limit_plans_the_calls(budgets: Budgets, calls: int) -> None:
    assert planned_calls(budgets, confidence=0.95, looks=2) == calls


def test_the_phases_of_a_launch_are_kept_apart(workshop: Workshop) -> None:
    with steady(workshop, latency_ms=2, cold_calls=1, cold_factor=50, load_s=0.25, compile_s=9) as launch:
        measurement = launch.measure(20)
    phases = measurement.phases
    assert (phases.compile_s, phases.compile_cached, phases.load_s, phases.first_inference_ms) == (9, False, 0.25, 100)
    assert phases.warm_up_s == pytest.approx((phases.warm_up_calls - 1) * 0.002 + 0.1)
    assert phases.steady
    assert measurement.latencies_ns == [2_000_000] * 20
    assert measurement.wall_s == 0.04


def test_what_was_done_is_recorded(workshop: Workshop) -> None:
    script = {"throttled": "thermal", "device_memory_mb": 64.0, "asynchronous": True, "latency_ms": 0.999}
    with steady(workshop, batch_size=8, shape="offline", **script) as launch:
        measurement = launch.measure(20)
    assert (measurement.load_shape, measurement.items_per_call, measurement.throughput) == ("offline", 8, 8000)
    assert measurement.latencies_ns[0] == 1000  # it did not wait for the device
    assert measurement.device_memory_mb == 64
    assert measurement.host_memory_mb is not None
    assert measurement.conditions.in_process
    assert measurement.conditions.throttled == "thermal"
    assert "measuring model on fake-b8: 20 calls" in workshop.told


def test_outputs_of_some_timed_calls_are_kept_with_their_batch(workshop: Workshop) -> None:
    with steady(workshop) as launch:
        measurement = launch.measure(10)
        assert measurement.outputs_checked == len(launch.checked) == CHECKS
        assert {call.batch for call in launch.checked} == {0, 1}


def test_an_extension_adds_calls_of_the_same_launch(workshop: Workshop) -> None:
    with steady(workshop, latency_ms=[1, 2, 3, 4, 5, 6, 7]) as launch:
        first = launch.measure(10)
        both = launch.extend(first, 6)
        assert len(launch.checked) == both.outputs_checked == 2 * CHECKS
    assert len(both.latencies_ns) == 16
    assert both.latencies_ns[:10] == first.latencies_ns
    assert both.wall_s == pytest.approx(sum(both.latencies_ns) / 1e9)
    assert both.lag1_autocorrelation == stats.lag1_autocorrelation(both.latencies_ns) != first.lag1_autocorrelation


def test_what_disturbs_either_part_of_an_extended_measurement_is_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    causes = iter(["the processor was too hot 3 times", ""])
    monkeypatch.setattr("pytest_accel.measuring.latency.Throttling", lambda _: SimpleNamespace(causes=causes.__next__))
    foreign_load = SimpleNamespace(cores=iter([1.5, 0.25]).__next__)
    monkeypatch.setattr("pytest_accel.measuring.latency.ForeignLoad", lambda _: foreign_load)
    with steady(workshop, throttled="power cap") as launch:
        both = launch.extend(launch.measure(10), 6)
    assert both.conditions.throttled == "power cap; the processor was too hot 3 times"
    assert both.conditions.foreign_load_cores == 1.5


def test_a_model_that_never_gets_steady_is_given_up_on_and_recorded_as_such(workshop: Workshop) -> None:
    with steady(workshop, drift=0.5) as launch:
        measurement = launch.measure(10)
    assert not measurement.phases.steady
    assert 60 < measurement.phases.warm_up_s < 61


def test_a_measurement_that_cannot_fit_the_deadline_is_refused_beforehand(workshop: Workshop) -> None:
    workshop.start_again(run_timeout_s=60.0)
    with steady(workshop, latency_ms=100) as launch:
        with pytest.raises(
            UsageError,
            match=r"601 calls are needed and would take about 60 s, but --accel-run-timeout allows 60 s; raise it, or "
            r"judge a lower percentile",
        ):
            launch.measure(601)
        assert "measure" not in workshop.asked
        assert len(launch.measure(600).latencies_ns) == 600


def test_a_server_is_measured_with_its_waits_and_its_extension_sees_other_arrivals(workshop: Workshop) -> None:
    with steady(workshop, latency_ms=2) as launch:
        load = Load("server", [], items_per_call=1, concurrency=1, rate=400)
        first = launch.measure(50, load)
        both = launch.extend(first, 50, load)
    assert (first.load_shape, first.rate, first.concurrency) == ("server", 400, 1)
    assert len(first.waits_ns) == 50
    assert first.services_ns == [2_000_000] * 50
    assert both.services_ns == [2_000_000] * 100
    assert both.waits_ns[:50] == first.waits_ns != both.waits_ns[50:]


def test_several_streams_are_measured_side_by_side(workshop: Workshop) -> None:
    with steady(workshop, latency_ms=2) as launch:
        measurement = launch.measure(20, Load("multi_stream", [], items_per_call=3, concurrency=4))
    assert (measurement.wall_s, measurement.concurrency, measurement.throughput) == (0.01, 4, 6000)


def test_calls_that_arrive_too_seldom_for_the_deadline_are_refused_beforehand(workshop: Workshop) -> None:
    workshop.start_again(run_timeout_s=60.0)
    with steady(workshop, latency_ms=1) as launch:
        seldom = Load("server", [], items_per_call=1, rate=5)
        with pytest.raises(UsageError, match=r"301 calls are needed and would take about 60 s"):
            launch.measure(301, seldom)
        assert len(launch.measure(300, seldom).latencies_ns) == 300


def test_a_slow_first_inference_does_not_count_against_the_deadline(workshop: Workshop) -> None:
    with steady(workshop, latency_ms=1, cold_calls=1, cold_factor=100_000) as launch:
        assert launch.measure(1000).phases.first_inference_ms == 100_000
