from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
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


@pytest.fixture
def untraced() -> Iterator[None]:
    """Let the tests below see only the trace functions they set, also when coverage watches this suite."""
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


@pytest.mark.usefixtures("untraced")
def test_nothing_watches_a_plain_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info >= (3, 12):
        monkeypatch.setattr(sys.monitoring, "get_tool", lambda _tool: None)
    machine(tmp_path, {"proc/self/status": "Name:\tpython\nTracerPid:\t0\n"})
    assert tracing(in_process=True, environ={"PATH": "/bin"}, root=tmp_path) == ""


@pytest.mark.usefixtures("untraced")
def test_trace_functions_count_only_where_the_model_runs(tmp_path: Path) -> None:
    sys.settrace(lambda *_event: None)
    in_process, in_worker = (tracing(in_process=where, environ={}, root=tmp_path) for where in (True, False))
    sys.settrace(None)
    assert "sys.settrace (builtins)" in in_process
    assert in_worker == ""


@pytest.mark.usefixtures("untraced")
def test_a_profiler_is_noticed(tmp_path: Path) -> None:
    sys.setprofile(lambda *_event: None)
    found = tracing(in_process=True, environ={}, root=tmp_path)
    sys.setprofile(None)
    assert "sys.setprofile" in found


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
def test_monitoring_tools_are_named(tmp_path: Path) -> None:
    if sys.version_info >= (3, 12):  # mypy reads this form
        sys.monitoring.use_tool_id(4, "stopwatch")
        found = tracing(in_process=True, environ={}, root=tmp_path)
        sys.monitoring.free_tool_id(4)
        assert "sys.monitoring (stopwatch)" in found


def test_a_native_debugger_is_noticed(tmp_path: Path) -> None:
    machine(tmp_path, {"proc/self/status": "Name:\tpython\nTracerPid:\t4711\n"})
    assert "ptrace by process 4711" in tracing(in_process=True, environ={}, root=tmp_path)


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
