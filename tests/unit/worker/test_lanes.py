from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_accel.worker.lanes import Lanes


def in_a_thread(function: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def numbered() -> Lanes[int]:
    numbers = iter(range(100))
    return Lanes(lambda: next(numbers))


def used(lanes: Lanes[int]) -> int:
    lane = lanes.take()
    lanes.give_back(lane)
    return lane


def test_one_call_after_the_other_needs_one_lane() -> None:
    lanes = numbered()
    assert [used(lanes) for _ in range(3)] == [0, 0, 0]
    assert list(lanes) == [0]


def test_calls_of_one_thread_at_the_same_time_have_a_lane_each() -> None:
    lanes = numbered()
    first, second = lanes.take(), lanes.take()
    assert {first, second} == {0, 1}
    lanes.give_back(first)
    assert lanes.take() == first


def test_what_lies_in_an_idle_lane_is_safe_from_other_threads() -> None:
    lanes = numbered()
    assert used(lanes) == 0
    assert in_a_thread(lambda: used(lanes)) == 1


def test_the_lanes_of_a_thread_that_has_ended_are_used_again() -> None:
    lanes = numbered()
    used(lanes)
    assert [in_a_thread(lambda: used(lanes)) for _ in range(3)] == [1, 1, 1]
    assert list(lanes) == [0, 1]


def test_lanes_are_made_one_at_a_time() -> None:
    making, at_once, started = threading.Lock(), [], threading.Barrier(4)

    def make() -> int:
        at_once.append(not making.acquire(blocking=False))
        threading.Event().wait(0.01)
        making.release()
        return 0

    def take() -> int:
        started.wait()
        return lanes.take()

    lanes = Lanes(make)
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [False] * 4
