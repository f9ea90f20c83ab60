"""Deadlines that pass when something has happened, and not after a time that a busy machine needs for other things."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pass_once(monkeypatch: pytest.MonkeyPatch, happened: Callable[[], bool]) -> None:
    """Let the deadlines of workers that this process started pass as soon as ``happened``: their clock jumps ahead."""

    def monotonic() -> float:
        return time.monotonic() + (3600.0 if happened() else 0.0)

    monkeypatch.setattr("pytest_accel.processes.process.time", SimpleNamespace(monotonic=monotonic))
