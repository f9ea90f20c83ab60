"""Signals to pytest in each phase, once and twice: nothing outlives the run, and what was finished is not lost."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import pytest

from pytest_accel.testing import FAKE
from tests.drills.drill import Drill, Ran

pytestmark = pytest.mark.drill

#: The phases in which the third test stops. Whoever stops says so through a pipe, and waits.
PHASES = ("compile", "load", "warm-up", "measure", "test", "teardown")
#: What is sent, one after the other.
SIGNALS = {
    "int": (signal.SIGINT,),
    "int-int": (signal.SIGINT, signal.SIGINT),
    "int-term": (signal.SIGINT, signal.SIGTERM),
    "term": (signal.SIGTERM,),
    "hup": (signal.SIGHUP,),
    "kill": (signal.SIGKILL,),
}
#: EVERYWHERE are those that are sent in every phase; the others are sent in one.
EVERYWHERE = ("int-int", "kill")
FAULTS = [
    (phase, name) for phase in PHASES for name in SIGNALS if name in EVERYWHERE or phase in ("measure", "teardown")
]
#: Between two of them pytest has begun to end, and has not ended.
BETWEEN_S = 0.2

STOPS = """
import os
import time


def stop(phase):
    if os.environ.get("STOPS_IN") == phase and os.path.exists("stopping"):
        with open("stopping", "w") as mark:
            mark.write(phase)
        while True:  # a signal that comes just before signal.pause() does not end it
            time.sleep(0.01)
"""
FAULTY = """
from pytest_accel.worker.accelerators.fake import FakeAccelerator
{stops}

class Faulty(FakeAccelerator):
    def _fail(self, phase):
        super()._fail(phase)
        stop({{"infer": {{2: "warm-up", 80: "measure"}}.get(self._calls[phase])}}.get(phase, phase))
"""
ACCELERATORS = f"""
def pytest_accel_accelerators():
    return {{"fake": {FAKE!r}, "faulty": "faulty:Faulty"}}
"""
TESTS = """
import pytest
{stops}

@pytest.mark.accelerator("fake", p50_ms=50)
@pytest.mark.parametrize("number", [1, 2])
def test_model(accel_model, number):
    accel_model(f"{{number}}.fake.json").check()


@pytest.mark.accelerator("faulty", p50_ms=50)
def test_model_3(accel_model):
    accel_model("3.fake.json").check()
    stop("test")


@pytest.fixture(autouse=True)
def ends(request):
    yield
    if "3" in request.node.name:
        stop("teardown")
"""


@pytest.fixture
def three(drill: Drill) -> Drill:
    """Three models, each of a test of its own; the third is the one that stops, on an accelerator of its own."""
    drill.write("faulty.py", FAULTY.format(stops=STOPS))
    drill.write("conftest.py", ACCELERATORS)
    drill.write("test_models.py", TESTS.format(stops=STOPS))
    for number in (1, 2, 3):
        drill.model(str(number))
    return drill


def interrupted(drill: Drill, phase: str, signals: tuple[signal.Signals, ...]) -> Ran:
    """Run until the third test is in this phase, and send the signals to pytest alone."""
    os.mkfifo(drill.folder / "stopping")
    stopping = os.open(drill.folder / "stopping", os.O_RDWR)
    try:
        with drill.running("--accel-report=run.json", starts=["faulty"], environment={"STOPS_IN": phase}) as run:
            assert select.select([stopping], [], [], 60)[0], f"the run never came to {phase}"
            for number, each in enumerate(signals):
                time.sleep(BETWEEN_S if number else 0)
                run.send_signal(each)
            ran = drill.end_of(run)
    finally:
        os.close(stopping)
    (drill.folder / "stopping").unlink()
    return ran


@pytest.mark.parametrize(("phase", "name"), FAULTS)
def test_signal(three: Drill, phase: str, name: str) -> None:
    signals = SIGNALS[name]
    ran = interrupted(three, phase, signals)
    assert ran.status not in (0, 1), f"{ran.status} looks like a run that came to its end:\n{ran.out}"
    assert "INTERNALERROR" not in ran.out
    three.answers["verdict"] = True
    following = three.nothing_lost(passed=3, args=("--accel-resume",))
    three.says(following, r"resumed: [23] results are from the run of .*, which was interrupted")
    if signals == (signal.SIGINT,) and phase != "teardown":
        assert "interrupted: --accel-resume measures only what is left" in ran.out
    three.nothing_left()
    assert list(Path(three.cache, "journals").rglob("*.jsonl")) == []


def test_exit_of_a_plugin(three: Drill) -> None:
    three.write("conftest.py", (three.folder / "conftest.py").read_text() + "import os\nimport pytest\n" + EXITS)
    ran = three.run(environment={"ENDS": "1"})
    three.verdict(ran, status=1, passed=2)
    three.says(ran, "interrupted: --accel-resume measures only what is left")
    assert "resumed: 2 results" in three.nothing_lost(passed=3, args=("--accel-resume",)).out
    three.nothing_left()


EXITS = """
def pytest_runtest_setup(item):
    if "3" in item.name and os.environ.get("ENDS"):
        pytest.exit("the device is gone", returncode=1)
"""


def test_terminal_closed(three: Drill) -> None:
    """A pipe that nobody reads any more, as after ``pytest | head``."""
    with three.running() as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.stdout.close()
        run.wait(90)
    three.answers["verdict"] = run.returncode != 0
    ran = three.nothing_lost(passed=3)
    three.says(ran, "no-baseline")
    three.nothing_left()
