"""What the machine itself held a measurement back with: the CPU quota, heat, a changing clock.

Read from what Linux counts, before and after. A machine that tells nothing, such as most virtual ones, is believed.
What other processes used of the machine is in `conditions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_accel.machine.hardware import ROOT
from pytest_accel.worker.hardware.cpu_quota import cpu_groups
from pytest_accel.worker.kernel_files import read

#: MATERIAL_PERIODS is the share of the quota's periods in which the process was stopped, below which the times are
#: still the model's own.
MATERIAL_PERIODS = 0.05
#: MATERIAL_CLOCK is the change, as a share, of the fastest core's clock that is more than its usual wandering.
MATERIAL_CLOCK = 0.10


@dataclass(frozen=True)
class _Counts:
    """What the kernel has counted so far: periods and stops of each control group, heat stops of all cores."""

    periods: dict[str, tuple[int, int]]
    too_hot: int
    clock_ghz: float


class Throttling:
    """Watches from its making on; files are read below ``root``."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._before = _counted(root)

    def causes(self) -> str:
        """Return what held this process back since the start, clauses joined by semicolons; empty when nothing did."""
        return "; ".join(_between(self._before, _counted(self._root)))


def _between(before: _Counts, after: _Counts) -> Iterator[str]:
    for group, (periods, stops) in after.periods.items():
        periods_before, stops_before = before.periods.get(group, (0, 0))
        passed, stopped = periods - periods_before, stops - stops_before
        if passed > 0 and stopped / passed >= MATERIAL_PERIODS:
            yield f"the CPU quota was used up in {stopped} of {passed} periods"
    if after.too_hot > before.too_hot:
        yield f"the processor was too hot {after.too_hot - before.too_hot} times"
    if before.clock_ghz and abs(after.clock_ghz / before.clock_ghz - 1.0) >= MATERIAL_CLOCK:
        yield f"the processor's clock went from {before.clock_ghz:.2f} to {after.clock_ghz:.2f} GHz"


def _counted(root: Path) -> _Counts:
    cores = root / "sys/devices/system/cpu"
    return _Counts(
        periods={group: _periods(group) for group in cpu_groups(root)},
        too_hot=sum(_numbers(cores.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))),
        # An idle core's clock says nothing about the busy one's, which is the fastest.
        clock_ghz=max(_numbers(cores.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")), default=0) / 1e6,
    )


def _periods(group: str) -> tuple[int, int]:
    """Periods of a control group's quota, and how many of them it used up."""
    counted = dict(re.findall(r"^(nr_periods|nr_throttled) (\d+)$", read(group, "cpu.stat"), re.MULTILINE))
    return int(counted.get("nr_periods", 0)), int(counted.get("nr_throttled", 0))


def _numbers(files: Iterator[Path]) -> Iterator[int]:
    return (int(text) for text in map(read, files) if text.isdigit())
