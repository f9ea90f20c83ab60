"""How single calls are timed: warm-up to a steady state, then one call after the other.

Every time is read from the accelerator's clock, in nanoseconds. It is read after the accelerator has synchronised, so a
time ends when the result is visible to the host. Inputs were staged before. There are no statistics here beyond the
rule that ends the warm-up; the controller judges the times. Calls side by side are timed in
`pytest_accel.worker.timing.side_by_side`.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from math import sqrt
from statistics import median
from typing import TYPE_CHECKING, Any, Deque, Dict, Iterable, Iterator, List, Sequence

import numpy as np

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator, Arrays

#: _WINDOWS is the number of windows whose medians are compared.
_WINDOWS = 3
#: _TOLERANCE is the drift between medians, as a share of the lowest, that is never worth more warming up.
_TOLERANCE = 0.02
#: _STILL_S is the number of seconds of calls after which a clock that shows no other time stands still.
_STILL_S = 1.0
#: _SLOWEST_CLOCK is how many times as long as its limit a warm-up may last, where the clock of a device is a slow one.
_SLOWEST_CLOCK = 10.0


@dataclass(frozen=True)
class WarmUpCalls:
    """The calls of a warm-up. ``calls`` and ``seconds`` include the first inference."""

    first_inference_ns: int
    calls: int
    seconds: float
    steady: bool


@dataclass(frozen=True)
class KeptCall:
    """The outputs of one timed call that were kept, and the number of the staged batch that the call had."""

    batch: int
    outputs: Arrays


@dataclass(frozen=True)
class CallTimes:
    """The times of calls in order. ``wall_ns`` is the time from the first call's start to the last call's end.

    ``waits_ns`` is the part of each latency before the call was made; empty where no call has to wait.
    """

    latencies_ns: List[int]
    wall_ns: int
    checked: List[KeptCall]
    waits_ns: List[int] = field(default_factory=list)


def warm_up(
    accelerator: Accelerator, staged: Sequence[Any], *, min_calls: int, min_s: float, max_s: float, window: int
) -> WarmUpCalls:
    """Call until the latency is steady and both minima are met, or until ``max_s`` has passed.

    At least one call is made. Raises `RuntimeError` where the accelerator's clock stands still.
    """
    clock = accelerator.clock
    began_s = time.monotonic()
    latencies_ns: List[int] = []
    steady = False
    accelerator.synchronize()
    begin = clock()
    for inputs in cycle(staged):
        start = clock()
        accelerator.infer(inputs)
        accelerator.synchronize()
        stop = clock()
        latencies_ns.append(stop - start)
        calls, seconds = len(latencies_ns), (stop - begin) / 1e9
        if calls % window == 0:
            steady = is_steady(latencies_ns, window)
        if seconds >= max_s or (steady and calls >= min_calls and seconds >= min_s):
            break
        spent_s = time.monotonic() - began_s
        if spent_s > _STILL_S and stop <= begin:
            raise RuntimeError(
                f"the accelerator's clock stood still for {calls} calls, which took {spent_s:.1f} s: "
                "its `clock` has to return nanoseconds that go on"
            )
        if spent_s > _SLOWEST_CLOCK * max_s:
            break
    return WarmUpCalls(latencies_ns[0], calls, seconds, steady)


def is_steady(latencies_ns: Sequence[int], window: int) -> bool:
    """Return whether the medians of the last three windows of calls are about the same.

    They are when they differ by at most 2 %, or by no more than three standard errors of such a median.
    """
    if len(latencies_ns) < _WINDOWS * window:
        return False
    recent = latencies_ns[-_WINDOWS * window :]
    windows = [recent[at : at + window] for at in range(0, len(recent), window)]
    medians = [median(calls) for calls in windows]
    # A median of n calls has a standard error of 1.25 sigma / sqrt(n), and the median deviation is 0.67 sigma.
    errors = [1.25 * median(abs(call - middle) for call in calls) / 0.67 for calls, middle in zip(windows, medians)]
    allowed = max(_TOLERANCE * min(medians), 3 * median(errors) / sqrt(window))
    return max(medians) - min(medians) <= allowed


def single_stream(accelerator: Accelerator, staged: Sequence[Any], calls: int, checks: int) -> CallTimes:
    """Time ``calls`` calls one after the other, each until its result is visible; keep ``checks`` calls' outputs."""
    kept: Dict[int, Arrays] = {position: {} for position in spread(calls, checks)}
    accelerator.synchronize()
    gc.collect()
    with without_garbage_collection():
        begin = accelerator.clock()
        latencies_ns = _time_each(accelerator, islice(cycle(staged), calls), calls, kept)
        wall_ns = accelerator.clock() - begin
    return CallTimes(latencies_ns, wall_ns, checked(kept, len(staged)))


def time_block(accelerator: Accelerator, staged: Sequence[Any], calls: int, settle: int) -> List[int]:
    """Time one turn of a duet: ``settle`` calls are made first and not timed, to fill the caches again."""
    turns = cycle(staged)
    for inputs in islice(turns, settle):
        accelerator.infer(inputs)
    accelerator.synchronize()
    with without_garbage_collection():
        return _time_each(accelerator, islice(turns, calls), calls, {})


def _time_each(accelerator: Accelerator, turns: Iterable[Any], calls: int, kept: Dict[int, Arrays]) -> List[int]:
    """Time one call after the other, and keep the outputs of the calls whose positions are in ``kept``."""
    clock, infer, synchronize = accelerator.clock, accelerator.infer, accelerator.synchronize
    latencies_ns = [0] * calls
    for position, inputs in enumerate(turns):
        start = clock()
        outputs = infer(inputs)
        synchronize()
        latencies_ns[position] = clock() - start
        if position in kept:
            kept[position] = copied(outputs)
        del outputs  # freed here and not within the next call's time
    return latencies_ns


def offline(accelerator: Accelerator, staged: Sequence[Any], calls: int, checks: int) -> CallTimes:
    """Keep as many calls in flight as one thread can, and await the rest at the end: the load shape for throughput.

    ``latencies_ns`` are the times from the end of one call to the end of the next. The last of them ends with the
    synchronisation, so that they add up to ``wall_ns``. Of an asynchronous device only the sum says something.
    """
    clock, begin, in_flight = accelerator.clock, accelerator.begin, accelerator.in_flight
    ended_ns = [0] * (calls + 1)
    kept: Dict[int, Arrays] = {position: {} for position in spread(calls, checks)}
    begun: Deque[Any] = deque()

    def finish(position: int) -> None:
        outputs = accelerator.finish(begun.popleft())
        if position in kept:
            kept[position] = copied(outputs)
        ended_ns[position + 1] = clock()

    _fill_once(accelerator, staged)
    accelerator.synchronize()
    gc.collect()
    with without_garbage_collection():
        ended_ns[0] = clock()
        for position, inputs in enumerate(islice(cycle(staged), calls)):
            begun.append(begin(inputs))
            if len(begun) == in_flight:
                finish(position + 1 - in_flight)
        while begun:
            finish(calls - len(begun))
        accelerator.synchronize()
        ended_ns[calls] = clock()
    latencies_ns = [stop - start for start, stop in zip(ended_ns, ended_ns[1:])]
    return CallTimes(latencies_ns, ended_ns[calls] - ended_ns[0], checked(kept, len(staged)))


def _fill_once(accelerator: Accelerator, staged: Sequence[Any]) -> None:
    """Have as many calls in flight as there will be, where there are several: each has memory of its own to make."""
    if accelerator.in_flight > 1:
        for begun in [accelerator.begin(staged[0]) for _ in range(accelerator.in_flight)]:
            accelerator.finish(begun)


def spread(calls: int, checks: int) -> List[int]:
    """Return the positions of the calls to keep: evenly spread, and the last call is one of them."""
    checks = min(checks, calls)
    return [(nth + 1) * calls // checks - 1 for nth in range(checks)]


def copied(outputs: Arrays) -> Arrays:
    """Copy the outputs, because an accelerator may write those of the next call into the same memory."""
    return {name: np.array(array) for name, array in outputs.items()}


def checked(kept: Dict[int, Arrays], batches: int) -> List[KeptCall]:
    """Return the kept outputs, together with the number of the batch of their call."""
    return [KeptCall(position % batches, outputs) for position, outputs in kept.items()]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep the collector from running inside a timed call."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
