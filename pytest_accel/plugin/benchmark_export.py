"""Measurements in pytest-benchmark's table and JSON, through its public interface alone.

A virtual clock is given to pytest-benchmark as the marker's ``timer``; a step that advances it by what was measured is
then run as a pedantic benchmark, so the rounds that pytest-benchmark records are our latencies. Its gate is not used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest


class DeviceClock:
    """A clock in seconds that stands still until it is advanced."""

    __name__ = "accel_device_clock"  # pytest-benchmark writes the timer's name into its JSON

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time, as pytest-benchmark asks for it."""
        return self.now_s


_CLOCK = pytest.StashKey[DeviceClock]()


def can_export(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is here, wanted, and nobody else has taken its fixture over."""
    codspeed = bool(config.getoption("--codspeed", False)) or "CODSPEED_ENV" in os.environ
    # With --benchmark-skip, asking for the fixture would skip a test that has just been measured.
    skipped = bool(config.getoption("benchmark_skip", False))
    return config.pluginmanager.hasplugin("benchmark") and not codspeed and not skipped


def mark_for_export(config: pytest.Config, item: pytest.Item) -> None:
    """Give the item's benchmark our clock. A test that asks for ``benchmark`` itself keeps it to itself."""
    if "benchmark" in getattr(item, "fixturenames", ()):
        return
    clock = config.stash.setdefault(_CLOCK, DeviceClock())
    users = item.get_closest_marker("benchmark")
    # Only the closest marker counts and keywords are not merged, so the user's are repeated here.
    merged = {**(users.kwargs if users else {}), "timer": clock}
    item.add_marker(pytest.mark.benchmark(**merged), append=False)


def export(request: pytest.FixtureRequest, latencies_ns: Sequence[int], extra_info: dict[str, Any]) -> None:
    """Hand one measurement to pytest-benchmark. A test has one benchmark, so only its first measurement goes there."""
    benchmark = request.getfixturevalue("benchmark")
    if benchmark.stats is not None:
        return
    clock = request.config.stash[_CLOCK]
    remaining = iter(latencies_ns)

    def step() -> None:
        # pytest-benchmark runs the step once when it is disabled, and never more often than there are rounds.
        clock.now_s += next(remaining, 0) / 1e9

    benchmark.pedantic(step, rounds=len(latencies_ns), iterations=1)
    benchmark.extra_info.update(extra_info)
