"""Calls side by side: several streams at once, or a server that calls arrive at whether or not it is ready for them.

One schedule for both: calls come to a door in the order of their arrival, and whichever lane is free takes the next.
A lane is a thread, or, for an accelerator whose time is pretended, a place in a simulation: the accelerator's
`side_by_side` decides. Calls one after the other are timed in `pytest_accel.worker.timing.single_calls`.
"""

from __future__ import annotations

import gc
import random
from threading import Lock
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from pytest_accel.worker.timing.single_calls import CallTimes, checked, copied, spread, without_garbage_collection

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator, Arrays


def multi_stream(
    accelerator: Accelerator, staged: Sequence[Any], calls: int, checks: int, *, concurrency: int
) -> CallTimes:
    """Keep ``concurrency`` calls in flight: a lane makes its next call once the result of its last one is visible."""
    door = _Door(accelerator, staged, [0] * calls, checks)
    door.open(concurrency)
    latencies_ns = [finish - start for start, finish in zip(door.started_ns, door.finished_ns)]
    return CallTimes(latencies_ns, max(door.finished_ns) - min(door.started_ns), checked(door.kept, len(staged)))


def server(
    accelerator: Accelerator,
    staged: Sequence[Any],
    calls: int,
    checks: int,
    *,
    concurrency: int,
    rate: float,
    seed: int,
) -> CallTimes:
    """Serve calls that arrive at random, ``rate`` a second on average, with ``concurrency`` lanes.

    A latency runs from the scheduled arrival to the visible result, so that it includes the wait for a free lane, and
    ``wall_ns`` from the moment the first call could have arrived.
    """
    arrivals_ns = poisson_arrivals_ns(calls, rate, seed)
    door = _Door(accelerator, staged, arrivals_ns, checks)
    door.open(concurrency)
    arrived_ns = [door.opened_ns + arrival for arrival in arrivals_ns]
    return CallTimes(
        latencies_ns=[finish - arrival for arrival, finish in zip(arrived_ns, door.finished_ns)],
        wall_ns=max(door.finished_ns) - door.opened_ns,
        checked=checked(door.kept, len(staged)),
        waits_ns=[start - arrival for arrival, start in zip(arrived_ns, door.started_ns)],
    )


def poisson_arrivals_ns(calls: int, rate: float, seed: int) -> List[int]:
    """When each call arrives, as a Poisson process of ``rate`` calls a second; the same ones for the same seed."""
    gaps = random.Random(seed)
    arrivals_ns, now_ns = [], 0.0
    for _ in range(calls):
        now_ns += gaps.expovariate(rate) * 1e9
        arrivals_ns.append(round(now_ns))
    return arrivals_ns


class _Door:
    """Where calls line up. ``started_ns`` and ``finished_ns`` are times of the accelerator's clock, by call."""

    def __init__(
        self, accelerator: Accelerator, staged: Sequence[Any], arrivals_ns: Sequence[int], checks: int
    ) -> None:
        self._accelerator = accelerator
        self._staged = staged
        self._arrivals_ns = arrivals_ns
        self._next = iter(range(len(arrivals_ns)))
        self._lock = Lock()
        self.opened_ns = 0
        self.started_ns = [0] * len(arrivals_ns)
        self.finished_ns = [0] * len(arrivals_ns)
        self.kept: Dict[int, Arrays] = {position: {} for position in spread(len(arrivals_ns), checks)}

    def open(self, lanes: int) -> None:
        """Serve all calls in this many lanes."""
        self._accelerator.synchronize()
        gc.collect()
        with without_garbage_collection():
            self.opened_ns = self._accelerator.clock()
            self._accelerator.side_by_side(lanes, self._serve_next)

    def _serve_next(self) -> bool:
        """One lane's turn: take the next call and make it; False when none is left."""
        accelerator = self._accelerator
        with self._lock:  # only the first lane in the line waits for an arrival, so calls start in their order
            position = next(self._next, None)
            if position is None:
                return False
            accelerator.wait_until(self.opened_ns + self._arrivals_ns[position])
        inputs = self._staged[position % len(self._staged)]
        self.started_ns[position] = accelerator.clock()
        outputs = accelerator.infer(inputs)
        accelerator.synchronize()
        self.finished_ns[position] = accelerator.clock()
        if position in self.kept:
            self.kept[position] = copied(outputs)
        return True
