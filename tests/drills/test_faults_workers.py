"""Each phase of a worker's life, times ways to die in it: one test is red and says why, its neighbour is as ever."""

from __future__ import annotations

import json

import pytest

from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.drills.drill import Drill

pytestmark = pytest.mark.drill

#: PHASES has what the accelerator is asked for in each, and which time it fails: in the middle of the timed calls.
PHASES = {
    "probe": ("probe", 1),
    "compile": ("compile", 1),
    "load": ("load", 1),
    "stage": ("stage", 1),
    "warm-up": ("infer", 2),
    "measure": ("infer", 80),
}
FAULTY = """
import ctypes, os, signal, subprocess, sys
from pathlib import Path
from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.fake import FakeAccelerator


def wires():
    numbers = [int(path.name) for path in Path("/proc/self/fd").iterdir() if "pipe:" in os.path.realpath(path)]
    return [number for number in numbers if number > 2]


def behind_a_program():
    subprocess.Popen(["sleep", "600"], start_new_session=True, pass_fds=wires())
    os._exit(7)


def behind_a_child():
    if ctypes.CDLL(None).fork() == 0:
        signal.pause()
    os._exit(7)


def spoilt():
    for number in wires():
        try:
            os.write(number, b"\\x7f" * 40)
        except OSError:
            pass
    os.abort()


def interrupted():
    raise KeyboardInterrupt


def recursion():
    return recursion()


def half_a_character():
    raise Refused("no operator \\udcff")


def told_secret():
    print("key=" + os.environ["SOME_SECRET_KEY"], flush=True)
    os.abort()


WAYS = {
    "exit-0": lambda: os._exit(0),
    "exit-3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(4),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "sigterm": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "interrupted": interrupted,
    "behind-a-program": behind_a_program,
    "behind-a-child": behind_a_child,
    "spoilt": spoilt,
    "recursion": recursion,
    "half-a-character": half_a_character,
    "told-secret": told_secret,
}


class Faulty(FakeAccelerator):
    def _fail(self, phase):
        failure = self._script.failures.get(phase, {})
        count = self._calls.get(phase, 0) + 1
        if failure.get("how") in WAYS:
            self._calls[phase] = count
            if count >= failure.get("at_call", 1):
                WAYS[failure["how"]]()
        else:
            super()._fail(phase)
"""
OVERDUE = r"{phase} was still running after 2 s and was killed; --accel-(run|compile)-timeout gives it more time"
CRASHED = r"during {phase}; --accel-in-process runs it where a debugger can follow"
WAYS = {
    "sigkill": r"killed by SIGKILL \(out of memory, perhaps\) " + CRASHED,
    "sigsegv": r"killed by SIGSEGV " + CRASHED,
    "sigabrt": r"killed by SIGABRT " + CRASHED,
    "sigterm": r"killed by SIGTERM " + CRASHED,
    "exit-0": r"exited with status 0 " + CRASHED,
    "exit-3": r"exited with status 3 " + CRASHED,
    "sys.exit": r"{phase} failed: SystemExit: 4",
    "interrupted": r"{phase} failed: KeyboardInterrupt",
    "hang": OVERDUE,
    "stopped": OVERDUE,
    "behind-a-program": r"exited with status 7 " + CRASHED,
    "behind-a-child": r"exited with status 7 " + CRASHED,
    "spoilt": r"killed by SIGABRT " + CRASHED,
    "error": r"{phase} failed: RuntimeError: scripted failure in",
    "memory": r"{phase} failed: MemoryError: scripted failure in",
    "recursion": r"{phase} failed: RecursionError: maximum recursion depth exceeded",
    "half-a-character": r"no operator \\udcff",
    "told-secret": r"key=\(redacted\)",
}
#: EVERYWHERE are the ways that are tried in every phase; the others are in two.
EVERYWHERE = ("sigkill", "sigsegv", "hang")
FAULTS = [(phase, way) for phase in PHASES for way in WAYS if way in EVERYWHERE or phase in ("load", "measure")]
DEADLINES = ("--accel-run-timeout=2", "--accel-compile-timeout=2")


@pytest.mark.parametrize(("phase", "way"), FAULTS)
def test_worker(drill: Drill, phase: str, way: str) -> None:
    operation, at_call = PHASES[phase]
    failures = {operation: {"how": way, "at_call": at_call, "message": f"scripted failure in {phase}"}}
    drill.accelerator(FAULTY)
    environment = {"SOME_SECRET_KEY": "hush/hush+hush"}
    if phase == "probe":
        environment[ENVIRONMENT_VARIABLE] = json.dumps({"failures": failures})
    else:
        drill.model("broken", failures=failures)
    ran = drill.run(*(DEADLINES if way in ("hang", "stopped") else ()), starts=["fake"], environment=environment)
    assert "hush/hush" not in ran.out
    drill.says(ran, WAYS[way].format(phase=phase))
    if phase == "probe":
        drill.verdict(ran, errors=2)
        drill.nothing_left()
        drill.nothing_lost(passed=2)
    else:
        drill.verdict(ran, failed=1, passed=1)
        drill.nothing_left()
        drill.nothing_lost_in(ran)
