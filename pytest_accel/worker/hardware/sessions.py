"""Whose a process is: all processes of one test run, also under pytest-xdist, belong to one terminal session."""

from __future__ import annotations

import os


def is_foreign(pid: int) -> bool:
    """Return whether a process belongs to another session. One that a container hides may be ours, and is not."""
    try:
        return os.getsid(pid) != os.getsid(0)
    except OSError:
        return False
