"""Locks between processes, and what they tell: who is busy, who lives, and what a living process uses.

A lock is the kernel's and dies with its process, however that ends; what a dead process leaves behind is recognised by
its free lock. What is locked, and what a use protects from, is the caller's story.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

from pytest_accel.facts.errors import LockTimeout
from pytest_accel.facts.progress import Silence
from pytest_accel.store.files import age_s, discard, set_aside

#: ASK_AGAIN_S is the number of seconds between two attempts to have a lock that another process holds.
ASK_AGAIN_S = 1.0
#: HALF_MADE_S is the age in seconds from which a lock without its folder is what a killed process has left. A living
#: process makes the folder in the same instant.
HALF_MADE_S = 3600.0
#: _KERNELS_LOCKS is where Linux lists every lock on a file: its kind, the process, and device and inode of the file.
_KERNELS_LOCKS = Path("/proc/locks")
_FLOCK = re.compile(r"^\d+: FLOCK\s+\S+\s+\S+\s+(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)


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


def take(lock: filelock.BaseFileLock, what: str, patience: Patience) -> float:
    """Take a lock on ``what`` and return the seconds that it was waited for.

    Raises `LockTimeout`, which says who holds it, and `OSError` where it cannot be a lock.
    """
    began_s = time.monotonic()
    wait_s = 0.0
    while True:
        try:
            lock.acquire(timeout=wait_s)
        except filelock.Timeout:
            waited_s = time.monotonic() - began_s
            path = Path(lock.lock_file)
            if waited_s >= patience.timeout_s:
                raise LockTimeout(
                    f"waited {waited_s:.0f} s for {what}, and {holder_of(path)} still holds its lock {path}: "
                    "end that process, or allow a longer wait with the ini key accel_lock_timeout"
                ) from None
            patience.tell(f"waiting for {what}, which {holder_of(path)} uses", str(path))
            wait_s = min(ASK_AGAIN_S, patience.timeout_s - waited_s)
        else:
            return time.monotonic() - began_s


def holder_of(path: Path, listed: Path = _KERNELS_LOCKS) -> str:
    """Return in words which process holds a lock, as far as the kernel tells."""
    with suppress(OSError):
        inode = path.stat().st_ino
        for pid, _, _, number in _FLOCK.findall(listed.read_text(encoding="ascii", errors="replace")):
            if int(number) == inode and int(pid) > 0:  # 0 is a process of another container
                return _in_words(int(pid))
    return "another process"


def _in_words(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return f"process {pid} ({process.name()} of user {process.username()})"
    except psutil.NoSuchProcess:
        return f"a program that process {pid} has started and left behind"
    except psutil.AccessDenied:
        return f"process {pid}"


def prepare_folder(folder: Path, *, private: bool) -> None:
    """Make a folder of locks, or check the one that is there. Raises `OSError` where others could take locks away.

    A ``private`` one is this user's own, and no link. In any other one, people may write who cannot remove each other's
    files: everybody only where it is sticky, as ``/tmp`` is.
    """
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    status = folder.lstat() if private else folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, "it is a link, and no folder", str(folder))
    if private and status.st_uid != os.getuid():
        raise OSError(errno.EPERM, f"it belongs to {_user(status.st_uid)}", str(folder))
    if private and status.st_mode & 0o077:
        folder.chmod(0o700)
    if not private and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise OSError(errno.EPERM, "everybody may remove locks there (chmod +t forbids it)", str(folder))


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


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
