"""The memory of the made-up card, which all processes share: who has taken all of it.

A process that takes it leaves a file below ``ACCEL_HOST_ROOT``, and has it until it ends.
"""

from __future__ import annotations

import os
from pathlib import Path


def _folder() -> Path:
    return Path(os.environ.get("ACCEL_HOST_ROOT", os.devnull)) / "card"


def take_all() -> None:
    """Let this process have all memory that is free."""
    _folder().mkdir(exist_ok=True)
    (_folder() / str(os.getpid())).touch()


def is_taken() -> bool:
    """Whether a process that still runs has taken it all."""
    return any(_runs(int(file.name)) for file in _folder().glob("*"))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
