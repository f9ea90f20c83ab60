"""This module puts measurements into pytest-benchmark's table and JSON. It uses the public interface alone.

pytest-benchmark gets a virtual clock as the marker's ``timer``. A pedantic benchmark runs a step that advances this
clock by one measured latency. So each round that pytest-benchmark records is one of these latencies. Nothing is judged
by pytest-benchmark.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest


class DeviceClock:
    """This clock counts seconds, and stands still until it is advanced."""

    __name__ = "accel_device_clock"  # pytest-benchmark writes the timer's name into its JSON

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        """Return the time, as pytest-benchmark asks for it."""
        return self.time_s


#: _CLOCK holds the clock of this process, on the config.
_CLOCK = pytest.StashKey[DeviceClock]()


def can_export(config: pytest.Config) -> bool:
    """Say whether pytest-benchmark is installed and wanted, and no other plugin has replaced its fixture."""
    codspeed = bool(config.getoption("--codspeed", False)) or "CODSPEED_ENV" in os.environ
    # With --benchmark-skip, asking for the fixture would skip a test that has just been measured.
    skipped = bool(config.getoption("benchmark_skip", False))
    return config.pluginmanager.hasplugin("benchmark") and not codspeed and not skipped


def mark_for_export(config: pytest.Config, item: pytest.Item) -> None:
    """Give our clock to the item's benchmark, unless the test asks for the fixture ``benchmark`` itself."""
    if "benchmark" in getattr(item, "fixturenames", ()):
        return
    clock = config.stash.setdefault(_CLOCK, DeviceClock())
    marker = item.get_closest_marker("benchmark")
    # pytest-benchmark reads the closest marker alone, so that ours repeats the keywords of the user's.
    merged = {**(marker.kwargs if marker else {}), "timer": clock}
    item.add_marker(pytest.mark.benchmark(**merged), append=False)


def export(request: pytest.FixtureRequest, latencies_ns: Sequence[int], extra_info: dict[str, Any]) -> None:
    """Hand the first measurement of a test to pytest-benchmark, which has one benchmark for each test."""
    benchmark = request.getfixturevalue("benchmark")
    if benchmark.stats is not None:
        return
    clock = request.config.stash[_CLOCK]
    remaining = iter(latencies_ns)

    def step() -> None:
        # pytest-benchmark runs the step once when it is disabled, and never more often than there are rounds.
        clock.time_s += next(remaining, 0) / 1e9

    benchmark.pedantic(step, rounds=len(latencies_ns), iterations=1)
    benchmark.extra_info.update(extra_info)
