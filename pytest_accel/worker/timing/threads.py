"""Where the threads of a process run: while a turn of a duet is timed, the busiest threads have a core of their own.

Beside a process that keeps one of two cores busy, the scheduler may leave both threads of a call on one core. Calls of
3.4 ms then take 14.4 instead of 7.4, on that side only and often for as long as the process lives, which looks like a
slower model: beside two such processes that came and went, 16 of 60 launches of the same artefact were more than a
tenth off, and none of 70 with threads held apart.

A thread on a core of its own waits only for the work of other processes. That time adds to both sides and so hides a
difference: 5 % of 3.4 ms are 2.3 % of 7.4. So a turn also says how much of it was such waiting.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set

#: OWN_TASKS is the folder of this process's threads.
OWN_TASKS = "/proc/self/task"


class Spent(NamedTuple):
    """How long a thread ran on a core, and how long it waited for one with work to do."""

    running_ns: int
    waiting_ns: int

    def since(self, before: Optional[Spent]) -> Spent:
        """Return what was spent after ``before``, which is None for a thread that did not exist then."""
        return Spent(self[0] - before[0], self[1] - before[1]) if before else self


@dataclass
class Turn:
    """One turn of a duet. After it, ``cores_taken`` is how many of its cores other processes had on average."""

    cores_taken: float = 0.0


class Threads:
    """The threads of a process, by default of this one; ``tasks`` is the kernel's folder of them.

    They are placed where the kernel allows it, and left alone elsewhere.
    """

    def __init__(self, tasks: str = OWN_TASKS) -> None:
        self._tasks = tasks
        self._last: Mapping[int, Spent] = {}

    @contextmanager
    def apart(self, first_core: int = 0) -> Iterator[Turn]:
        """Keep the threads that ran longest in the turn before on cores of their own within the block.

        The cores begin with the ``first_core``-th. Both sides of a duet get the same number, and so the same cores. A
        thread that an SDK has bound to a core stays there. Threads beyond the number of cores are the scheduler's.
        """
        began, began_ns, turn = spent(self._tasks), time.perf_counter_ns(), Turn()
        allowed = _allowed(_busiest(self._last or began))
        placed = _place(allowed, first_core)
        try:
            yield turn
        finally:
            for thread in placed:
                with suppress(OSError):  # it may have ended
                    os.sched_setaffinity(thread, allowed[thread])
        self._last = {thread: time_spent.since(began.get(thread)) for thread, time_spent in spent(self._tasks).items()}
        turn.cores_taken = taken_ns(self._last, placed) / (time.perf_counter_ns() - began_ns)


def spent(tasks: str = OWN_TASKS) -> Dict[int, Spent]:
    """Return what every thread of a process has spent so far; empty where the kernel does not say."""
    found: Dict[int, Spent] = {}
    with suppress(OSError):
        for thread in os.listdir(tasks):
            with suppress(OSError, ValueError), open(f"{tasks}/{thread}/schedstat") as schedstat:
                running_ns, waiting_ns, _ = schedstat.read().split()
                found[int(thread)] = Spent(int(running_ns), int(waiting_ns))
    return found


def in_order(cores: Iterable[int], first: int = 0, processors: str = "/sys/devices/system/cpu") -> List[int]:
    """Return logical cores in the order in which threads get them: first one of every physical core.

    The order is a circle, and the result begins with the ``first``-th core of it.
    """
    ordered = sorted(cores, key=lambda core: (_siblings(core, processors).index(core), core))
    begin = first % max(len(ordered), 1)
    return ordered[begin:] + ordered[:begin]


def taken_ns(turn: Mapping[int, Spent], placed: Set[int]) -> int:
    """Return how long the placed threads waited, less the time that other threads of this process ran."""
    waiting_ns = sum(turn[thread].waiting_ns for thread in placed & turn.keys())
    return max(0, waiting_ns - sum(turn[thread].running_ns for thread in turn.keys() - placed))


def _busiest(turn: Mapping[int, Spent]) -> List[int]:
    """Return the threads that ran at all, the longest first."""
    return sorted((thread for thread in turn if turn[thread].running_ns), key=turn.__getitem__, reverse=True)


def _allowed(threads: Iterable[int]) -> Dict[int, Set[int]]:
    """Return the cores that every thread may run on, without threads that have ended."""
    found: Dict[int, Set[int]] = {}
    for thread in threads:
        with suppress(OSError):
            found[thread] = os.sched_getaffinity(thread)
    return found


def _place(allowed: Mapping[int, Set[int]], first_core: int) -> Set[int]:
    """Give every thread a core of its own while there are any. Returns the threads that have one."""
    placed = {thread for thread, cores in allowed.items() if len(cores) == 1}
    taken = {core for thread in placed for core in allowed[thread]}
    for thread, cores in allowed.items():
        free = [core for core in in_order(cores, first_core) if core not in taken]
        if thread not in placed and free:
            with suppress(OSError):
                os.sched_setaffinity(thread, free[:1])
                placed.add(thread)
                taken.add(free[0])
    return placed


def _siblings(core: int, processors: str) -> List[int]:
    """Return the logical cores of the same physical core, including ``core``."""
    siblings = {core}
    with suppress(OSError, ValueError), open(f"{processors}/cpu{core}/topology/thread_siblings_list") as listed:
        for part in listed.read().strip().split(","):
            first, _, last = part.partition("-")
            siblings.update(range(int(first), int(last or first) + 1))
    return sorted(siblings)
