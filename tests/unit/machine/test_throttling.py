"""Every machine here is a folder of files that a kernel could have written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_accel.machine.throttling import Throttling
from pytest_accel.worker.host.conditions import Conditions
from pytest_accel.worker.host.operations import Operations
from tests.unit.worker.host.machines import machine

CLOCKS = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
HEAT = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
GROUPS = "proc/self/cgroup"
V2 = "sys/fs/cgroup/pod/cpu.stat"
V1 = "sys/fs/cgroup/cpu,cpuacct/cpu.stat"


def told(root: Path, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    watch = Throttling(Operations(Conditions(machine(root, before))).ask)
    machine(root, after)
    return watch.causes()


def counted(periods: int, throttled: int) -> str:
    return f"usage_usec 5\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 9\n"


@pytest.mark.parametrize(("groups", "stat"), [("0::/pod\n", V2), ("4:cpu,cpuacct:/docker/7f\n", V1)], ids=["v2", "v1"])
def test_a_quota_that_was_used_up_meanwhile_is_told(tmp_path: Path, groups: str, stat: str) -> None:
    before = {GROUPS: groups, stat: counted(1000, 900)}
    assert told(tmp_path, before, {stat: counted(1100, 940)}) == "the CPU quota was used up in 40 of 100 periods"


@pytest.mark.parametrize(
    "after", [counted(1000, 900), counted(1100, 900), counted(1100, 904), ""], ids=["idle", "never", "rarely", "gone"]
)
def test_a_quota_that_was_hardly_ever_used_up_is_not(tmp_path: Path, after: str) -> None:
    assert told(tmp_path, {GROUPS: "0::/pod\n", V2: counted(1000, 900)}, {V2: after}) == ""


def test_heat_is_told(tmp_path: Path) -> None:
    before = {HEAT.format(0): "7\n", HEAT.format(1): "1\n"}
    assert told(tmp_path, before, {HEAT.format(1): "4\n"}) == "the processor was too hot 3 times"


@pytest.mark.parametrize(("later_khz", "clause"), [(2_100_000, "2.10"), (3_800_000, "3.80")], ids=["down", "up"])
def test_a_clock_that_changed_is_told(tmp_path: Path, later_khz: int, clause: str) -> None:
    before = {CLOCKS.format(0): "800000\n", CLOCKS.format(1): "3400000\n"}
    after = {CLOCKS.format(0): "900000\n", CLOCKS.format(1): f"{later_khz}\n"}
    assert told(tmp_path, before, after) == f"the processor's clock went from 3.40 to {clause} GHz"


def test_the_clock_is_that_of_the_core_that_is_busy_and_may_wander_a_little(tmp_path: Path) -> None:
    before = {CLOCKS.format(0): "3400000\n", CLOCKS.format(1): "800000\n"}
    assert told(tmp_path, before, {CLOCKS.format(0): "800000\n", CLOCKS.format(1): "3200000\n"}) == ""


def test_a_machine_that_tells_nothing_is_believed(tmp_path: Path) -> None:
    assert told(tmp_path, {}, {}) == ""


def test_all_that_happened_is_told(tmp_path: Path) -> None:
    before = {GROUPS: "0::/pod\n", V2: counted(0, 0), HEAT.format(0): "0\n"}
    after = {V2: counted(10, 10), HEAT.format(0): "1\n"}
    assert told(tmp_path, before, after) == (
        "the CPU quota was used up in 10 of 10 periods; the processor was too hot 1 times"
    )
