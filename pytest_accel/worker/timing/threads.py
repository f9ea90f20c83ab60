"""Where the threads of this process run: while a turn of a duet is timed, the busiest have a core each.

Beside a process that keeps one of two cores busy, the scheduler may leave both threads of a call on one core. Calls of
3.4 ms then take 14.4 instead of 7.4, on that side only and often for as long as the process lives, which looks like a
slower model: beside two such processes that came and went, 16 of 60 launches of the same artefact were more than a
tenth off, and none of 70 with threads held apart.

What a thread on a core of its own still waits for is others' work. That adds to both sides and so hides a difference:
5 % of 3.4 ms are 2.3 % of 7.4. So each turn tells how much of it was such waiting.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set


class Spent(NamedTuple):
    """How long a thread ran on a core, and how long it waited for one with work to do."""

    running_ns: int
    waiting_ns: int

    def since(self, before: Optional[Spent]) -> Spent:
        """What was spent after that; all of it by a thread that was not there."""
        return Spent(self[0] - before[0], self[1] - before[1]) if before else self


@dataclass
class Turn:
    """One turn, once it has ended: ``cores_taken`` is how many of its cores others had, on average over its time."""

    cores_taken: float = 0.0


class Threads:
    """The threads of this process, as far as the kernel lets them be told apart and placed; elsewhere all is left."""

    def __init__(self) -> None:
        self._last: Mapping[int, Spent] = {}

    @contextmanager
    def apart(self, first_core: int = 0) -> Iterator[Turn]:
        """Keep the threads that ran longest in the turn before on a core each, for the length of the block.

        The cores are those from the ``first_core``-th on: the same in every process that is told so, which gives both
        sides of a duet the same neighbours. A thread that an SDK has bound to a core stays there, and threads that are
        more than the cores stay the scheduler's.
        """
        began, began_ns, turn = spent(), time.perf_counter_ns(), Turn()
        allowed = _allowed(_busiest(self._last or began))
        placed = _place(allowed, first_core)
        try:
            yield turn
        finally:
            for thread in placed:
                with suppress(OSError):  # it may have ended
                    os.sched_setaffinity(thread, allowed[thread])
        self._last = {thread: time_spent.since(began.get(thread)) for thread, time_spent in spent().items()}
        turn.cores_taken = taken_ns(self._last, placed) / (time.perf_counter_ns() - began_ns)


def spent(tasks: str = "/proc/self/task") -> Dict[int, Spent]:
    """What each thread of this process has spent so far; empty where the kernel does not tell."""
    found: Dict[int, Spent] = {}
    with suppress(OSError):
        for thread in os.listdir(tasks):
            with suppress(OSError, ValueError), open(f"{tasks}/{thread}/schedstat") as schedstat:
                running_ns, waiting_ns, _ = schedstat.read().split()
                found[int(thread)] = Spent(int(running_ns), int(waiting_ns))
    return found


def in_order(cores: Iterable[int], first: int = 0, processors: str = "/sys/devices/system/cpu") -> List[int]:
    """Logical cores in the order in which threads get them: a second one of a physical core after all the first.

    The order is a round that begins at its ``first``-th.
    """
    ordered = sorted(cores, key=lambda core: (_siblings(core, processors).index(core), core))
    begin = first % max(len(ordered), 1)
    return ordered[begin:] + ordered[:begin]


def taken_ns(turn: Mapping[int, Spent], placed: Set[int]) -> int:
    """What the placed threads waited for, less what may have been other threads of this process."""
    waiting_ns = sum(turn[thread].waiting_ns for thread in placed & turn.keys())
    return max(0, waiting_ns - sum(turn[thread].running_ns for thread in turn.keys() - placed))


def _busiest(turn: Mapping[int, Spent]) -> List[int]:
    """The threads that ran at all, the longest first."""
    return sorted((thread for thread in turn if turn[thread].running_ns), key=turn.__getitem__, reverse=True)


def _allowed(threads: Iterable[int]) -> Dict[int, Set[int]]:
    """The cores that each may run on; without those that ended."""
    found: Dict[int, Set[int]] = {}
    for thread in threads:
        with suppress(OSError):
            found[thread] = os.sched_getaffinity(thread)
    return found


def _place(allowed: Mapping[int, Set[int]], first_core: int) -> Set[int]:
    """Give each thread a core of its own, as far as there are any; those that have one, by an SDK's choice or ours."""
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
    """The logical cores of the same physical one, itself among them."""
    siblings = {core}
    with suppress(OSError, ValueError), open(f"{processors}/cpu{core}/topology/thread_siblings_list") as listed:
        for part in listed.read().strip().split(","):
            first, _, last = part.partition("-")
            siblings.update(range(int(first), int(last or first) + 1))
    return sorted(siblings)
