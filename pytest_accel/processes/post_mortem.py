"""What a worker leaves behind: the end of its output, its stacks, its temporary files, and the way it ended.

Nothing here starts, kills or talks to a worker.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pytest_accel.worker.redaction import redacted

_LOG_CAP_BYTES = 4 * 2**20
_TAIL_BYTES = 8 * 2**10


class Remains:
    """What a worker leaves on disk: the log of what it prints, which is kept small, its stacks and temporary files."""

    def __init__(self, folder: Path) -> None:
        #: What must not be shown of the log.
        self.secrets: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._stacks = _new_file(folder, ".log"), _new_file(folder, ".stacks")
        # A short name: an SDK may make a socket in there, whose whole path may have 107 bytes and no more.
        self._temporary = Path(tempfile.mkdtemp(dir=folder.absolute()))
        self._cut_off = b""

    @property
    def paths(self) -> dict[str, str]:
        """Where the worker writes."""
        return {"log": str(self._log), "stacks": str(self._stacks), "temporary": str(self._temporary)}

    def restore(self) -> None:
        """Make the folder of temporary files again where somebody has cleaned up behind a living worker."""
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)

    def trim(self) -> None:
        """Empty the log when it has grown too long; the worker appends, so it goes on at the start."""
        if _size_of(self._log) > _LOG_CAP_BYTES:
            self._cut_off = _end_of(self._log)
            os.truncate(self._log, 0)

    def wait_for_stacks(self) -> None:
        """Wait until the worker has written its stacks, but not long: it may be past writing."""
        size, until = -1, time.monotonic() + 1.0
        while time.monotonic() < until and not 0 < size == _size_of(self._stacks):
            size = _size_of(self._stacks)
            time.sleep(0.02)

    def details(self) -> str:
        """Return the stacks and the end of the log, ready to print and without credentials."""
        parts = {
            "stacks": _start_of(self._stacks),
            "last output": (self._cut_off + _end_of(self._log))[-_TAIL_BYTES:],
        }
        texts = {
            title: redacted(content.decode(errors="replace").strip(), self.secrets) for title, content in parts.items()
        }
        return "\n\n".join(f"{title}:\n{text}" for title, text in texts.items() if text)

    def remove(self) -> None:
        """Delete all of it, once the worker has ended and writes no more."""
        self._log.unlink(missing_ok=True)
        self._stacks.unlink(missing_ok=True)
        shutil.rmtree(self._temporary, ignore_errors=True)


def ending(status: int, *, more_oom_kills: bool) -> str:
    """Return an exit status in words; ``more_oom_kills`` says that the kernel ended some process for want of memory."""
    if status >= 0:
        return f"exited with status {status}"
    words = f"was killed by {signal.Signals(-status).name}"
    if -status != signal.SIGKILL:
        return words
    return f"{words} by the kernel, out of memory," if more_oom_kills else f"{words} (out of memory, perhaps)"


def writers_of(pipe: int, processes: Path = Path("/proc")) -> Iterator[int]:
    """Yield the numbers of the processes that can write to the other end of a pipe: all of this user on Linux."""
    inode = f"pipe:[{os.fstat(pipe).st_ino}]"
    for descriptor in processes.glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if str(descriptor.readlink()) == inode and descriptor.lstat().st_mode & stat.S_IWUSR:
                yield int(descriptor.parts[-3])


def oom_kills(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how often the kernel has ended a process of this cgroup for want of memory; 0 where it does not tell."""
    try:
        group = own.read_text().strip().rpartition("::/")[2]
        events = (cgroups / group / "memory.events").read_text()
    except OSError:
        return 0
    counts = dict(line.split() for line in events.splitlines())
    return int(counts.get("oom_kill", 0))


def _new_file(folder: Path, suffix: str) -> Path:
    fd, path = tempfile.mkstemp(prefix="worker-", suffix=suffix, dir=folder)
    os.close(fd)
    return Path(path)


def _size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 where somebody has cleaned up the temporary folder."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _start_of(path: Path) -> bytes:
    return path.read_bytes()[:_TAIL_BYTES] if _size_of(path) else b""


def _end_of(path: Path) -> bytes:
    size = _size_of(path)
    if not size:
        return b""
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES)
