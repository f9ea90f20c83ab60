"""Ctrl-C and hang-up for the runs that tests start and interrupt."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def heard_interrupts() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and nohup's the end of its terminal. Runs of tests would do so too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    heard: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number in [number for number, handler in before.items() if handler is signal.SIG_IGN]:
        signal.signal(number, heard[number])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
