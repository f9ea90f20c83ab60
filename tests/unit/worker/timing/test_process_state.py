from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.timing.process_state import forget_memory_peak, memory_peak_mb, tracing

if TYPE_CHECKING:
    from pathlib import Path


def _ignored(*event: Any) -> None: ...


@pytest.mark.parametrize(("tracer", "told"), [("4711", "process 4711 (a native debugger or strace)"), ("0", "")])
def test_a_native_debugger_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracer: str, told: str) -> None:
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(sys, "getprofile", lambda: None)
    monkeypatch.setattr(sys, "monitoring", None, raising=False)
    (tmp_path / "status").write_text(f"Name:\tpython\nTracerPid:\t{tracer}\n")
    assert tracing(str(tmp_path / "status")) == told
    assert tracing(str(tmp_path / "nothing")) == ""


def test_a_trace_function_is_noticed() -> None:
    before = sys.gettrace()
    sys.settrace(_ignored)
    try:
        assert "trace function" in tracing()
    finally:
        sys.settrace(before)


def test_a_profile_function_is_noticed() -> None:
    sys.setprofile(_ignored)
    try:
        assert "profile function" in tracing()
    finally:
        sys.setprofile(None)


def test_the_memory_peak_can_be_started_anew() -> None:
    held = bytearray(64 * 2**20)
    with_it = memory_peak_mb()
    del held
    forget_memory_peak()
    assert memory_peak_mb() < with_it - 32
