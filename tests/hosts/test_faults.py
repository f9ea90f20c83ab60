"""Faults of a host and of its line: each costs the tests of that host alone, and leaves nothing running or locked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.box import Box
from tests.hosts.clock import shifted_clock
from tests.hosts.far_drill import FarDrill, await_

pytestmark = pytest.mark.hosts

#: PHASES are those that a run goes through on a host, and in which its accelerator can stop.
PHASES = ("probe", "compile", "load", "stage", "warm-up", "measure")
#: AT_SETUP are the outcomes of a run that fails before a test is called.
AT_SETUP = {"probe": {"errors": 1, "passed": 2}}
#: What makes the model too large for one packet, and compresses badly.
MEGABYTES = 4


def cut(box: Box) -> None:
    box.line(cut=True)


# A host that is not there, and one that is not what it was


def test_host_that_is_absent(far: FarDrill, gpu_box: Box) -> None:
    gpu_box.turn_off()
    ran = far.run()
    far.verdict(ran, skipped=1, passed=2)
    far.says(ran, rf"far-gpu absent: {gpu_box.ssh} cannot be reached: .*unreachable.*ssh.*{gpu_box.ssh} true")
    strict = far.run("--accel-strict", "-k", "gpu")
    assert strict.ends == {"errors": 1}
    assert f"far-gpu absent: {gpu_box.ssh} cannot be reached" in strict.out
    gpu_box.boot()
    far.nothing_left()
    far.nothing_lost(passed=3)


def test_host_that_answers_nothing(far: FarDrill, gpu_box: Box) -> None:
    """As behind a firewall: neither is there an answer, nor word that there will be none."""
    cut(gpu_box)
    ran = far.run("-k", "gpu")
    far.verdict(ran, skipped=1)
    far.says(ran, rf"far-gpu absent: {gpu_box.ssh} cannot be reached: .*timed out.*ssh.*{gpu_box.ssh} true")
    gpu_box.line()
    far.nothing_left()
    far.nothing_lost(passed=3)


def test_host_that_refuses(far: FarDrill, gpu_box: Box) -> None:
    """Nobody has said that this key may come in."""
    keys = gpu_box.folder / "etc/ssh/authorized_keys"
    known = keys.read_text(encoding="utf-8")
    keys.write_text("", encoding="utf-8")
    try:
        ran = far.run()
    finally:
        keys.write_text(known, encoding="utf-8")
    far.verdict(ran, skipped=1, passed=2)
    far.says(ran, rf"{gpu_box.ssh} cannot be logged in to: .*Permission denied.*ssh .*{gpu_box.ssh} true")
    far.nothing_left()
    far.nothing_lost(passed=3)


def test_host_key_that_has_changed(far: FarDrill, gpu_box: Box) -> None:
    """Who answers may be somebody else: nothing is sent there."""
    gpu_box.change_host_key()
    gpu_box.reboot()
    ran = far.run()
    far.verdict(ran, skipped=1, passed=2)
    far.says(ran, rf"{gpu_box.ssh} shows another host key.*ssh-keygen -R")
    far.bed.rack.write_ssh_config(far.bed.boxes)
    far.nothing_left()
    far.nothing_lost(passed=3)


def test_host_without_the_interpreter(far: FarDrill, gpu_box: Box) -> None:
    before = (far.folder / "pytest.ini").read_text(encoding="utf-8")
    elsewhere = before.replace(f"{gpu_box.ssh}//python={gpu_box.python}", f"{gpu_box.ssh}//python=/opt/none/bin/python")
    far.write("pytest.ini", elsewhere)
    ran = far.run()
    far.verdict(ran, skipped=1, passed=2)
    far.says(ran, rf"{gpu_box.ssh} does not start /opt/none/bin/python as a Python.*accel_host")
    far.write("pytest.ini", before)
    far.nothing_left()
    far.nothing_lost(passed=3)


# A line that ends, in each phase


@pytest.mark.parametrize("phase", PHASES)
def test_cable_that_is_cut(far: FarDrill, gpu_box: Box, phase: str) -> None:
    with far.stopped_in(phase, gpu_box) as run:
        cut(gpu_box)
        ran = far.end_of(run)
    far.fails_on(ran, gpu_box, f"happened during {phase}|does not answer", **AT_SETUP.get(phase, {}))
    far.nothing_left()
    gpu_box.line()
    far.nothing_lost(passed=3)


@pytest.mark.parametrize("way", ["there", "back"])
def test_cable_that_is_cut_while_a_file_travels(far: FarDrill, gpu_box: Box, way: str) -> None:
    far.model(operators={f"{number:x} {hash(str(number)):x}": "fake:float32" for number in range(MEGABYTES * 20_000)})
    gpu_box.line(delay_ms=40)
    begun = gpu_box.passed_bytes()
    with far.running() as run:
        await_(lambda: gpu_box.passed_bytes()[way] - begun[way] > 600_000, "no file travels", run)
        cut(gpu_box)
        ran = far.end_of(run)
    far.fails_on(ran, gpu_box, "does not answer")
    far.nothing_left()
    gpu_box.line()
    far.nothing_lost(passed=3)


def test_cable_that_is_mended_in_time(far: FarDrill, gpu_box: Box) -> None:
    """A second of silence is a busy line, and no fault."""
    begun = gpu_box.passed_bytes()
    with far.running() as run:
        await_(lambda: gpu_box.passed_bytes() != begun, "nothing is sent", run)
        cut(gpu_box)
        time.sleep(1.0)
        gpu_box.line()
        ran = far.end_of(run)
    far.verdict(ran, status=0, passed=3)
    far.says(ran, "no-baseline")
    far.nothing_left()
    far.nothing_lost(passed=3)


# A host that ends what runs there


def reboot(box: Box) -> None:
    box.reboot()


def kill_attendant(box: Box) -> None:
    attendant = min(process.pid for process in box.processes() if process.name().startswith("python"))
    os.kill(attendant, signal.SIGKILL)


def kill_all(box: Box) -> None:
    box.kill_everything()


@pytest.mark.parametrize("fault", [reboot, kill_attendant, kill_all], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("phase", ["compile", "measure"])
def test_host_that_ends_it_all(far: FarDrill, gpu_box: Box, fault: Callable[[Box], None], phase: str) -> None:
    with far.stopped_in(phase, gpu_box) as run:
        fault(gpu_box)
        ran = far.end_of(run)
    far.fails_on(ran, gpu_box, "is lost")
    far.nothing_lost(passed=3)  # which cleans up what a killed attendant could not
    far.nothing_left()


def test_worker_that_is_killed_there(far: FarDrill, gpu_box: Box) -> None:
    far.model("killed", failures={"infer": {"how": "sigkill", "at_call": 80}})
    far.write("test_models.py", Path(far.folder, "test_models.py").read_text().replace("model.fake", "killed.fake", 1))
    ran = far.run("-k", "gpu")
    far.fails_on(ran, gpu_box, "killed by SIGKILL", failed=1)
    far.nothing_left()
    far.write("test_models.py", Path(far.folder, "test_models.py").read_text().replace("killed.fake", "model.fake", 1))
    far.nothing_lost(passed=3)


def test_disk_that_is_full(far: FarDrill, gpu_box: Box) -> None:
    far.model(operators={f"{number:x} {hash(str(number)):x}": "fake:float32" for number in range(MEGABYTES * 20_000)})
    with gpu_box.full_disk(left_kb=1000):
        ran = far.run()
    far.fails_on(ran, gpu_box, "space")
    far.nothing_left()
    far.nothing_lost(passed=3)


# A controller that ends


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
@pytest.mark.parametrize("phase", ["compile", "measure"])
def test_controller_that_ends(far: FarDrill, gpu_box: Box, ends: signal.Signals, phase: str) -> None:
    with far.stopped_in(phase, gpu_box) as run:
        run.send_signal(ends)
        ran = far.end_of(run)
    assert ran.status not in (0, 1), ran.out
    assert "INTERNALERROR" not in ran.out
    far.answers["verdict"] = True
    far.boxes_are_left()
    far.says(far.nothing_lost(passed=3), "no-baseline")  # which clears up here what a killed run could not
    far.nothing_left()


def test_controller_that_ends_behind_a_cut_cable(far: FarDrill, gpu_box: Box) -> None:
    """Neither side hears of the other: the box has to find out by itself."""
    with far.stopped_in("measure", gpu_box) as run:
        cut(gpu_box)
        run.send_signal(signal.SIGKILL)
        ran = far.end_of(run)
    far.answers["verdict"] = ran.status == -signal.SIGKILL
    far.boxes_are_left()
    gpu_box.line()
    far.says(far.nothing_lost(passed=3), "no-baseline")
    far.nothing_left()


# Clocks


@pytest.mark.parametrize("by", ["-7300d", "+7300d"])
def test_clock_that_is_years_off(far: FarDrill, gpu_box: Box, by: str) -> None:
    gpu_box.reboot(**shifted_clock(by))
    ran = far.run()
    far.verdict(ran, status=0, passed=3)
    far.says(ran, "no-baseline")
    gpu_box.reboot()
    far.nothing_lost(passed=3)
    far.nothing_left()


# Two at a time


def test_two_controllers_take_turns_with_a_device(far: FarDrill, gpu_box: Box) -> None:
    """The lock is the box's: a run that does not get it says where, and from whom."""
    with far.stopped_in("measure", gpu_box) as first:
        waiting = far.run("-k", "gpu", "-o", "accel_lock_timeout=2")
        first.send_signal(signal.SIGINT)
        far.end_of(first)
    far.fails_on(waiting, gpu_box, "still holds its lock .*accel_lock_timeout", failed=1)
    far.nothing_lost(passed=3)
    far.nothing_left()
