"""Calls side by side: several streams at once, or a server where calls arrive even when it is busy.

Both have one schedule: calls queue in the order of arrival, and the next free lane takes the first of them. A lane is a
thread, or a simulated one where the accelerator's clock is simulated: `side_by_side` of the accelerator decides.
`pytest_accel.worker.timing.single_calls` times calls one after the other.
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
    """Keep ``concurrency`` calls in flight: a lane makes the next call once the result of the last one is visible."""
    queue = _Queue(accelerator, staged, [0] * calls, checks)
    queue.serve(concurrency)
    latencies_ns = [finish - start for start, finish in zip(queue.started_ns, queue.finished_ns)]
    return CallTimes(latencies_ns, max(queue.finished_ns) - min(queue.started_ns), checked(queue.kept, len(staged)))


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
    queue = _Queue(accelerator, staged, arrivals_ns, checks)
    queue.serve(concurrency)
    arrived_ns = [queue.opened_ns + arrival for arrival in arrivals_ns]
    return CallTimes(
        latencies_ns=[finish - arrival for arrival, finish in zip(arrived_ns, queue.finished_ns)],
        wall_ns=max(queue.finished_ns) - queue.opened_ns,
        checked=checked(queue.kept, len(staged)),
        waits_ns=[start - arrival for arrival, start in zip(arrived_ns, queue.started_ns)],
    )


def poisson_arrivals_ns(calls: int, rate: float, seed: int) -> List[int]:
    """Return when calls arrive by a Poisson process of ``rate`` calls a second. The same seed gives the same times."""
    gaps = random.Random(seed)
    arrivals_ns, time_ns = [], 0.0
    for _ in range(calls):
        time_ns += gaps.expovariate(rate) * 1e9
        arrivals_ns.append(round(time_ns))
    return arrivals_ns


class _Queue:
    """The calls that wait for a lane. ``started_ns`` and ``finished_ns`` are read from the accelerator's clock."""

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

    def serve(self, lanes: int) -> None:
        """Serve all calls in this many lanes. Before that each lane makes one call more, which is not timed."""
        self._accelerator.open_lanes(lanes, self._call_untimed)
        self._accelerator.synchronize()
        gc.collect()
        with without_garbage_collection():
            self.opened_ns = self._accelerator.clock()
            self._accelerator.side_by_side(lanes, self._serve_next)

    def _call_untimed(self) -> None:
        self._accelerator.infer(self._staged[0])
        self._accelerator.synchronize()

    def _serve_next(self) -> bool:
        """Take the next call and make it in this lane. Returns False when no call is left."""
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
