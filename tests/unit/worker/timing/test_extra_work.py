from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, fake_model
from pytest_accel.worker.timing import extra_work, single_calls

if TYPE_CHECKING:
    from pathlib import Path

STAGED = [{"x": np.full((1, 4), float(nth), np.float32)} for nth in (1, 2)]


def loaded(folder: Path, **script: Any) -> FakeAccelerator:
    fake_model(folder / "model.fake.json", **script)
    accelerator = FakeAccelerator()
    accelerator.load(str(folder), {"precision": "fp32"})
    return accelerator


@pytest.mark.parametrize(("latency_ms", "share"), [(20.0, 0.05), (0.5, 0.1), (3.0, 1.0)])
def test_calls_take_longer_by_the_share_that_was_asked_for(tmp_path: Path, latency_ms: float, share: float) -> None:
    accelerator = loaded(tmp_path, latency_ms=latency_ms)
    rounds = extra_work.add(accelerator, STAGED, share)
    latencies_ns = single_calls.time_block(accelerator, STAGED, calls=4, settle=1)
    assert rounds == latency_ms * 1000 * share  # a round of the fake's takes a microsecond
    assert latencies_ns == [latency_ms * 1e6 * (1 + share)] * 4


def test_what_a_call_answers_stays_the_same(tmp_path: Path) -> None:
    accelerator = loaded(tmp_path)
    before = accelerator.infer(STAGED[0])["y"]
    extra_work.add(accelerator, STAGED, 0.1)
    np.testing.assert_array_equal(accelerator.infer(STAGED[0])["y"], before)


def test_there_is_always_some_work(tmp_path: Path) -> None:
    assert extra_work.add(loaded(tmp_path, latency_ms=0.001), STAGED, 0.01) == 1


def test_one_slow_call_does_not_change_its_size(tmp_path: Path) -> None:

    accelerator = loaded(tmp_path, latency_ms=[1.0] * 14 + [900.0])
    assert extra_work.add(accelerator, STAGED, 0.1) == 100


@pytest.mark.parametrize("script", [{}, {"asynchronous": True}], ids=["synchronous", "awaited"])
def test_work_ahead_of_a_call_that_is_waited_for_is_in_its_time(tmp_path: Path, script: dict[str, bool]) -> None:
    found = extra_work.put_ahead(loaded(tmp_path, latency_ms=2.0, **script), STAGED, 0.5)
    assert found.work_ns == pytest.approx(found.call_ns / 2, rel=0.01)
    assert found.both_ns == found.call_ns + found.work_ns


def test_work_ahead_of_a_call_that_is_not_waited_for_is_missing(tmp_path: Path) -> None:
    found = extra_work.put_ahead(loaded(tmp_path, asynchronous=True, synchronize_lies=True), STAGED, 1.0)
    assert found.both_ns == found.call_ns
    assert found.work_ns > 0
