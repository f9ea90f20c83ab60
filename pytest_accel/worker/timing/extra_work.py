"""A real slowdown of a known size, by which the self-test sees whether a slowdown is noticed.

Calls do more work, so whatever slows down the model slows down this work too. Nothing waits, and no time is multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, List, Sequence

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator, Arrays

#: _CALLS is the number of calls of either of two rounds that find the size of the work: roughly, and with about the
#: right length.
_CALLS = 15
#: _FIRST_ROUNDS is how many rounds of work the first calls do.
_FIRST_ROUNDS = 64


def add(accelerator: Accelerator, batches: Sequence[Any], share: float) -> int:
    """Let every later ``infer`` also do work that takes ``share`` of the call's time. Returns the rounds of work.

    The size is found once, for these staged batches. The work ends with the accelerator.
    """
    infer, rounds = accelerator.infer, _FIRST_ROUNDS
    for _ in range(2):
        call_ns, work_ns = _undisturbed(accelerator, batches, rounds)
        rounds = max(1, round(rounds * share * call_ns / work_ns))

    def longer(staged: Any) -> Arrays:
        outputs = infer(staged)
        accelerator.work(rounds)
        return outputs

    accelerator.infer = longer  # type: ignore[method-assign]
    return rounds


def _undisturbed(accelerator: Accelerator, batches: Sequence[Any], rounds: int) -> List[int]:
    """Return the fastest call and the fastest work right after a call, in nanoseconds.

    On a busy machine a median holds mostly the work of other processes: 5 % of it were 10 % of an undisturbed call.
    """
    clock = accelerator.clock
    times_ns = []
    for inputs in islice(cycle(batches), _CALLS):
        began = clock()
        accelerator.infer(inputs)
        accelerator.synchronize()
        called = clock()
        accelerator.work(rounds)
        times_ns.append((called - began, clock() - called))
    return [min(column) for column in zip(*times_ns)]


@dataclass(frozen=True)
class Ahead:
    """The fastest call, work of a known length, and call behind that work, in nanoseconds."""

    call_ns: int
    work_ns: int
    both_ns: int


def put_ahead(accelerator: Accelerator, batches: Sequence[Any], share: float) -> Ahead:
    """Time calls, and calls that have to wait for work that takes ``share`` of a call's time.

    Where a call returns before its results are there, or is not waited for, the work is missing in its time.
    """
    rounds = _FIRST_ROUNDS
    found = _ahead(accelerator, batches, rounds)
    for _ in range(2):
        rounds = max(1, round(rounds * share * found.call_ns / max(found.work_ns, 1)))
        found = _ahead(accelerator, batches, rounds)
    return found


def _ahead(accelerator: Accelerator, batches: Sequence[Any], rounds: int) -> Ahead:
    """Time the three in turn, as often as `_undisturbed` does and for its reason."""
    clock, times_ns = accelerator.clock, []
    for inputs in islice(cycle(batches), _CALLS):
        began = clock()
        accelerator.infer(inputs)
        accelerator.synchronize()
        called = clock()
        accelerator.work_ahead(rounds, wait=True)
        worked = clock()
        accelerator.work_ahead(rounds)
        accelerator.infer(inputs)
        accelerator.synchronize()
        times_ns.append((called - began, worked - called, clock() - worked))
    return Ahead(*(min(column) for column in zip(*times_ns)))
