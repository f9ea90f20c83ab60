"""A real slowdown of a known size: what the self-test gives an accelerator, to see that it is noticed.

Nothing here waits or multiplies a number: calls do more work, and whatever slows the model slows that work too.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, List, Sequence

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator, Arrays

#: Calls that the work is sized by, twice: first roughly, then with work of about the right length.
_CALLS = 15
_FIRST_ROUNDS = 64


def add(accelerator: Accelerator, batches: Sequence[Any], share: float) -> int:
    """From now on each ``infer`` also does work that takes ``share`` of its time. Returns the rounds of work in a call.

    Sized once, for these staged batches; ends with the accelerator.
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
    """The fastest call and the fastest work right behind one, while the call's threads still spin; in nanoseconds.

    On a busy machine medians are mostly others' work: 5 % of those were 10 % of a call left alone.
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
