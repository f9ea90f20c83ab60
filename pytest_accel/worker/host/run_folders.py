"""The folder of each run that uses this machine, with a lock beside it that is held while the run lives.

A lock is the kernel's and dies with its process. So a folder whose lock is free is what a dead run has left. What is in
a folder is the caller's story. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import Any, Iterator, Tuple


class RunFolder:
    """The folder of one run below ``runs``, until `remove`. What dead runs have left there goes first."""

    def __init__(self, runs: str) -> None:
        remove_dead_runs(runs)
        self.path, self._life = begin_run(runs)

    def remove(self) -> None:
        """Remove it, and the file of its lock last. A process that ends without it leaves that to the next run."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._life >= 0:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}.lock")
            os.close(self._life)
            self._life = -1


def begin_run(runs: str) -> Tuple[str, int]:
    """Make a run's folder, and return it with the open lock that says that the run lives."""
    while True:
        run = os.path.join(runs, f"{os.getpid()}-{secrets.token_hex(4)}")
        with _locked(f"{run}.lock") as lock:
            if lock is not None:
                os.mkdir(run, 0o700)
                return run, os.dup(lock)


def remove_dead_runs(runs: str) -> None:
    """Remove what runs have left that could not do that themselves."""
    for name in {entry.rsplit(".lock", 1)[0] for entry in os.listdir(runs)}:
        run = os.path.join(runs, name)
        with _locked(f"{run}.lock") as lock:
            if lock is not None:
                shutil.rmtree(run, ignore_errors=True)
                os.unlink(f"{run}.lock")


@contextmanager
def _locked(path: str) -> Iterator[Any]:
    """Give the descriptor of a lock that is held for the block, None where another process has it.

    A duplicate of the descriptor holds it for longer.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield lock if _is_taken(lock, path) else None
    finally:
        os.close(lock)


def _is_taken(lock: int, path: str) -> bool:
    """Return whether a lock is ours now, and still that of ``path``: another run may just have removed it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
