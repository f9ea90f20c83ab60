from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_accel.worker.timing.threads import Spent, Threads, in_order, spent, taken_ns

CORES = in_order(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
kernel_tells = pytest.mark.skipif(not spent(), reason="this kernel does not tell how long each thread has run")
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="one core leaves no choice")


class Worker(threading.Thread):
    """A thread that works when it is told to."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.begin, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self.done.acquire()

    def run(self) -> None:
        while True:
            self.done.release()
            self.begin.acquire()
            enough_ns = spent()[self.number].running_ns + 20_000_000
            while spent()[self.number].running_ns < enough_ns:
                sum(range(1000))

    @property
    def number(self) -> int:
        assert self.native_id is not None
        return self.native_id

    @property
    def cores(self) -> list[int]:
        return in_order(os.sched_getaffinity(self.number))

    def work(self) -> None:
        """20 ms of it."""
        self.begin.release()
        self.done.acquire()

    def rest(self) -> None:
        """Wait until it sleeps: the last steps after its work are short, and yet a run in whatever turn they fall into.

        A thread that waits for the interpreter's lock looks asleep too, but not for 10 ms in which nobody holds it.
        """
        while True:
            before = spent()[self.number]
            time.sleep(0.01)
            if self.state == "S" and spent()[self.number] == before:
                return

    @property
    def state(self) -> str:
        """As in ``ps``: ``S`` sleeps, ``R`` runs or waits for a core."""
        return Path(f"/proc/self/task/{self.number}/stat").read_text().rpartition(") ")[2][0]


def after_a_turn_of(*workers: Worker) -> Threads:
    threads = Threads()
    with threads.apart():
        for worker in workers:
            worker.work()
    for worker in workers:
        worker.rest()
    return threads


@kernel_tells
@two_cores
@pytest.mark.parametrize("first", [0, 1, len(CORES) + 1])
def test_threads_that_ran_have_a_core_each_and_are_free_afterwards(first: int) -> None:
    one, two = Worker(), Worker()
    with after_a_turn_of(one, two).apart(first):
        assert sorted([one.cores, two.cores]) == sorted([core] for core in in_order(CORES, first)[:2])
    assert one.cores == two.cores == CORES


@kernel_tells
@two_cores
def test_they_are_free_after_a_call_that_failed_too() -> None:
    worker = Worker()
    with contextlib.suppress(ZeroDivisionError), after_a_turn_of(worker).apart():
        assert len(worker.cores) == 1
        _ = 1 / 0
    assert worker.cores == CORES


@kernel_tells
@two_cores
def test_threads_that_did_not_run_in_the_turn_before_are_left_alone() -> None:
    threads = after_a_turn_of(Worker())
    with threads.apart():
        pass
    with threads.apart():
        others = spent().keys() - {threading.get_native_id()}
        assert [in_order(os.sched_getaffinity(thread)) for thread in others] == [CORES] * len(others)


@kernel_tells
@two_cores
def test_a_thread_that_was_bound_to_a_core_keeps_it_for_itself() -> None:
    bound, free = Worker(), Worker()
    os.sched_setaffinity(bound.number, CORES[:1])
    with after_a_turn_of(bound, free).apart():
        assert (bound.cores, free.cores) == (CORES[:1], CORES[1:2])
    assert (bound.cores, free.cores) == (CORES[:1], CORES)


@kernel_tells
@two_cores
def test_threads_that_are_more_than_the_cores_stay_the_schedulers() -> None:
    workers = [Worker() for _ in range(len(CORES) + 1)]
    with after_a_turn_of(*workers).apart():
        assert sorted(len(worker.cores) for worker in workers) == [1] * len(CORES) + [len(CORES)]


@kernel_tells
def test_a_core_that_another_process_wants_too_is_taken_in_part() -> None:
    worker = Worker()
    os.sched_setaffinity(worker.number, CORES[:1])
    threads = after_a_turn_of(worker)
    with _neighbour_on(CORES[0]), threads.apart() as turn:
        for _ in range(5):
            worker.work()
    assert 0.2 < turn.cores_taken < 1.0


@contextmanager
def _neighbour_on(core: int) -> Iterator[None]:
    """A process that has always something to do there."""
    code = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        yield
        neighbour.kill()


@pytest.mark.parametrize(
    ("turn", "taken"),
    [
        ({}, 0),
        ({1: Spent(9, 0), 2: Spent(7, 0)}, 0),
        ({1: Spent(9, 3), 2: Spent(7, 2)}, 5),
        ({1: Spent(9, 3), 2: Spent(7, 2), 3: Spent(4, 0)}, 1),
        ({1: Spent(9, 3), 2: Spent(7, 2), 3: Spent(8, 9)}, 0),
    ],
    ids=["nothing known", "none waited", "both waited", "partly for a thread of ours", "for a thread of ours"],
)
def test_waiting_for_threads_of_the_same_process_takes_no_core(turn: dict[int, Spent], taken: int) -> None:
    assert taken_ns(turn, placed={1, 2}) == taken


@pytest.mark.parametrize(
    ("siblings", "expected"),
    [
        (["0,2", "1,3", "0,2", "1,3"], [0, 1, 2, 3]),
        (["0-1", "0-1", "2-3", "2-3"], [0, 2, 1, 3]),
        (["0", "1", "2", "3"], [0, 1, 2, 3]),
        ([], [0, 1, 2, 3]),
    ],
)
def test_second_threads_of_a_core_come_last(tmp_path: Path, siblings: list[str], expected: list[int]) -> None:
    for core, listed in enumerate(siblings):
        topology = tmp_path / f"cpu{core}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{listed}\n")
    assert in_order({0, 1, 2, 3}, processors=str(tmp_path)) == expected
    assert in_order({0, 1, 2, 3}, 5, str(tmp_path)) == [*expected[1:], expected[0]]


def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path) -> None:
    for thread, told in {"17": "5 7 2\n", "18": "", "19": "5\n"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(told)
    (tmp_path / "20").mkdir()
    assert spent(str(tmp_path)) == {17: (5, 7)}
    assert spent(str(tmp_path / "missing")) == {}
