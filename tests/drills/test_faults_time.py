"""Time that jumps or stands: the device's clock, the machine's, and that of files."""

from __future__ import annotations

import os
import time

import pytest

from tests.drills.drill import TAIL_TESTS, Drill

pytestmark = pytest.mark.drill

FAULTY = """
from pytest_accel.worker.accelerators.fake import FakeAccelerator


class Faulty(FakeAccelerator):
    def infer(self, staged):
        outputs = super().infer(staged)
        if self._script.device == "broken" and self._calls["infer"] >= {from_call}:
            self._time.turn_to({to_ns})
        return outputs
"""
#: What the device's clock shows from a call of the warm-up or of the timed ones on; ``_time()`` is what it would show.
CLOCKS = {
    "stands-from-the-start": (1, "0"),
    "stands-while-timed": (500, "10**9"),
    "goes-back-once": (600, "self._time() - (10**9 if self._calls['infer'] == 600 else 0)"),
    "goes-back-always": (500, "self._time() - 2 * 10**6"),
    "jumps-ahead-once": (600, "self._time() + (3600 * 10**9 if self._calls['infer'] == 600 else 0)"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_clock_of_the_device(drill: Drill, clock: str) -> None:
    from_call, to_ns = CLOCKS[clock]
    drill.accelerator(FAULTY.format(from_call=from_call, to_ns=to_ns))
    drill.write("test_models.py", TAIL_TESTS)
    drill.model("broken", device="broken", latency_ms=1.0)
    began_s = time.monotonic()
    ran = drill.run()
    assert time.monotonic() - began_s < 30, "a clock held the run"
    if clock == "jumps-ahead-once":  # one call of an hour is slow, and its percentile is not
        assert ran.outcomes.get("passed", 0) >= 1, ran.out
        drill.verdict(ran, **ran.ends)
        drill.says(ran, r"broken\[fake\]|not-measured|inconclusive")
    else:
        drill.verdict(ran, failed=1, passed=1)
        drill.says(ran, r"the accelerator's (`clock` has to go on|clock stood still .* its `clock` has to return)")
    drill.nothing_left()
    drill.nothing_lost_in(ran)


JUMPS = """
import time
import pytest

_real = time.time

@pytest.fixture(autouse=True)
def jump(request, monkeypatch):
    shift = {shift}
    monkeypatch.setattr(time, "time", lambda: _real() + shift)
    yield
"""


@pytest.mark.parametrize("shift", [-(10**9), 10**9])
def test_clock_of_the_machine(drill: Drill, shift: int) -> None:
    """The wall clock is set while the run goes on: deadlines, locks and waits depend on another one."""
    drill.write("conftest.py", (drill.folder / "conftest.py").read_text() + JUMPS.format(shift=shift))
    ran = drill.run("-k", "sound")
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, "no-baseline")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@pytest.mark.parametrize("moment_s", [0.0, 2.0**40])
def test_times_of_files(drill: Drill, moment_s: float) -> None:
    """Files of the cache are from 1970, or from a far future, as after a flat battery."""
    drill.run("-k", "sound")
    for path in [drill.cache, *drill.cache.rglob("*")]:
        os.utime(path, (moment_s, moment_s))
    ran = drill.run("-k", "sound")
    drill.verdict(ran, status=0, passed=1)
    listing = drill.command_line("cache", "list", "--cache-dir", str(drill.cache))
    assert listing.status == 0, listing.out
    drill.says(ran, "no-baseline")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))
