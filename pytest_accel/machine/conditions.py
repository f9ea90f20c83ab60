"""What can disturb a measurement on this machine: quotas, governors, tracing and what other processes use.

Every file is read below a ``root``, ``/`` by default. Nobody is judged here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from pytest_accel.facts.records import Conditions
from pytest_accel.machine.hardware import ROOT
from pytest_accel.worker.hardware.cpu_quota import cpu_quota_cores
from pytest_accel.worker.kernel_files import read
from pytest_accel.worker.timing import process_state


def conditions(*, in_process: bool = False, foreign_load_cores: float | None = None, root: Path = ROOT) -> Conditions:
    """Return what can disturb a measurement that this process makes or has made for it."""
    return Conditions(
        tracing=tracing(in_process=in_process, root=root),
        in_process=in_process,
        cpu_quota_cores=cpu_quota_cores(root),
        governor=governor(root),
        foreign_load_cores=foreign_load_cores,
    )


def governor(root: Path = ROOT) -> str:
    """Return the frequency governors of the cores, joined by commas; empty where the machine does not tell."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ",".join(sorted({read(file) for file in files} - {""}))


def tracing(*, in_process: bool, environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> str:
    """Return what watches a measurement's every step and so slows it, joined by commas; empty when nothing does.

    A worker inherits the environment, in which coverage asks to be started, but not this process's trace functions:
    these count only for a measurement that is made ``in_process``.
    """
    found = [name for name in sorted(environ) if name == "COVERAGE_PROCESS_START" or name.startswith("COV_CORE_")]
    if in_process:
        found += process_state.watchers(root)
    return ", ".join(found)


def _machine_busy_s() -> float:
    """CPU seconds the machine has spent since its start, those that its hypervisor gave to others included."""
    spent = psutil.cpu_times()
    # The kernel counts a guest's time as its host's user time already.
    idle = spent.idle + spent.iowait + spent.guest + spent.guest_nice
    return float(sum(spent) - idle)


def _own_tree_busy_s() -> float:
    """CPU seconds of this process, its descendants, and those of them that have ended and been waited for."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            spent = process.cpu_times()
        except psutil.Error:  # ended since the listing; what it spent is now its parent's
            continue
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


class ForeignLoad:
    """Watches, from its making on, how much of the machine others use.

    ``machine_s`` and ``own_s`` tell the CPU seconds spent so far by everybody and by this process and its descendants.
    """

    def __init__(
        self,
        *,
        machine_s: Callable[[], float] = _machine_busy_s,
        own_s: Callable[[], float] = _own_tree_busy_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine_s, self._own_s, self._clock = machine_s, own_s, clock
        self._start = self._sample()

    def _sample(self) -> tuple[float, float]:
        return self._clock(), self._machine_s() - self._own_s()

    def cores(self) -> float:
        """Return the cores that other processes kept busy since the start, on average."""
        (began, foreign_before), (ended, foreign_after) = self._start, self._sample()
        # The two counters tick apart by up to a hundredth of a second, so a quiet machine may come out below nothing.
        return max(0.0, (foreign_after - foreign_before) / (ended - began)) if ended > began else 0.0
