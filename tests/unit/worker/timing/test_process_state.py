from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.timing.process_state import forget_memory_peak, memory_peak_mb, watchers

if TYPE_CHECKING:
    from pathlib import Path


def _ignored(*event: Any) -> None: ...


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test see only the hooks that it sets, also when coverage watches this suite."""
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(sys, "getprofile", lambda: None)
    if sys.version_info >= (3, 12):
        monkeypatch.setattr(sys.monitoring, "get_tool", lambda _tool: None)


def status(root: Path, tracer: int) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/status").write_text(f"Name:\tpython\nTracerPid:\t{tracer}\n")
    return root


@pytest.mark.usefixtures("untraced")
def test_nothing_watches_a_plain_process(tmp_path: Path) -> None:
    assert watchers(status(tmp_path, tracer=0)) == []
    assert watchers(tmp_path / "nothing") == []


@pytest.mark.usefixtures("untraced")
def test_a_native_debugger_is_noticed(tmp_path: Path) -> None:
    assert watchers(status(tmp_path, tracer=4711)) == ["process 4711 (a native debugger or strace)"]


def test_a_trace_function_is_noticed_with_the_module_that_it_is_from(tmp_path: Path) -> None:
    before = sys.gettrace()
    sys.settrace(_ignored)
    try:
        assert "a trace function (builtins)" in watchers(tmp_path)
    finally:
        sys.settrace(before)


def test_a_profile_function_is_noticed(tmp_path: Path) -> None:
    sys.setprofile(_ignored)
    try:
        assert "a profile function (builtins)" in watchers(tmp_path)
    finally:
        sys.setprofile(None)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
def test_monitoring_tools_are_named(tmp_path: Path) -> None:
    if sys.version_info >= (3, 12):  # mypy reads this form
        sys.monitoring.use_tool_id(4, "stopwatch")
        found = watchers(tmp_path)
        sys.monitoring.free_tool_id(4)
        assert "sys.monitoring (stopwatch)" in found


def test_the_memory_peak_can_be_started_anew() -> None:
    held = bytearray(64 * 2**20)
    with_it = memory_peak_mb()
    del held
    forget_memory_peak()
    assert memory_peak_mb() < with_it - 32
