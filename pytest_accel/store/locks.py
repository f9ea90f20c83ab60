"""Locks between processes, and what they tell: who is busy, who lives, and what a living process uses.

A lock is the kernel's and dies with its process, however that ends; what a dead process leaves behind is recognised by
its free lock. What is locked, and what a use protects from, is the caller's story.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import filelock

from pytest_accel.facts.errors import LockTimeout
from pytest_accel.facts.progress import Silence
from pytest_accel.store.files import age_s, discard, set_aside
from pytest_accel.worker.host.device_locks import holder_of

#: ASK_AGAIN_S is the number of seconds between two attempts to have a lock that another process holds.
ASK_AGAIN_S = 1.0
#: HALF_MADE_S is the age in seconds from which a lock without its folder is what a killed process has left. A living
#: process makes the folder in the same instant.
HALF_MADE_S = 3600.0


@dataclass(frozen=True)
class Patience:
    """How long a lock is waited for that another process holds, and who hears of it: what for, and where."""

    timeout_s: float
    tell: Callable[[str, str], object]


#: ENDLESS is for commands, which nobody leaves alone.
ENDLESS = Patience(float("inf"), Silence())


def lock_at(path: Path) -> filelock.BaseFileLock:
    """Return a lock, not yet taken and for one thread; taking it makes its folder when that is missing.

    What stands in its place and is no file is set aside.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        with suppress(OSError):  # taking the lock says why that is no lock
            set_aside(path, path.parent)
    return filelock.FileLock(str(path), thread_local=False)  # with a Path, each use costs half as much again


class Claim(Protocol):
    """A lock that another process may hold: a file here, or on another host."""

    #: ``path`` is the file, once it has been attempted to have it.
    path: str

    def attempt(self, wait_s: float) -> bool:
        """Return whether we have it, after waiting at most so long. Raises `OSError` where it cannot be a lock."""

    def holder(self) -> str:
        """Return in words which process has it."""

    def release(self) -> None:
        """Let go of it."""


class FileClaim:
    """A lock of this machine, which may be taken again by who has it."""

    def __init__(self, lock: filelock.BaseFileLock) -> None:
        self.path = lock.lock_file
        self._lock = lock

    def attempt(self, wait_s: float) -> bool:
        """Wait for the kernel's lock."""
        try:
            self._lock.acquire(timeout=wait_s)
        except filelock.Timeout:
            return False
        return True

    def holder(self) -> str:
        """Return what the kernel tells."""
        return holder_of(Path(self.path))

    def release(self) -> None:
        """Let go of the kernel's lock."""
        self._lock.release()


class HostClaim:
    """A lock of another machine; it may be taken again by who has it.

    Its attendant is asked for it with ``ask``, and ``tell`` gives it back without an answer. ``name`` is that of the
    file. The ``folder`` there is the one of the user there where it is empty. ``host`` is what messages call the
    machine.
    """

    def __init__(
        self,
        ask: Callable[..., Mapping[str, Any]],
        tell: Callable[..., None],
        name: str,
        folder: str,
        host: str,
    ) -> None:
        self.path = name
        self._host = host
        self._ask, self._tell = ask, tell
        self._name = name
        self._folder = folder
        self._holder = ""
        self._taken = 0

    def attempt(self, wait_s: float) -> bool:
        """Ask once, or once more after waiting."""
        if not self._taken and not self._is_ours():
            time.sleep(wait_s)
            if not wait_s or not self._is_ours():
                return False
        self._taken += 1
        return True

    def _is_ours(self) -> bool:
        answer = self._ask("take_device", name=self._name, folder=self._folder)
        self.path, self._holder = answer["path"], answer["holder"]
        return not self._holder

    def holder(self) -> str:
        """Return what the attendant has told, and where."""
        return self._holder and f"{self._holder} on {self._host}"

    def release(self) -> None:
        """Have the attendant let go of it. One whose host is lost was given back there."""
        self._taken -= 1
        if not self._taken:
            self._tell("give_device_back", path=self.path)


def take(claim: Claim, what: str, patience: Patience) -> float:
    """Take a lock on ``what`` and return the seconds that it was waited for.

    Raises `LockTimeout`, which says who holds it, and `OSError` where it cannot be a lock.
    """
    began_s = time.monotonic()
    wait_s = 0.0
    while not claim.attempt(wait_s):
        waited_s = time.monotonic() - began_s
        if waited_s >= patience.timeout_s:
            raise LockTimeout(
                f"waited {waited_s:.0f} s for {what}, and {claim.holder()} still holds its lock {claim.path}: "
                "end that process, or allow a longer wait with the ini key accel_lock_timeout"
            )
        patience.tell(f"waiting for {what}, which {claim.holder()} uses", claim.path)
        wait_s = min(ASK_AGAIN_S, patience.timeout_s - waited_s)
    return time.monotonic() - began_s


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
    """Return the folders in a folder that need not exist; links are none."""
    return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()] if parent.is_dir() else []


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
        if self._life is None or not self._own.is_dir():  # somebody has removed the whole cache
            self.close()
            life = self._lock(self._own)
            life.acquire()
            self._own.mkdir(parents=True)
            self._life = life
        (self._own / key).touch()

    def drop(self, key: str) -> None:
        """Take the mark away, if there is one."""
        (self._own / key).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Take all marks of this process away, but stay ready to set more."""
        if self._life is not None and self._own.is_dir():
            for mark in self._own.iterdir():
                mark.unlink(missing_ok=True)

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
        for left in self._folder.glob("*.lock"):
            if not left.with_suffix("").exists() and age_s(left) > HALF_MADE_S:
                left.unlink(missing_ok=True)

    def _lives(self, process: Path) -> bool:
        with if_free(self._lock(process)) as free:
            return not free

    def _lock(self, process: Path) -> filelock.BaseFileLock:
        return lock_at(self._lock_file(process))

    def _lock_file(self, process: Path) -> Path:
        return process.with_name(f"{process.name}.lock")
