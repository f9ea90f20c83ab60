"""This process and its descendants, as Linux tells, and the CPU time that they have spent. Standard library only."""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, NamedTuple

from pytest_accel.worker.kernel_files import Path, listed, read


class Process(NamedTuple):
    """A process and its parent. ``ticks`` of the CPU are those of its ended children too, once it has waited for them.

    There are `TICKS_PER_S` in a second.
    """

    pid: int
    parent: int
    ticks: int


TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processes(root: Path = "/") -> Iterator[Process]:
    """Yield all processes."""
    for pid in filter(str.isdigit, listed(root, "proc")):
        # A name in parentheses may have spaces and parentheses itself.
        fields = read(root, "proc", pid, "stat").rpartition(")")[2].split()
        if fields:  # or it has ended since the listing; what it spent is now its parent's
            yield Process(int(pid), int(fields[1]), sum(map(int, fields[11:15])))


def own_tree(root: Path = "/") -> List[Process]:
    """Return this process and its descendants."""
    children: Dict[int, List[Process]] = {}
    found: List[Process] = []
    for process in processes(root):
        children.setdefault(process.parent, []).append(process)
        if process.pid == os.getpid():
            found.append(process)
    for process in found:  # which grows meanwhile
        found += children.get(process.pid, [])
    return found
