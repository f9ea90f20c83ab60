from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, fake_model
from pytest_accel.worker.timing import single_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MS = 1_000_000
OPTIONS = {"precision": "fp32", "batch_size": 1}


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., FakeAccelerator]:
    def load(**script: Any) -> FakeAccelerator:
        accelerator = FakeAccelerator()
        fake_model(tmp_path / "model.fake.json", **script)  # a fake artefact is its model
        accelerator.load(str(tmp_path), OPTIONS)
        return accelerator

    return load


def batches(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.full((1, 4), float(nth), np.float32)} for nth in range(1, count + 1)]


def test_every_call_is_timed_in_order_and_nothing_else(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=[1, 2, 3])
    timed = single_calls.single_stream(accelerator, batches(2), calls=5, checks=0)
    assert timed.latencies_ns == [1 * MS, 2 * MS, 3 * MS, 1 * MS, 2 * MS]
    assert timed.wall_ns == 9 * MS
    assert timed.checked == []


def test_the_work_of_an_asynchronous_device_is_in_the_time(loaded: Callable[..., FakeAccelerator]) -> None:
    timed = single_calls.single_stream(loaded(latency_ms=5, asynchronous=True), batches(1), calls=2, checks=0)
    assert timed.latencies_ns == [5 * MS + 1000] * 2


def test_work_from_before_is_not_in_the_time(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=5, asynchronous=True)
    for measured in (single_calls.single_stream, single_calls.offline):
        accelerator.infer(batches(1)[0])
        assert measured(accelerator, batches(1), calls=1, checks=0).latencies_ns == [5 * MS + 1000]


def test_outputs_are_kept_from_calls_spread_over_all_and_the_last(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator, staged = loaded(), batches(3)
    expected = [accelerator.infer(inputs)["y"] for inputs in staged]
    for measured in (single_calls.single_stream, single_calls.offline):
        checked = measured(accelerator, staged, calls=10, checks=3).checked
        assert [each.batch for each in checked] == [2 % 3, 5 % 3, 9 % 3]
        for each in checked:
            np.testing.assert_array_equal(each.outputs["y"], expected[each.batch])


def test_no_more_outputs_are_kept_than_there_are_calls(loaded: Callable[..., FakeAccelerator]) -> None:
    assert len(single_calls.single_stream(loaded(), batches(1), calls=2, checks=9).checked) == 2


class ReusesItsMemory(FakeAccelerator):
    """Writes the outputs of every call into one array, as bound buffers do."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = np.zeros((1, 3), np.float32)

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self._buffer += 1
        return {"y": self._buffer}


def test_kept_outputs_are_not_overwritten_by_later_calls() -> None:
    for measured in (single_calls.single_stream, single_calls.offline):
        kept = [each.outputs["y"][0, 0] for each in measured(ReusesItsMemory(), batches(1), calls=4, checks=2).checked]
        assert kept == [2.0, 4.0]


class ForgetsNothing(FakeAccelerator):
    """Notes whether the outputs of the call before still take memory."""

    def __init__(self) -> None:
        super().__init__()
        self._before: Callable[[], object] = lambda: None
        self.held = False

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self.held |= self._before() is not None
        outputs = np.zeros(1)
        self._before = weakref.ref(outputs)
        return {"y": outputs}


def test_outputs_are_freed_before_the_next_call() -> None:
    for run in (single_calls.single_stream, single_calls.offline):
        accelerator = ForgetsNothing()
        run(accelerator, batches(1), calls=4, checks=2)
        assert not accelerator.held


def test_offline_synchronises_once_and_its_times_add_up(loaded: Callable[..., FakeAccelerator]) -> None:
    timed = single_calls.offline(loaded(latency_ms=5, asynchronous=True), batches(1), calls=3, checks=0)
    assert timed.latencies_ns == [1000, 1000, 1000 + 15 * MS]
    assert timed.wall_ns == sum(timed.latencies_ns)


class Ahead(FakeAccelerator):
    """Takes a call when it begins, and 5 ms for all that have begun when the first of them is finished."""

    in_flight = 2

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.most = 0

    def begin(self, staged: Any) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return staged

    def finish(self, begun: Any) -> dict[str, np.ndarray]:
        self._time.advance(5 * MS)
        self.under_way -= 1
        return {"y": begun["x"]}


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_offline_keeps_calls_in_flight_and_finishes_them_in_order(calls: int) -> None:
    accelerator = Ahead()
    timed = single_calls.offline(accelerator, batches(3), calls=calls, checks=calls)
    assert (accelerator.most, accelerator.under_way) == (2, 0)
    assert timed.latencies_ns == [5 * MS] * calls
    assert timed.wall_ns == calls * 5 * MS
    assert [(call.batch, call.outputs["y"][0, 0]) for call in timed.checked] == [
        (position % 3, position % 3 + 1.0) for position in range(calls)
    ]


def test_what_calls_in_flight_need_is_made_before_the_time(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = Ahead()
    single_calls.offline(accelerator, batches(1), calls=1, checks=0)
    assert accelerator.clock() == 15 * MS, "two calls that nobody timed, and one"


def test_a_block_settles_untimed(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=[90, 1, 2])
    assert single_calls.time_block(accelerator, batches(1), calls=2, settle=1) == [1 * MS, 2 * MS]


class Watchful(FakeAccelerator):
    """Notes the inputs it was given and whether the collector could run."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []
        self.collector_on: set[bool] = set()

    def infer(self, staged: Any) -> dict[str, np.ndarray]:
        self.given.append(staged)
        self.collector_on.add(gc.isenabled())
        return {}

    def stage(self, inputs: Any) -> Any:
        raise AssertionError("staging must not be timed")


@pytest.mark.parametrize(
    "run",
    [
        lambda accelerator: single_calls.single_stream(accelerator, ["a", "b", "c"], calls=5, checks=0),
        lambda accelerator: single_calls.offline(accelerator, ["a", "b", "c"], calls=5, checks=0),
    ],
    ids=["single_stream", "offline"],
)
def test_inputs_rotate_and_the_collector_waits(run: Callable[[Watchful], Any]) -> None:
    accelerator = Watchful()
    run(accelerator)
    assert accelerator.given == ["a", "b", "c", "a", "b"]
    assert accelerator.collector_on == {False}
    assert gc.isenabled()


def test_a_block_goes_on_rotating_after_it_settled() -> None:
    accelerator = Watchful()
    single_calls.time_block(accelerator, ["a", "b", "c"], calls=3, settle=1)
    assert accelerator.given == ["a", "b", "c", "a"]


def test_the_collector_runs_again_after_a_failure(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(failures={"infer": {"how": "error"}})
    with pytest.raises(RuntimeError, match="scripted"):
        single_calls.single_stream(accelerator, batches(1), calls=1, checks=0)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(loaded: Callable[..., FakeAccelerator]) -> None:
    gc.disable()
    try:
        single_calls.single_stream(loaded(), batches(1), calls=1, checks=0)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_warming_up_ends_when_the_cold_calls_are_left_behind(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=1, cold_calls=20, cold_factor=3)
    warm = single_calls.warm_up(accelerator, batches(1), min_calls=1, min_s=0, max_s=60, window=10)
    assert warm == single_calls.WarmUpCalls(first_inference_ns=3 * MS, calls=50, seconds=0.09, steady=True)


def test_warming_up_makes_the_fewest_calls_and_takes_the_least_time(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=1)
    assert single_calls.warm_up(accelerator, batches(1), min_calls=7, min_s=0, max_s=60, window=2).calls == 7
    assert single_calls.warm_up(accelerator, batches(1), min_calls=1, min_s=0.5, max_s=60, window=2).calls == 500


def test_warming_up_gives_up_at_its_limit_and_says_so(loaded: Callable[..., FakeAccelerator]) -> None:
    accelerator = loaded(latency_ms=10, drift=0.05)
    warm = single_calls.warm_up(accelerator, batches(1), min_calls=1, min_s=0, max_s=5, window=5)
    assert not warm.steady
    assert 5 <= warm.seconds < 5.3


def test_even_a_call_beyond_the_limit_is_made_once(loaded: Callable[..., FakeAccelerator]) -> None:
    warm = single_calls.warm_up(loaded(latency_ms=9000), batches(1), min_calls=10, min_s=0, max_s=5, window=5)
    assert warm == single_calls.WarmUpCalls(first_inference_ns=9000 * MS, calls=1, seconds=9.0, steady=False)


@pytest.mark.parametrize(
    ("latencies", "steady"),
    [
        ([100] * 29, False),  # a call short of three windows
        ([100] * 30, True),
        ([900] * 10 + [100] * 30, True),  # only the last three count
        ([100] * 10 + [102] * 20, True),
        ([100] * 10 + [103] * 20, False),
        ([104] * 10 + [102] * 10 + [100] * 10, False),  # two small steps down are a drift
        ([80, 120] * 5 + [95, 135] * 5 + [80, 120] * 5, True),  # explained by the noise within a window
        ([80, 120] * 5 + [130, 170] * 5 + [80, 120] * 5, False),
    ],
)
def test_the_rule_of_a_steady_state(latencies: list[int], steady: bool) -> None:
    assert single_calls.is_steady(latencies, window=10) is steady


def test_a_clock_that_stands_still_is_seen_after_a_second(
    loaded: Callable[..., FakeAccelerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_calls, "_STILL_S", 0.01)
    with pytest.raises(RuntimeError, match=r"clock stood still for \d+ calls, .* s: its `clock` has to return"):
        single_calls.warm_up(loaded(latency_ms=0), batches(1), min_calls=1, min_s=0.1, max_s=1.0, window=10)


def test_a_clock_that_hardly_goes_on_ends_the_warm_up_all_the_same(
    loaded: Callable[..., FakeAccelerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_calls, "_SLOWEST_CLOCK", 0.01)
    warm = single_calls.warm_up(loaded(latency_ms=1e-6), batches(1), min_calls=1, min_s=5.0, max_s=9.0, window=10)
    assert warm.seconds < 1
