"""The bed itself, by plain execnet over ssh: what is shown on it means nothing if it is not what it seems."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import execnet
import numpy
import psutil
import pytest

from tests.drills.drill import assert_gone
from tests.hosts.bed import Bed
from tests.hosts.box import Box
from tests.hosts.clock import shifted_clock

pytestmark = pytest.mark.hosts

FACTS = """
import getpass, numpy, os, platform, socket, sys
try:
    import execnet
except ImportError:
    execnet = None
channel.send({
    "owner": getpass.getuser(),
    "name": socket.gethostname(),
    "python": platform.python_version(),
    "numpy": numpy.__version__,
    "group": os.getpgrp(),
    "execnet": execnet is not None,
    "environment": sorted(os.environ),
    "sees": [path for path in channel.receive() if os.path.exists(path)],
})
"""
ECHO = "while True: channel.send(channel.receive())"


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch, bed: Bed) -> Iterator[execnet.Group]:
    monkeypatch.setenv("PATH", bed.path)
    group = execnet.Group(execmodel="thread")
    yield group
    group.terminate(timeout=2.0)


def gateway(group: execnet.Group, box: Box) -> Any:
    return group.makegateway(f"ssh={box.ssh}//python={box.python}//id={box.name}")


def facts_of(gateway: Any, *paths: Path) -> dict[str, Any]:
    channel = gateway.remote_exec(FACTS)
    channel.send([str(path) for path in paths])
    facts: dict[str, Any] = channel.receive(30)
    return facts


def round_trip_s(channel: Any) -> float:
    began = time.monotonic()
    channel.send("ping")
    assert channel.receive(20) == "ping"
    return time.monotonic() - began


def test_boxes_are_other_machines_with_other_owners(bed: Bed, group: execnet.Group, tmp_path: Path) -> None:
    facts = [facts_of(gateway(group, box), Path(__file__), tmp_path, Path.home()) for box in bed.boxes.values()]
    assert [each["name"] for each in facts] == list(bed.boxes)
    assert [each["owner"] for each in facts] == [box.owner for box in bed.boxes.values()]
    assert all(each["sees"] in ([], [str(Path.home())]) for each in facts), "the controller's files are seen there"
    assert not any(each["execnet"] for each in facts)
    if len({each["python"] for each in facts}) == 2:
        assert len({numpy.__version__, *(each["numpy"] for each in facts)}) == 3


def test_a_worker_is_started_through_an_attendant(group: execnet.Group, gpu_box: Box) -> None:
    """As `via` of execnet does it: nothing of it is installed there."""
    attendant = gateway(group, gpu_box)
    worker = group.makegateway(f"popen//via={gpu_box.name}//python={gpu_box.python}")
    assert facts_of(worker)["owner"] == gpu_box.owner
    assert facts_of(attendant)["group"] == facts_of(worker)["group"]
    assert [process.name()[:6] for process in gpu_box.processes()] == ["sh", "python", "python"]
    group.terminate(timeout=2.0)
    gpu_box.await_idle(10)


def test_nothing_of_the_controllers_environment_is_there(
    monkeypatch: pytest.MonkeyPatch, group: execnet.Group, gpu_box: Box
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the controller")
    assert "AWS_SECRET_ACCESS_KEY" not in facts_of(gateway(group, gpu_box))["environment"]


def test_a_line_is_as_slow_as_it_is_made(group: execnet.Group, gpu_box: Box) -> None:
    channel = gateway(group, gpu_box).remote_exec(ECHO)
    assert min(round_trip_s(channel) for _ in range(5)) < 0.05
    gpu_box.line(delay_ms=40)
    assert min(round_trip_s(channel) for _ in range(5)) > 0.08
    gpu_box.line(delay_ms=1, jitter_ms=60)
    trips_s = [round_trip_s(channel) for _ in range(20)]
    assert max(trips_s) > 2 * min(trips_s)


def test_a_line_that_loses_packets_brings_all_bytes(group: execnet.Group, gpu_box: Box) -> None:
    channel = gateway(group, gpu_box).remote_exec(ECHO)
    gpu_box.line(loss=0.05)
    before = gpu_box.passed_bytes()["there"]
    sent = os.urandom(300_000)
    channel.send(sent)
    assert channel.receive(60) == sent
    assert gpu_box.passed_bytes()["there"] - before > len(sent)


def test_a_cut_cable_tells_nobody(group: execnet.Group, gpu_box: Box) -> None:
    channel = gateway(group, gpu_box).remote_exec(ECHO)
    round_trip_s(channel)
    gpu_box.line(cut=True)
    channel.send("ping")
    with pytest.raises(channel.TimeoutError):
        channel.receive(1.0)
    assert [process.name()[:6] for process in gpu_box.processes()] == ["sh", "python"]
    gpu_box.line()
    assert channel.receive(20) == "ping"


def test_a_box_that_reboots_keeps_its_disk_and_nothing_else(group: execnet.Group, gpu_box: Box) -> None:
    gateway(group, gpu_box)
    gpu_box.run("echo kept > ~/kept; echo lost > /tmp/lost")
    gpu_box.reboot()
    assert gpu_box.processes() == []
    assert gpu_box.run("cat ~/kept; ls /tmp") == "kept\n"


def test_a_disk_fills_up_and_has_space_again(gpu_box: Box) -> None:
    with gpu_box.full_disk():
        assert "No space left" in gpu_box.run("head -c 100000 /dev/zero 2>&1 > ~/zeros", check=False)
    gpu_box.run("head -c 100000 /dev/zero > ~/zeros")


def test_a_changed_host_key_is_refused(bed: Bed, gpu_box: Box) -> None:
    gpu_box.change_host_key()
    gpu_box.reboot()
    with pytest.raises(AssertionError, match="REMOTE HOST IDENTIFICATION HAS CHANGED"):
        gpu_box.run("true")
    bed.rack.write_ssh_config(bed.boxes)
    gpu_box.run("true")


def test_a_clock_is_years_off(gpu_box: Box) -> None:
    gpu_box.reboot(**shifted_clock("+3650d"))
    assert float(gpu_box.run("date +%s")) - time.time() > 3600 * 24 * 3600
    assert float(gpu_box.run(f"{gpu_box.python} -c 'import time; print(time.time())'")) - time.time() > 3600 * 24 * 3600


def test_there_is_no_way_out_of_the_bed(gpu_box: Box) -> None:
    with socket.socket() as outside:  # here, where whoever listens is reached
        outside.bind(("127.0.0.1", 0))
        outside.listen()
        port = outside.getsockname()[1]
        tries = f"""
import socket
for address in ("127.0.0.1", "192.0.2.1", "192.0.2.200", "198.51.100.1"):
    with socket.socket() as line:
        print(line.connect_ex((address, {port})) != 0, end=" ")
"""
        assert gpu_box.run(f"{gpu_box.python} -c '{tries}'") == "True True True True "


LEAVES = """
import sys
from pathlib import Path
from tests.hosts.bed import Bed

bed = Bed(Path(sys.argv[1]))
try:
    box = bed.add("lonely-box", "eve", "python3", {})
    box.run("sleep 1000 > /dev/null 2>&1 &")
    print(*[bed.rack.pid, *(process.pid for process in box.everything())], flush=True)
    sys.stdin.read()
finally:
    bed.close()
"""


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("bed")
def test_nothing_of_a_bed_outlives_its_session(tmp_path: Path, ends: signal.Signals) -> None:
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    command = [sys.executable, "-c", LEAVES, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as session:
        assert session.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in session.stdout.readline().split()]
        assert len(processes) == 3
        session.send_signal(ends)
        assert session.wait(20) != 0
    assert_gone(lambda: [process for process in processes if process.is_running()])
    assert Path("/proc/self/mounts").read_text(encoding="utf-8") == mounts
