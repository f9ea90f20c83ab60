from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pytest_accel.machine import conditions as disturbances
from pytest_accel.machine.conditions import ForeignLoad, conditions, governor, tracing


def machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_governors_are_named_once_each(tmp_path: Path) -> None:
    names = ("powersave", "performance", "powersave", "")
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": f"{name}\n" for n, name in enumerate(names)}
    assert governor(tmp_path) == ""
    assert governor(machine(tmp_path, files)) == "performance,powersave"


def test_trace_functions_count_only_where_the_model_runs(tmp_path: Path) -> None:
    machine(tmp_path, {"proc/self/status": "Name:\tpython\nTracerPid:\t4711\n"})
    in_process, in_worker = (tracing(in_process=where, environ={}, root=tmp_path) for where in (True, False))
    assert in_process.endswith("process 4711 (a native debugger or strace)")
    assert in_worker == ""


@pytest.mark.parametrize("name", ["COVERAGE_PROCESS_START", "COV_CORE_SOURCE"])
def test_coverage_that_starts_itself_in_workers_is_noticed(tmp_path: Path, name: str) -> None:
    assert tracing(in_process=False, environ={name: "x"}, root=tmp_path) == name


def test_foreign_load_is_what_others_used_in_cores() -> None:
    machine_s, own_s, clock = iter([100.0, 130.0]), iter([10.0, 25.0]), iter([0.0, 10.0])
    load = ForeignLoad(machine_s=lambda: next(machine_s), own_s=lambda: next(own_s), clock=lambda: next(clock))
    assert load.cores() == pytest.approx(1.5)


def test_counters_that_tick_apart_never_give_a_load_below_nothing() -> None:
    own_s, clock = iter([10.0, 10.01]), iter([0.0, 1.0])
    assert ForeignLoad(machine_s=lambda: 5.0, own_s=lambda: next(own_s), clock=lambda: next(clock)).cores() == 0.0
    assert ForeignLoad(machine_s=lambda: 5.0, own_s=lambda: 1.0, clock=lambda: 3.0).cores() == 0.0


def _spend_cpu(seconds: float) -> None:
    while sum(os.times()[:2]) < seconds:
        pass


def _spend_cpu_and_wait(seconds: float, barrier: Barrier) -> None:
    _spend_cpu(seconds)
    barrier.wait()
    barrier.wait()


def test_what_our_own_children_spend_is_ours_while_they_live_and_after_they_ended() -> None:
    context = multiprocessing.get_context("spawn")
    before, barrier = disturbances._own_tree_busy_s(), context.Barrier(2)
    child = context.Process(target=_spend_cpu_and_wait, args=(0.3, barrier))
    child.start()
    barrier.wait(timeout=60)
    living = disturbances._own_tree_busy_s() - before
    barrier.wait(timeout=60)
    child.join()
    assert living > 0.29  # a difference of sums of hundredths, which floats round
    assert disturbances._own_tree_busy_s() - before > 0.29


def test_the_machine_spends_at_least_what_we_do() -> None:
    machine_before, own_before = disturbances._machine_busy_s(), disturbances._own_tree_busy_s()
    _spend_cpu(sum(os.times()[:2]) + 0.3)
    own = disturbances._own_tree_busy_s() - own_before
    assert own > 0.28
    assert disturbances._machine_busy_s() - machine_before >= own - 0.1


def test_conditions_gather_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbances, "tracing", lambda **where: f"in_process={where['in_process']}")
    machine(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000"})
    machine(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"})
    found = conditions(in_process=True, foreign_load_cores=0.25, root=tmp_path)
    assert (found.tracing, found.in_process) == ("in_process=True", True)
    assert (found.cpu_quota_cores, found.governor, found.foreign_load_cores) == (1.0, "powersave", 0.25)
