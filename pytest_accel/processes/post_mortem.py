"""What a worker leaves behind: the end of its output, its stacks, its temporary files, and the way it ended.

Nothing here starts, kills or talks to a worker.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

_LOG_CAP_BYTES = 4 * 2**20
_TAIL_BYTES = 8 * 2**10


class Remains:
    """What a worker leaves on disk: the log of what it prints, which is kept small, its stacks and temporary files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._stacks = _new_file(folder, ".log"), _new_file(folder, ".stacks")
        # A short name: an SDK may make a socket in there, whose whole path may have 107 bytes and no more.
        self._temporary = Path(tempfile.mkdtemp(dir=folder.absolute()))
        self._cut_off = b""

    @property
    def paths(self) -> dict[str, str]:
        """Where the worker writes."""
        return {"log": str(self._log), "stacks": str(self._stacks), "temporary": str(self._temporary)}

    def trim(self) -> None:
        """Empty the log when it has grown too long; the worker appends, so it goes on at the start."""
        if self._log.stat().st_size > _LOG_CAP_BYTES:
            self._cut_off = _end_of(self._log)
            os.truncate(self._log, 0)

    def wait_for_stacks(self) -> None:
        """Wait until the worker has written its stacks, but not long: it may be past writing."""
        size, until = -1, time.monotonic() + 1.0
        while time.monotonic() < until and not 0 < size == self._stacks.stat().st_size:
            size = self._stacks.stat().st_size
            time.sleep(0.02)

    def details(self) -> str:
        """Return the stacks and the end of the log, ready to print."""
        parts = {
            "stacks": self._stacks.read_bytes()[:_TAIL_BYTES],
            "last output": (self._cut_off + _end_of(self._log))[-_TAIL_BYTES:],
        }
        texts = {title: content.decode(errors="replace").strip() for title, content in parts.items()}
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


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES)
