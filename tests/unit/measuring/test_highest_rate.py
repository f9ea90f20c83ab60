from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_accel.facts.records import Budgets
from pytest_accel.measuring.highest_rate import HALVINGS, search
from pytest_accel.measuring.results import Bounded
from pytest_accel.worker.timing import side_by_side
from tests.unit import facts
from tests.unit.worker.timing.test_side_by_side import SERVICE_MS, Constant

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement
    from pytest_accel.measuring.results import HighestRate

CAPACITY = 1e3 / SERVICE_MS
RESOLUTION = CAPACITY / 2**HALVINGS


def serve(rate: float, calls: int = 4000) -> Measurement:
    timed = side_by_side.server(Constant(), [None], calls, 0, concurrency=1, rate=rate, seed=1)
    return facts.measurement(
        load_shape="server",
        rate=rate,
        latencies_ns=timed.latencies_ns,
        waits_ns=timed.waits_ns,
        wall_s=timed.wall_ns / 1e9,
        items_per_call=1,
    )


def searched(**limits: float) -> HighestRate:
    return search(serve, capacity=CAPACITY, budgets=Budgets(**limits), confidence=0.95)


@pytest.mark.parametrize("limits", [{"p50_ms": 2.5}, {"p99_ms": 8.0}, {"p50_ms": 4.0, "p99_ms": 20.0}])
def test_the_highest_rate_is_where_the_limits_break(limits: dict[str, float]) -> None:
    found = searched(**limits)
    assert len(found.trials) == HALVINGS
    kept = [trial.rate for trial in found.trials if trial.met]
    broken = [trial.rate for trial in found.trials if not trial.met]
    assert found.rate == max(kept)
    assert min(broken) - max(kept) == pytest.approx(RESOLUTION)
    for name, limit_ms in limits.items():
        assert all(getattr(trial.latency, name) <= limit_ms for trial in found.trials if trial.met)


def test_a_failed_comparison_shows_between_which_trials_the_limits_break() -> None:
    found = searched(p99_ms=8.0)
    _, bound = Bounded.explain_comparison(">=", found.rate, 450)
    assert bound.startswith(f"At {found.rate:.4g}/s: p99 <= ")
    assert f"At {found.rate + RESOLUTION:.4g}/s: p99" in bound
    assert "with 95 % confidence" in bound


def test_without_a_limit_that_matters_the_capacity_is_all_but_reached() -> None:
    found = searched(p50_ms=1e6)
    assert 0.9 * CAPACITY < found.rate < CAPACITY == found.capacity


def test_a_limit_that_not_even_a_call_alone_keeps_leaves_no_rate() -> None:
    found = searched(p50_ms=SERVICE_MS / 2)
    assert float(found.rate) == 0
    assert [trial.rate for trial in found.trials] == [CAPACITY / 2**nth for nth in range(1, HALVINGS + 1)]
    assert found.rate.bound.startswith(f"At {RESOLUTION:.4g}/s: p50 >= 2 ms")


def test_a_rate_that_could_be_kept_but_is_not_shown_to_be_does_not_hold() -> None:
    found = search(
        lambda rate: serve(rate, calls=4000 if rate < 120 else 100),
        capacity=CAPACITY,
        budgets=Budgets(p99_ms=8.0),
        confidence=0.95,
    )
    assert 120 - RESOLUTION <= found.rate < 120
    assert "p99 has no upper bound yet" in found.rate.bound


def test_a_rate_whose_measurement_cannot_be_true_does_not_hold() -> None:
    def unstarted(rate: float) -> Measurement:
        honest = serve(rate)
        return msgspec.structs.replace(honest, wall_s=honest.wall_s / 1000)

    found = search(unstarted, capacity=CAPACITY, budgets=Budgets(p50_ms=100.0), confidence=0.95)
    assert float(found.rate) == 0
    assert "cannot be true" in found.rate.bound


def test_every_trial_spends_its_part_of_the_error() -> None:
    # 459 calls show a p99 at 99 % confidence, 299 at 95 %.
    def short(rate: float) -> Measurement:
        calls = [2_000_000] * 400
        return facts.measurement(load_shape="server", rate=rate, latencies_ns=calls, waits_ns=[0] * 400, wall_s=80)

    assert float(search(short, capacity=100, budgets=Budgets(p99_ms=8.0), confidence=0.95).rate) == 0
    assert search(short, capacity=100, budgets=Budgets(p99_ms=8.0), confidence=0.8).rate > 0
