"""A drill whose accelerators are on the boxes of the bed: a fault there costs the tests of that box, and no others."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.testing import FAKE
from tests.drills.drill import Drill, Ran

if TYPE_CHECKING:
    from tests.hosts.bed import Bed
    from tests.hosts.box import Box
    from tests.plugin.forked_runs import ForkedRun, RunServer

#: ON are the boxes of the accelerators that are not on this machine.
ON = {"far-gpu": "gpu-box", "far-inf": "inf-box"}
#: IDLE_S is the number of seconds after which nothing may run on a box that has lost its controller.
IDLE_S = 15.0
#: _COMES_S is the number of seconds within which a run comes to the phase that a fault waits for.
_COMES_S = 60.0

#: The phase in which the far accelerator stops is in a file of its box, so that the next run there does not.
FAULTY = """
import os
import time
from pytest_accel.worker.accelerators.fake import FakeAccelerator


def stop(phase):
    if os.path.exists(os.path.expanduser("~/stop-in-" + phase)):
        open(os.path.expanduser("~/stopping"), "w").close()
        while True:
            time.sleep(0.01)


class Faulty(FakeAccelerator):
    def _fail(self, phase):
        super()._fail(phase)
        stop({"infer": {2: "warm-up", 80: "measure"}.get(self._calls[phase])}.get(phase, phase) or "")
"""
ACCELERATORS = f"""
def pytest_accel_accelerators():
    return {{"fake": {FAKE!r}, "far-gpu": "faulty:Faulty", "far-inf": {FAKE!r}}}
"""
#: One test for each machine, and the one that a fault hits is the first.
TESTS = """
import pytest

@pytest.mark.accelerator("fake", p50_ms=50)
@pytest.mark.accelerator("far-inf", p50_ms=50)
@pytest.mark.accelerator("far-gpu", p50_ms=50)
def test_model(accel_model):
    accel_model("model.fake.json").check()
"""
#: A silence that a cut cable is known by, so short that a test can wait for it.
IMPATIENT = """
import pytest_accel.processes.host

pytest_accel.processes.host._BEAT_EVERY_S = 0.5
pytest_accel.processes.host.SILENCE_S = 5.0
"""


class FarDrill(Drill):
    """A drill with one test for each machine, of which two are boxes."""

    def __init__(self, folder: Path, server: RunServer, bed: Bed) -> None:
        super().__init__(folder, server)
        self.bed = bed
        #: Whether the run may have processes of pytest-xdist's.
        self.processes_at_once = False
        self.environment["PATH"] = bed.path
        self.write("faulty.py", FAULTY)
        self.write("conftest.py", ACCELERATORS + IMPATIENT)
        self.write("test_models.py", TESTS)
        self.write("pytest.ini", "[pytest]\naccel_host =\n" + "".join(f"    {line}\n" for line in self.hosts()))

    def hosts(self) -> Iterator[str]:
        """Yield what ``accel_host`` says of each accelerator that is not here."""
        for accelerator, name in ON.items():
            box = self.bed.boxes[name]
            yield f"{accelerator}=ssh={box.ssh}//python={box.python}"

    def arguments(self, *args: str) -> list[str]:
        """Return the arguments of a run."""
        found = super().arguments(*args)
        return [each for each in found if "xdist" not in each] if self.processes_at_once else found

    @contextmanager
    def stopped_in(self, phase: str, box: Box, *args: str) -> Iterator[ForkedRun | subprocess.Popen[str]]:
        """Have a run that has stopped in this phase on a box, and goes no further; later runs do not stop there."""
        order = box.home / f"stop-in-{phase}"
        order.touch()
        with self.running(*args) as run:
            await_(box.home.joinpath("stopping").exists, f"the run never came to {phase} on {box.name}", run)
            order.unlink()
            yield run

    def fails_on(self, ran: Ran, box: Box, words: str, **outcomes: int) -> None:
        """Judge a run that has failed on this box alone: its test says so, with the box and these words."""
        self.verdict(ran, **(outcomes or {"failed": 1, "passed": 2}))
        self.says(ran, rf"{re.escape(box.ssh)}.*({words})")

    def nothing_left(self, *ignored: str) -> None:
        """Is the same true of this machine, and are all boxes idle, without files of a worker and unlocked?"""
        super().nothing_left(*ignored)
        self.boxes_are_left()

    def boxes_are_left(self) -> None:
        """Are all boxes idle, without files of a worker and unlocked? Of this machine nothing is said."""
        for box in self.bed.boxes.values():
            box.await_idle(IDLE_S)
            left = [path.name for path in box.path("/tmp").glob("pytest-accel-host-*/*")]
            assert left == [], f"temporary files are left on {box.name}"
            assert held_locks(box) == []


def held_locks(box: Box) -> Sequence[str]:
    """Return the lock files of a box that somebody there holds."""
    here = {_listed_as(file.stat()) for file in box.path("/tmp").rglob("*.lock")}
    listed = Path("/proc/locks").read_text(encoding="utf-8")
    return [line for line in listed.splitlines() if not here.isdisjoint(line.split())]


def _listed_as(file: os.stat_result) -> str:
    """Return how the kernel lists a file: disks of two boxes have files of one number."""
    return f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"


def await_(happened: Callable[[], bool], otherwise: str, run: ForkedRun | subprocess.Popen[str] | None = None) -> None:
    """Return once something has happened; fail with what the run has printed where it does not."""
    until = time.monotonic() + _COMES_S
    while not happened():
        ended = isinstance(run, subprocess.Popen) and run.poll() is not None
        if ended or time.monotonic() > until:
            printed = ""
            if run is not None:
                run.kill()
                printed = run.communicate()[0]
            raise AssertionError(f"{otherwise}:\n{printed}")
        time.sleep(0.02)
