from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pytest_accel.worker.host.processes import Processes, oom_kills
from tests.unit.worker.host.machines import machine

#: LEADER leads a group, starts a program in another one that holds its pipe open, tells that one's number, and sleeps.
LEADER = """
import os, subprocess, time
os.setpgid(0, 0)
print(subprocess.Popen(["sleep", "600"], start_new_session=True, close_fds=False).pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def leader() -> Iterator[tuple[int, psutil.Process]]:
    """A process like a worker, and one that it has started."""
    with subprocess.Popen([sys.executable, "-c", LEADER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = psutil.Process(int(process.stdout.readline()))
        yield process.pid, started
        for each in (process, started):
            with_pid = each.pid
            if psutil.pid_exists(with_pid):
                os.kill(with_pid, signal.SIGKILL)


def ended(processes: Processes, pid: int) -> int | None:
    until = time.monotonic() + 5
    while (status := processes.process_status(pid)["status"]) is None and time.monotonic() < until:
        time.sleep(0.01)
    return status if status is None else int(status)


def test_a_stopped_process_goes_on_and_a_killed_one_tells_the_signal(
    processes: Processes, leader: tuple[int, psutil.Process]
) -> None:
    pid, _ = leader
    processes.stop_process(pid)
    until = time.monotonic() + 5
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < until
    processes.resume_process(pid)
    assert processes.process_status(pid) == {"status": None}
    processes.kill_process(pid)
    assert ended(processes, pid) == -signal.SIGKILL
    assert ended(processes, pid) == -signal.SIGKILL, "asking does not bury it"


def test_what_holds_a_dead_workers_pipe_open_is_found_and_ended(
    processes: Processes, leader: tuple[int, psutil.Process]
) -> None:
    pid, started = leader
    processes.watch_wire(pid)
    processes.kill_process(pid)
    assert ended(processes, pid) == -signal.SIGKILL
    assert started.is_running()
    processes.kill_writers(pid)
    assert psutil.wait_procs([started], timeout=5)[0] == [started]
    assert processes.kill_writers(pid) == {}


def test_an_exit_has_a_status_and_a_number_of_nobody_no_error(processes: Processes) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert ended(processes, process.pid) == 3
    assert processes.process_status(process.pid) == {"status": -signal.SIGKILL}, "it was buried"
    for signalling in (processes.kill_process, processes.stop_process, processes.resume_process):
        assert signalling(process.pid) == {}


def test_the_kernels_count_is_read_from_our_own_cgroup(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0, "without a count nothing is claimed"
    machine(tmp_path, {"sys/fs/cgroup/jobs/ours/memory.events": "low 0\noom 5\noom_kill 2\n"})
    machine(tmp_path, {"proc/self/cgroup": "0::/jobs/ours\n"})
    assert oom_kills(tmp_path) == 2
