"""Most machines here are folders of files that a kernel could have written."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pytest_accel.worker.host.conditions import Conditions, governor, machine_busy_s, own_tree_busy_s
from tests.unit.worker.host.machines import machine


def test_governors_are_named_once_each(tmp_path: Path) -> None:
    names = ("powersave", "performance", "powersave", "")
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": f"{name}\n" for n, name in enumerate(names)}
    assert governor(tmp_path) == ""
    assert governor(machine(tmp_path, files)) == "performance,powersave"


@pytest.mark.parametrize("name", ["COVERAGE_PROCESS_START", "COV_CORE_SOURCE"])
def test_coverage_that_starts_itself_in_workers_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in [variable for variable in os.environ if variable.startswith("COV")]:
        monkeypatch.delenv(other)
    assert Conditions().conditions()["tracing"] == ""
    monkeypatch.setenv(name, "x")
    assert Conditions().conditions()["tracing"] == name


def test_quota_and_governor_are_told(tmp_path: Path) -> None:
    machine(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000"})
    machine(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"})
    found = Conditions(tmp_path).conditions()
    assert (found["cpu_quota_cores"], found["governor"]) == (1.0, "powersave")


def test_the_machine_is_busy_with_all_but_idling_and_guests_that_count_twice(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    files = {"proc/stat": f"cpu  {ticks} {ticks} {ticks} 900 800 {ticks} {ticks} {ticks} 700 600\ncpu0 1 2 3\n"}
    assert machine_busy_s(machine(tmp_path, files)) == 6.0


def test_a_machine_that_counts_nothing_says_so(tmp_path: Path) -> None:
    assert Conditions(tmp_path).cpu_spent()["foreign_s"] is None


def _spend_cpu(seconds: float) -> None:
    while sum(os.times()[:2]) < seconds:
        pass


def _spend_cpu_and_wait(seconds: float, barrier: Barrier) -> None:
    _spend_cpu(seconds)
    barrier.wait()
    barrier.wait()


def test_what_our_own_children_spend_is_ours_while_they_live_and_after_they_ended() -> None:
    context = multiprocessing.get_context("spawn")
    before, barrier = own_tree_busy_s(), context.Barrier(2)
    child = context.Process(target=_spend_cpu_and_wait, args=(0.3, barrier))
    child.start()
    barrier.wait(timeout=60)
    living = own_tree_busy_s() - before
    barrier.wait(timeout=60)
    child.join()
    assert living > 0.28  # the kernel counts in hundredths
    assert own_tree_busy_s() - before > 0.28


def test_the_machine_spends_at_least_what_we_do() -> None:
    machine_before, own_before = machine_busy_s(), own_tree_busy_s()
    _spend_cpu(sum(os.times()[:2]) + 0.3)
    own, after = own_tree_busy_s() - own_before, machine_busy_s()
    assert machine_before is not None
    assert after is not None
    assert own > 0.28
    assert after - machine_before >= own - 0.1
