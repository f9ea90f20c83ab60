"""The locks that keep a device to one process, and who holds them. They are the kernel's and die with their process.

Standard library only. Every pytest-accel on the machine takes the same files, however it was started.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import re
import stat
import tempfile
from typing import TYPE_CHECKING, Dict

from pytest_accel.worker.kernel_files import Path, read

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

#: _KERNELS_LOCKS is where Linux lists every lock on a file: its kind, the process, and device and inode of the file.
_KERNELS_LOCKS = "/proc/locks"
_FLOCK = re.compile(r"^\d+: FLOCK\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) ", re.MULTILINE)


class DeviceLocks:
    """The locks that this process has taken. A public method is an operation."""

    def __init__(self) -> None:
        self._taken: Dict[str, int] = {}

    def take_device(self, name: str, folder: str) -> Plain:
        """Take the lock of a device if it is free: ``holder`` says in words who has it, and is empty now that we have.

        The ``folder`` of the locks is the user's own one where it is empty. Raises `OSError` where that cannot be.
        """
        place = folder or own_lock_folder()
        prepare_folder(place, private=not folder)
        path = os.path.join(place, name)
        taken = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(taken)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return {"path": path, "holder": holder_of(path)}
        self._taken[path] = taken
        return {"path": path, "holder": ""}

    def give_device_back(self, path: str) -> Plain:
        """Let go of a lock. Does nothing where it is not ours."""
        if path in self._taken:
            os.close(self._taken.pop(path))
        return {}


def own_lock_folder() -> str:
    """Return where the processes of one user on one machine find each other's locks.

    It is not in the cache folder, which several machines may share.
    """
    return os.path.join(tempfile.gettempdir(), f"pytest-accel-{os.getuid()}")


def holder_of(path: Path, listed: Path = _KERNELS_LOCKS) -> str:
    """Return in words which process holds a lock, as far as the kernel tells."""
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return "another process"
    for pid, number in _FLOCK.findall(read(listed)):
        if int(number) == inode and int(pid) > 0:  # 0 is a process of another container
            return _in_words(int(pid))
    return "another process"


def _in_words(pid: int) -> str:
    folder = f"/proc/{pid}"
    if not os.path.isdir(folder):
        return f"a program that process {pid} has started and left behind"
    name, owner = read(folder, "comm"), re.search(r"^Uid:\s+(\d+)", read(folder, "status"), re.MULTILINE)
    return f"process {pid} ({name} of {user_in_words(int(owner[1]))})" if name and owner else f"process {pid}"


def user_in_words(number: int) -> str:
    """Return who has the number of a user."""
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def prepare_folder(folder: Path, *, private: bool) -> None:
    """Make a folder of locks, or check the one that is there. Raises `OSError` where others could take locks away.

    A ``private`` one is this user's own, and no link. In any other one, people may write who cannot remove each other's
    files: everybody only where it is sticky, as ``/tmp`` is.
    """
    os.makedirs(folder, mode=0o700 if private else 0o777, exist_ok=True)
    status = os.lstat(folder) if private else os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, "it is a link, and no folder", str(folder))
    if private and status.st_uid != os.getuid():
        raise OSError(errno.EPERM, f"it belongs to {user_in_words(status.st_uid)}", str(folder))
    if private and status.st_mode & 0o077:
        os.chmod(folder, 0o700)
    if not private and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise OSError(errno.EPERM, "everybody may remove locks there (chmod +t forbids it)", str(folder))
