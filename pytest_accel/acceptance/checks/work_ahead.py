"""Work of a known length before a call, which the call has to wait for, must show in its latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.acceptance.finding import Broken, Finding
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.measuring.latency import warm_up

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: SHARE is the length of the work as a share of a call's time.
SHARE = 1.0
#: SHOWN is the least and the largest part of the work that may show; caches and clocks make both differ from one.
SHOWN = (0.7, 1.4)
#: _ATTEMPTS is how often it is tried. A busy machine delays a call, which then looks like more work than there was.
_ATTEMPTS = 3


def check_work_ahead(subject: Subject) -> Finding:
    """Hold where the latency grows by the length of the work."""
    with subject.alone():
        shown, call_ms = zip(*_attempts(subject), strict=True)
    best = min(shown, key=lambda share: abs(share - 1.0))
    numbers = {"call_ms": min(call_ms), "shown": best}
    if max(shown) < SHOWN[0]:
        raise Broken(f"{max(shown):.0%} of the work before a call shows in its latency: a call is not waited for")
    held = SHOWN[0] <= best <= SHOWN[1]
    return Finding(f"{best:.0%} of the work before a call shows", numbers, "held" if held else "inconclusive")


def _attempts(subject: Subject) -> list[tuple[float, float]]:
    """Return of each attempt the part of the work that showed, and the milliseconds of a call."""
    with subject.compiled_yardstick().load() as loaded:
        loaded.client.stage(synthetic(loaded.signature, 1))
        warm_up(loaded.client)
        subject.session.tell("putting work before calls")
        found = [loaded.client.put_work_ahead(SHARE) for _ in range(_ATTEMPTS)]
    return [((each.both_ns - each.call_ns) / max(each.work_ns, 1), each.call_ns / 1e6) for each in found]
