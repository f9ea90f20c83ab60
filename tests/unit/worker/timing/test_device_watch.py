from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.timing.device_watch import DeviceWatch


def device(moments: list[str], counts: list[dict[str, int]]) -> Any:
    """One that answers each question with the next of these answers."""
    return SimpleNamespace(throttled=iter(moments).__next__, held_back_ns=iter(counts).__next__)


@pytest.mark.parametrize(
    ("moments", "counts", "causes"),
    [
        (["", ""], [{}, {}], ""),
        (["", ""], [{"heat": 7}, {"heat": 7}], ""),
        (["", ""], [{"heat": 0}, {"heat": 49_000_000}], ""),
        (["", ""], [{"heat": 0}, {"heat": 50_000_000}], "the device was held back by heat for 0.05 s"),
        (["", ""], [{}, {"heat": 10**9}], ""),  # it counts since the start of the machine
        (["hot", ""], [{}, {}], "hot"),
        (["hot", ""], [{"heat": 7}, {"heat": 7}], ""),  # before, and not since
        (["hot (94)", "hot (95)"], [{}, {}], "hot (95)"),
        (["", "hot"], [{"brake": 0}, {"brake": 10**9}], "hot; the device was held back by brake for 1 s"),
    ],
)
def test_what_is_counted_or_told_at_either_end_is_a_cause(
    moments: list[str], counts: list[dict[str, int]], causes: str
) -> None:
    assert DeviceWatch(device(moments, counts)).causes(1e9) == causes
