"""The made-up card, which all processes share: who has taken all of its memory, and who computes on it.

A process leaves a file below ``ACCEL_HOST_ROOT``, and has what it took until it ends.
"""

from __future__ import annotations

import os
from pathlib import Path


def take_all() -> None:
    """Let this process have all memory that is free."""
    _note("memory")


def is_taken() -> bool:
    """Whether a process that still runs has taken it all."""
    return bool(_noted("memory"))


def is_in_use() -> bool:
    """Whether another process computes on the card. From now on this one does, unless it is in use."""
    others = _noted("context") - {os.getpid()}
    if not others:
        _note("context")
    return bool(others)


def _note(what: str) -> None:
    folder = _folder(what)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()


def _noted(what: str) -> set[int]:
    return {pid for pid in (int(file.name) for file in _folder(what).glob("*")) if _runs(pid)}


def _folder(what: str) -> Path:
    return Path(os.environ.get("ACCEL_HOST_ROOT", os.devnull)) / "card" / what


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
