"""The processes of workers: stopping and ending them, how they ended, and what they have left running.

Standard library only. A worker leads a process group of its own, whose number is that of its process.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Set

from pytest_accel.worker.host.process_tree import own_tree
from pytest_accel.worker.kernel_files import Path, listed, read

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

_NOT_OURS = (ProcessLookupError, PermissionError)


class Processes:
    """The processes of a machine, by number. A public method is an operation, and ``root`` is where its files begin."""

    def __init__(self, root: Path = "/") -> None:
        self._root = root
        self._wires: Dict[int, Set[str]] = {}

    def stop_process(self, pid: int) -> Plain:
        """Stop a process, but nothing that it has started."""
        return _send(os.kill, pid, signal.SIGSTOP)

    def resume_process(self, pid: int) -> Plain:
        """Let a stopped process go on."""
        return _send(os.kill, pid, signal.SIGCONT)

    def kill_process(self, pid: int) -> Plain:
        """End a worker and all that is in its group, at once."""
        return _send(os.killpg, pid, signal.SIGKILL)

    def show_stacks(self, pid: int) -> Plain:
        """Have a worker write the stacks of its threads."""
        return _send(os.kill, pid, signal.SIGUSR1)

    def watch_wire(self, pid: int) -> Plain:
        """Remember by which pipes this process hears a worker, for `kill_writers`."""
        self._wires[pid] = _pipes("self", stat.S_IRUSR) & _pipes(str(pid), stat.S_IWUSR)
        return {}

    def kill_writers(self, pid: int) -> Plain:
        """End what holds the pipes of a dead worker open: it has started that in a group of its own."""
        for writer in writers_of(self._wires.pop(pid, set())):
            _send(os.kill, writer, signal.SIGKILL)
        return {}

    def process_status(self, pid: int) -> Plain:
        """Return the exit status of a child, which is below zero for a signal, and None while it lives."""
        try:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # it was buried
            return {"status": -signal.SIGKILL}
        if ended is None:
            return {"status": None}
        return {"status": ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status}

    def kill_children(self) -> Plain:
        """End all workers, with what they have started."""
        for process in own_tree(self._root):
            if process.parent == os.getpid():
                self.kill_process(process.pid)
                _send(os.kill, process.pid, signal.SIGKILL)  # it may have no group of its own yet
        for pid in list(self._wires):
            self.kill_writers(pid)
        return {}

    def oom_kills(self) -> Plain:
        """Return how often the kernel has ended a process of this control group for want of memory."""
        return {"count": oom_kills(self._root)}


def _send(send: Callable[[int, int], None], pid: int, signum: signal.Signals) -> Plain:
    with suppress(*_NOT_OURS):
        send(pid, signum)
    return {}


def _pipes(process: str, end: int) -> Set[str]:
    """Return the pipes, as the kernel names them, of which a process has the end of this mode open."""
    folder = f"/proc/{process}/fd"
    found = set()
    for descriptor in listed(folder):
        path = f"{folder}/{descriptor}"
        with suppress(OSError):  # closed since the listing, or somebody else's
            if os.lstat(path).st_mode & end:
                found.add(os.readlink(path))
    return {name for name in found if name.startswith("pipe:")}


def writers_of(pipes: Set[str]) -> Iterator[int]:
    """Yield the numbers of the processes that can write to one of the pipes: all of this user on Linux."""
    for pid in filter(str.isdigit, listed("/proc") if pipes else []):
        if pipes & _pipes(pid, stat.S_IWUSR):
            yield int(pid)


def oom_kills(root: Path = "/") -> int:
    """Return how often the kernel has ended a process of this cgroup for want of memory; 0 where it does not tell."""
    group = read(root, "proc/self/cgroup").rpartition("::/")[2]
    counts = dict(line.split() for line in read(root, "sys/fs/cgroup", group, "memory.events").splitlines())
    return int(counts.get("oom_kill", 0))
