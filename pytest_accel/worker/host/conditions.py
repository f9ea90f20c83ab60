"""What can disturb a measurement on a machine, as plain facts that Linux counts. Nobody is judged here.

Standard library only. Every file is read below a ``root``, ``/`` by default.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Iterator, List, Optional

from pytest_accel.worker.hardware.cpu_quota import cpu_groups, cpu_quota_cores
from pytest_accel.worker.host.process_tree import TICKS_PER_S, own_tree
from pytest_accel.worker.kernel_files import Path, listed, read

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

#: _COVERAGE finds the variables by which coverage starts itself in every Python.
_COVERAGE = re.compile(r"COVERAGE_PROCESS_START|COV_CORE_.*")


class Conditions:
    """The conditions on a machine. A public method is an operation."""

    def __init__(self, root: Path = "/") -> None:
        self._root = root

    def conditions(self) -> Plain:
        """Return what slows a machine for a while: the quota, the governors, and what watches a worker's every step."""
        return {
            "cpu_quota_cores": cpu_quota_cores(self._root),
            "governor": governor(self._root),
            "tracing": ", ".join(name for name in sorted(os.environ) if _COVERAGE.fullmatch(name)),
        }

    def cpu_spent(self) -> Plain:
        """Return the CPU seconds that others have spent so far, None where the machine does not tell, and a clock.

        Others are all processes but this one and its descendants.
        """
        machine_s = machine_busy_s(self._root)
        foreign_s = None if machine_s is None else machine_s - own_tree_busy_s(self._root)
        return {"clock_s": time.monotonic(), "foreign_s": foreign_s}

    def held_back(self) -> Plain:
        """Return what the kernel has counted so far: each control group's periods and stops, heat, and the clock."""
        return {
            "periods": {group: _periods(group) for group in cpu_groups(self._root)},
            "too_hot": sum(self._of_cores("thermal_throttle/core_throttle_count")),
            # An idle core's clock says nothing about the busy one's, which is the fastest.
            "clock_ghz": max(self._of_cores("cpufreq/scaling_cur_freq"), default=0) / 1e6,
        }

    def _of_cores(self, name: str) -> List[int]:
        return [int(text) for text in texts_of_cores(self._root, name) if text.isdigit()]


def governor(root: Path = "/") -> str:
    """Return the frequency governors of the cores, joined by commas; empty where the machine does not tell."""
    return ",".join(sorted({*texts_of_cores(root, "cpufreq/scaling_governor")} - {""}))


def texts_of_cores(root: Path, name: str) -> Iterator[str]:
    """Yield the text of a file that each core has."""
    cores = os.path.join(root, "sys/devices/system/cpu")
    return (read(cores, core, name) for core in listed(cores) if re.fullmatch(r"cpu\d+", core))


def _periods(group: str) -> List[int]:
    """Periods of a control group's quota, and how many of them it used up."""
    counted = dict(re.findall(r"^(nr_periods|nr_throttled) (\d+)$", read(group, "cpu.stat"), re.MULTILINE))
    return [int(counted.get("nr_periods", 0)), int(counted.get("nr_throttled", 0))]


def machine_busy_s(root: Path = "/") -> Optional[float]:
    """CPU seconds the machine has spent since its start, those that its hypervisor gave to others included."""
    first_line = read(root, "proc/stat").partition("\n")[0].split()
    if first_line[:1] != ["cpu"]:
        return None
    # The kernel counts a guest's time, which follows, as its host's user time already.
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, first_line[1:9])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_PER_S


def own_tree_busy_s(root: Path = "/") -> float:
    """CPU seconds of this process, its descendants, and those of them that have ended and been waited for."""
    return sum(process.ticks for process in own_tree(root)) / TICKS_PER_S
