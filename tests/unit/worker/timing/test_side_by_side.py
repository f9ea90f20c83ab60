from __future__ import annotations

import itertools
from functools import partial
from math import ceil, exp, factorial, sqrt
from statistics import mean, stdev
from threading import Barrier, get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, FakeClock, fake_model
from pytest_accel.worker.accelerators.tensorflow.cpu import Cpu
from pytest_accel.worker.timing import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_accel.worker.timing.single_calls import CallTimes

MS = 1_000_000
SERVICE_MS = 2.0
SERVICE_NS = round(SERVICE_MS * MS)


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., FakeAccelerator]:
    def load(**script: Any) -> FakeAccelerator:
        accelerator = FakeAccelerator()
        fake_model(tmp_path / "model.fake.json", **script)
        accelerator.load(str(tmp_path), {"precision": "fp32"})
        return accelerator

    return load


def batches(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.full((1, 4), float(nth), np.float32)} for nth in range(1, count + 1)]


class Constant(FakeAccelerator):
    """Takes `SERVICE_MS` for every call, and makes no outputs."""

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self._time.advance(SERVICE_NS)
        return {}


def served(utilisation: float, calls: int, concurrency: int = 1) -> CallTimes:
    """A server that is asked for this share of what its lanes can do."""
    rate = utilisation * concurrency * 1e3 / SERVICE_MS
    return side_by_side.server(Constant(), [None], calls, 0, concurrency=concurrency, rate=rate, seed=1)


# -- several streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_throughput_grows_with_the_streams_and_latency_does_not(concurrency: int) -> None:
    timed = side_by_side.multi_stream(Constant(), [None], calls=64, checks=0, concurrency=concurrency)
    assert timed.latencies_ns == [SERVICE_NS] * 64
    assert timed.wall_ns == 64 / concurrency * SERVICE_NS
    assert timed.waits_ns == []


def test_the_stream_that_is_free_first_makes_the_next_call(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=[10, 1, 2, 3, 4, 5])
    timed = side_by_side.multi_stream(accelerator, batches(1), calls=6, checks=0, concurrency=2)
    assert timed.latencies_ns == [10 * MS, 1 * MS, 2 * MS, 3 * MS, 4 * MS, 5 * MS]
    assert timed.wall_ns == 15 * MS  # one has 10 and 5, the other 1, 2, 3 and 4
    assert accelerator.clock() == 500 * MS + 15 * MS


SHAPES = {
    "multi_stream": partial(side_by_side.multi_stream, concurrency=2),
    "server": partial(side_by_side.server, concurrency=2, rate=1.0, seed=1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_inputs_rotate_and_outputs_are_kept_with_their_batch(
    shape: Callable[..., CallTimes], loaded: Callable[..., FakeAccelerator]
) -> None:
    accelerator, staged = loaded(), batches(3)
    expected = [accelerator.infer(inputs)["y"] for inputs in staged]
    checked = shape(accelerator, staged, calls=10, checks=3).checked
    assert [each.batch for each in checked] == [2 % 3, 5 % 3, 9 % 3]
    for each in checked:
        np.testing.assert_array_equal(each.outputs["y"], expected[each.batch])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_work_of_an_asynchronous_device_is_in_the_time_and_work_from_before_is_not(
    shape: Callable[..., CallTimes], loaded: Callable[..., FakeAccelerator]
) -> None:
    accelerator = loaded(latency_ms=5, asynchronous=True)
    accelerator.infer(batches(1)[0])
    assert shape(accelerator, batches(1), calls=2, checks=0).latencies_ns == [5 * MS + 1000] * 2


# -- a server, beside the theory of queues ----------------------------------------------------------------------------


def lindley(arrivals_ns: Sequence[int]) -> list[int]:
    """How long each call waits for a single lane: what the one before it left over, less the gap between them."""
    waits_ns = [0]
    for before, now in itertools.pairwise(arrivals_ns):
        waits_ns.append(max(0, waits_ns[-1] + SERVICE_NS - (now - before)))
    return waits_ns


@pytest.mark.parametrize("utilisation", [0.3, 0.9, 1.2])
def test_waits_are_those_of_a_queue_call_by_call(utilisation: float) -> None:
    timed = served(utilisation, calls=2000)
    arrivals_ns = side_by_side.poisson_arrivals_ns(2000, utilisation * 1e3 / SERVICE_MS, seed=1)
    assert timed.waits_ns == lindley(arrivals_ns)
    assert timed.latencies_ns == [wait + SERVICE_NS for wait in timed.waits_ns]
    assert timed.wall_ns == arrivals_ns[-1] + timed.latencies_ns[-1]


def share_waiting_at_most(services: float, utilisation: float) -> float:
    """M/D/1: the share of calls that wait no longer than this many service times (Erlang, 1909)."""
    total = 0.0
    for k in range(int(services) + 1):
        late = utilisation * (services - k)
        total += (-late) ** k / factorial(k) * exp(late)
    return (1 - utilisation) * total


def quantile_of_waiting(share: float, utilisation: float) -> float:
    """M/D/1: in service times, to a thousandth."""
    return next(n for n in range(100_000) if share_waiting_at_most(n / 1000, utilisation) >= share) / 1000


def assert_agrees(values: Sequence[float], theory: float, *, precision: float) -> None:
    """Within 4 standard errors, which are smaller than this share; of 20 long blocks, since a queue remembers."""
    size = ceil(len(values) / 20)
    means = [mean(values[at : at + size]) for at in range(0, len(values), size)]
    error = stdev(means) / sqrt(len(means))
    assert abs(mean(means) - theory) <= 4 * error, f"{mean(means):.5g} beside {theory:.5g} +- {error:.2g}"
    assert error < precision * theory, "too few calls to show anything"


@pytest.mark.parametrize(("utilisation", "calls"), [(0.3, 50_000), (0.7, 100_000), (0.9, 200_000)])
def test_a_server_of_known_service_time_agrees_with_the_theory(utilisation: float, calls: int) -> None:
    waits = [wait / SERVICE_NS for wait in served(utilisation, calls).waits_ns]
    assert_agrees(waits, theory=utilisation / (2 * (1 - utilisation)), precision=0.03)
    for share, precision in ((0.5, 0.03), (0.99, 0.3)):  # the longest waits are rare, and come together
        longest = quantile_of_waiting(share, utilisation)
        over = [float(wait > longest) for wait in waits]
        assert_agrees(over, theory=1 - share_waiting_at_most(longest, utilisation), precision=precision)


def test_a_server_that_is_asked_for_too_much_answers_as_much_as_it_can() -> None:
    timed = served(1.2, calls=6000)
    answered = 6000 / (timed.wall_ns / SERVICE_NS)
    assert answered == pytest.approx(1.0, rel=0.001)
    thirds = [mean(timed.waits_ns[at : at + 2000]) / SERVICE_NS for at in (0, 2000, 4000)]
    # The queue grows by one call in six; after n calls it is n / 6 service times long.
    assert thirds == pytest.approx([1000 / 6, 3000 / 6, 5000 / 6], rel=0.15)


def test_two_lanes_share_one_line() -> None:
    alone, together = served(0.9, calls=2000), served(0.9, calls=2000, concurrency=2)
    assert 0 < mean(together.waits_ns) < mean(alone.waits_ns)
    # Never more calls at once than there are lanes.
    starts = [latency - SERVICE_NS for latency in together.latencies_ns]
    assert starts == together.waits_ns


def test_arrivals_are_random_at_the_rate_asked_for_and_the_same_every_time() -> None:
    arrivals_ns = side_by_side.poisson_arrivals_ns(20_000, 50.0, seed=1)
    assert arrivals_ns == side_by_side.poisson_arrivals_ns(20_000, 50.0, seed=1)
    assert arrivals_ns != side_by_side.poisson_arrivals_ns(20_000, 50.0, seed=2)
    gaps_ms = np.diff(arrivals_ns) / MS
    assert (gaps_ms >= 0).all()
    assert gaps_ms.mean() == pytest.approx(20, rel=4 / sqrt(20_000))
    assert gaps_ms.std() == pytest.approx(20, rel=0.05)  # exponential: as wide as its mean


# -- threads ----------------------------------------------------------------------------------------------------------


class Pairs(Cpu):
    """A real clock and real threads; a call ends only while another one is made."""

    def __init__(self) -> None:
        super().__init__()
        self._both = Barrier(2, timeout=60)

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self._both.wait()
        return {"y": staged}


@pytest.mark.parametrize(
    "shape",
    [
        partial(side_by_side.multi_stream, concurrency=2),
        partial(side_by_side.server, concurrency=2, rate=1e6, seed=1),
    ],
    ids=SHAPES,
)
def test_calls_of_a_real_accelerator_are_in_flight_together(shape: Callable[..., CallTimes]) -> None:
    timed = shape(Pairs(), [np.zeros(1), np.ones(1)], calls=6, checks=2)
    assert len(timed.latencies_ns) == 6
    assert 0 < max(timed.latencies_ns) <= timed.wall_ns
    assert [each.outputs["y"].tolist() for each in timed.checked] == [[0.0], [1.0]]


class Counts(Cpu):
    """Notes which thread makes each call, and how many calls there were before the first that was timed."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []
        self.untimed = 0
        self.clock = self._read

    def _read(self) -> int:
        self.untimed = self.untimed or len(self.threads)
        return perf_counter_ns()

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self.threads.append(get_ident())
        return {}


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_lane_makes_a_call_before_the_first_that_is_timed(lanes: int) -> None:
    accelerator = Counts()
    timed = side_by_side.multi_stream(accelerator, [None], calls=20, checks=0, concurrency=lanes)
    assert (accelerator.untimed, len(set(accelerator.threads[:lanes]))) == (lanes, lanes)
    assert len(timed.latencies_ns) == 20
    assert len(accelerator.threads) == 20 + lanes


class Breaks(Pairs):
    """Fails at its third call, while it would go on for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count(1)

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        if next(self.calls) == 3:
            raise RuntimeError("the third call")
        return {}


def test_an_error_in_one_thread_ends_them_all() -> None:
    accelerator = Breaks()
    with pytest.raises(RuntimeError, match="the third call"):
        side_by_side.multi_stream(accelerator, [None], calls=1_000_000, checks=0, concurrency=2)
    assert next(accelerator.calls) < 1_000_000


def test_waiting_for_an_arrival_makes_up_for_a_sleep_that_ends_late(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator, clock = Cpu(), FakeClock()
    accelerator.clock = clock
    late_ns = 60_000

    def sleep(seconds: float) -> None:
        clock.advance(seconds * 1e9 + (late_ns if seconds else 1000))

    monkeypatch.setattr("time.sleep", sleep)
    accelerator.wait_until(10 * MS)
    assert 10 * MS <= clock() < 10 * MS + late_ns / 2
    accelerator.wait_until(5 * MS)
    assert clock() < 10 * MS + late_ns / 2, "a time that has passed is not waited for"
