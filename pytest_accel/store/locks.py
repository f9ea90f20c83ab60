"""Locks between processes, and what they tell: who is busy, who lives, and what a living process uses.

A lock is the kernel's and dies with its process, however that ends; what a dead process leaves behind is recognised by
its free lock. What is locked, and what a use protects from, is the caller's story.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from pytest_accel.store.files import discard


def lock_at(path: Path) -> filelock.BaseFileLock:
    """Return a lock, not yet taken and for one thread; taking it makes its folder when that is missing."""
    return filelock.FileLock(str(path), thread_local=False)  # with a Path, each use costs half as much again


@contextmanager
def if_free(lock: filelock.BaseFileLock) -> Iterator[bool]:
    """Say whether nobody holds the lock; if so, nobody gets it within the block."""
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def folders(parent: Path) -> list[Path]:
    """Return the folders in a folder that need not exist."""
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


class Uses:
    """Which entries living processes use: one lock for each process, one marker for each entry.

    A process makes its folder of markers after it has taken its lock, so a folder whose lock is free is a dead one's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._life: filelock.BaseFileLock | None = None

    def add(self, key: str) -> None:
        """Mark an entry as used by this process."""
        if self._life is None:
            life = self._lock(self._own)
            life.acquire()
            self._own.mkdir()
            self._life = life
        (self._own / key).touch()

    def drop(self, key: str) -> None:
        """Take the mark away, if there is one."""
        (self._own / key).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Take all marks of this process away, but stay ready to set more."""
        if self._life is not None:
            for mark in self._own.iterdir():
                mark.unlink()

    def close(self) -> None:
        """Take all marks of this process away."""
        if self._life is not None:
            discard(self._own)
            self._lock_file(self._own).unlink(missing_ok=True)
            self._life.release()
            self._life = None

    def holds(self, key: str) -> bool:
        """Return whether a living process, this one included, uses the entry."""
        return any((process / key).exists() and self._lives(process) for process in folders(self._folder))

    def sweep(self) -> None:
        """Remove the marks of processes that have ended without closing."""
        for process in folders(self._folder):
            if not self._lives(process):
                discard(process)
                self._lock_file(process).unlink(missing_ok=True)

    def _lives(self, process: Path) -> bool:
        with if_free(self._lock(process)) as free:
            return not free

    def _lock(self, process: Path) -> filelock.BaseFileLock:
        return lock_at(self._lock_file(process))

    def _lock_file(self, process: Path) -> Path:
        return process.with_name(f"{process.name}.lock")
