"""What the timing loop adds to the latency of a call, beside the shortest loop that anybody would write."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.acceptance.rounds import Limit, Rounds
from pytest_accel.measuring.latency import CHECKS
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.timing.single_calls import single_stream
from tests.benchmarks.rounds import in_turn, until_decided

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Arrays

pytestmark = pytest.mark.benchmark_suite

CALL_NS = 500_000
LIMIT = Limit.ratio(1.01)
#: Short turns, because a busy machine changes its mind often.
CALLS = 20
LOOKS = (100, 300)


class Busy(FakeAccelerator):
    """Computes for about half a millisecond of real time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time.perf_counter_ns
        size = 1000
        while _fastest_ns(np.ones(size)) < CALL_NS:
            size = size * 5 // 4
        self.inputs = np.ones(size)

    def infer(self, staged: Any) -> Arrays:
        return {"sum": np.sin(staged).sum(keepdims=True)}


def _fastest_ns(inputs: np.ndarray[Any, Any]) -> int:
    times = []
    for _ in range(9):
        start = time.perf_counter_ns()
        np.sin(inputs).sum(keepdims=True)
        times.append(time.perf_counter_ns() - start)
    return min(times)


@pytest.fixture
def small_heap() -> Iterator[None]:
    """Spare the garbage collection before each turn the heap of the tests."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("small_heap")
def test_the_timing_loop_adds_at_most_a_hundredth_to_half_a_millisecond(
    tell: Callable[[str], None], in_ci: bool
) -> None:
    busy = Busy()
    infer, inputs, clock = busy.infer, busy.inputs, time.perf_counter_ns

    def ours() -> float:
        return median(single_stream(busy, [inputs], CALLS, CHECKS).latencies_ns) / 1e3

    def bare() -> float:
        latencies_ns = []
        for _ in range(CALLS):
            start = clock()
            infer(inputs)
            latencies_ns.append(clock() - start)
        return median(latencies_ns) / 1e3

    found = until_decided(
        Rounds(in_turn({"ours": ours, "bare": bare})),
        lambda costs: costs["ours"] / costs["bare"],
        limit=LIMIT,
        looks=LOOKS,
        in_ci=in_ci,
    )
    tell(
        f"timing loop: {found.estimate:.4f} [{found.lower:.4f}, {found.upper:.4f}] times a bare loop's "
        f"{found.typical('bare'):.0f} us a call; {found.judged} of {CALLS} calls"
    )
    assert not found.beyond
