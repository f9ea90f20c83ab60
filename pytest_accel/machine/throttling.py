"""What a machine itself held a measurement back with: the CPU quota, heat, a changing clock.

Seen from what Linux counts, before and after. A machine that tells nothing, such as most virtual ones, is believed.
What other processes used of the machine is in `conditions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel.machine.here import HERE

if TYPE_CHECKING:
    from pytest_accel.machine.here import Ask
    from pytest_accel.worker.wire import Plain

#: MATERIAL_PERIODS is the share of the quota's periods in which the process was stopped, below which the times are
#: still the model's own.
MATERIAL_PERIODS = 0.05
#: MATERIAL_CLOCK is the change, as a share, of the fastest core's clock that is more than its usual wandering.
MATERIAL_CLOCK = 0.10


class Throttling:
    """Watches one machine from its making on."""

    def __init__(self, ask: Ask = HERE) -> None:
        self._ask = ask
        self._before = ask("held_back")

    def causes(self) -> str:
        """Return what held the workers back since the start, clauses joined by semicolons; empty when nothing did."""
        return "; ".join(_between(self._before, self._ask("held_back")))


def _between(before: Plain, after: Plain) -> Iterator[str]:
    for group, (periods, stops) in after["periods"].items():
        periods_before, stops_before = before["periods"].get(group, (0, 0))
        passed, stopped = periods - periods_before, stops - stops_before
        if passed > 0 and stopped / passed >= MATERIAL_PERIODS:
            yield f"the CPU quota was used up in {stopped} of {passed} periods"
    if (times := after["too_hot"] - before["too_hot"]) > 0:
        yield f"the processor was too hot {times} times"
    earlier_ghz, ghz = before["clock_ghz"], after["clock_ghz"]
    if earlier_ghz and abs(ghz / earlier_ghz - 1.0) >= MATERIAL_CLOCK:
        yield f"the processor's clock went from {earlier_ghz:.2f} to {ghz:.2f} GHz"
