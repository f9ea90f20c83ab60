"""What held the device back while calls were timed: heat, a power brake, others that compute on it.

A question asked once may fall between two of the times at which the device was slow. So whatever the device counts is
read before and after. What a device says of the moment is asked at the end, and of one that counts nothing also before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator

#: MATERIAL_SHARE is the share of the time that a cause has to hold the device back, below which the times are still the
#: model's own.
MATERIAL_SHARE = 0.05


class DeviceWatch:
    """Watches a device from its making on."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._at_first = accelerator.throttled()
        self._before_ns = accelerator.held_back_ns()

    def causes(self, wall_ns: float) -> str:
        """Return what held the device back meanwhile, clauses joined by semicolons; empty when nothing did.

        ``wall_ns`` is how long the calls took that were timed since the making.
        """
        counted = list(self._counted(wall_ns))
        at_first = "" if self._before_ns else self._at_first
        moment = self._accelerator.throttled() or at_first
        return "; ".join([*filter(None, [moment]), *counted])

    def _counted(self, wall_ns: float) -> Iterator[str]:
        for cause, ns in self._accelerator.held_back_ns().items():
            held_ns = ns - self._before_ns.get(cause, ns)
            if held_ns > 0 and held_ns >= MATERIAL_SHARE * wall_ns:
                yield f"the device was held back by {cause} for {held_ns / 1e9:.2g} s"
