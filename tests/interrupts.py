"""Ctrl-C for the runs that tests start and interrupt."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def heard_interrupts() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and so would the runs that tests of it start and interrupt."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
