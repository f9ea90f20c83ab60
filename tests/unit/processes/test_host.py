from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_accel.facts.errors import DeadlineExceeded, HostLost, HostUnfit, WorkerCrashed, WorkerError
from pytest_accel.facts.settings import Host
from pytest_accel.processes import host as host_room
from pytest_accel.processes.host import HostConnection, connect
from pytest_accel.processes.host_files import HostFiles
from pytest_accel.processes.process import Worker, WorkerPool
from pytest_accel.processes.ssh import Ssh
from pytest_accel.testing import FAKE
from tests.standins import ssh_client
from tests.unit.processes.test_process import compile_with, load, measure, run_until


def connected(
    box: Host, waiting: Callable[[], None] = lambda: None, *, cache_limit_mb: float = 1_000
) -> HostConnection:
    return connect(box, cache_limit_mb=cache_limit_mb, waiting=waiting)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host on which nothing may be left behind."""
    others = set(psutil.Process().children(recursive=True))
    ssh_client.install(tmp_path, monkeypatch)
    yield ssh_client.box(tmp_path)
    until = time.monotonic() + 5
    while left_of(others, tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert left_of(others, tmp_path) == []


def left_of(others: set[psutil.Process], folder: Path) -> list[object]:
    """The processes and the temporary files that are left on the host."""
    return [*(set(psutil.Process().children(recursive=True)) - others), *temporary_files(folder)]


def temporary_files(folder: Path) -> list[Path]:
    """What attendants have left in the temporary folder of the host."""
    return list((folder / "tmp").glob("pytest-accel-host-*/*"))


@pytest.fixture
def connection(box: Host) -> Iterator[HostConnection]:
    connection = connected(box)
    yield connection
    connection.close()


@pytest.fixture
def pool(connection: HostConnection, tmp_path: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool({}, in_process=False, log_dir=tmp_path / "logs", host_of=lambda _accelerator: connection)
    yield pool
    pool.close()
    assert list((tmp_path / "logs").glob("*")) == [], "its files are on the host"


def test_a_worker_there_does_what_one_here_does(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.shared("fake", FAKE)
    assert compile_with(worker, tmp_path) == {"seconds": 2.0}
    assert load(worker, tmp_path)["load_s"] == 0.5
    with worker.paused():
        pass
    assert len(measure(worker)["checked"]) == 1
    assert pool.shared("fake", FAKE) is worker
    assert pool.forked("fake", FAKE, ["os:getpid"]).alive, "where no fork server is, an interpreter starts"


def test_a_paused_worker_hears_nothing_before_it_goes_on(connection: HostConnection, pool: WorkerPool) -> None:
    worker = pool.shared("fake", FAKE)
    with worker.paused():
        answered = threading.Thread(target=lambda: worker.request("hello", phase="hello", deadline_s=60))
        answered.start()
        answered.join(0.5)
        assert answered.is_alive()
        assert psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    answered.join(10)
    assert not answered.is_alive()


@pytest.mark.parametrize("how", ["sigkill", "sigsegv"])
def test_a_crash_there_names_the_host_and_the_signal(pool: WorkerPool, tmp_path: Path, how: str) -> None:
    worker = pool.shared("fake", FAKE)
    with pytest.raises(
        WorkerCrashed, match=rf"fake on me@box: the worker was killed by {how.upper()}.* during load"
    ) as caught:
        run_until("load", worker, tmp_path, how=how)
    if how != "sigkill":
        assert "in _fail" in caught.value.details
    assert not worker.alive
    assert compile_with(pool.shared("fake", FAKE), tmp_path) == {"seconds": 2.0}


def test_a_hang_there_shows_where_it_hung(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.shared("fake", FAKE)
    with pytest.raises(DeadlineExceeded, match=r"fake on me@box: load was still running after 0\.3 s") as caught:
        run_until("load", worker, tmp_path, deadline_s=0.3, how="hang")
    assert "in _fail" in caught.value.details


def test_a_worker_that_ends_while_nobody_asks_is_replaced(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pool.shared("fake", FAKE)
    os.kill(worker.pid, signal.SIGKILL)
    monkeypatch.setattr("pytest_accel.processes.far_interpreter._LOOK_EVERY_S", 0.0)
    until = time.monotonic() + 10
    while worker.alive:
        assert time.monotonic() < until
    assert pool.shared("fake", FAKE) is not worker


def test_an_accelerator_that_is_not_there_fails_the_start(
    connection: HostConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.raises(WorkerError, match="fake on me@box: "):
        Worker("fake", "unruly:CannotBeMade", log_dir=tmp_path, place=connection)


def test_sources_are_sent_once(box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connected(box).close()
    (kept,) = (tmp_path / "cache" / "pytest-accel" / "sources").iterdir()
    monkeypatch.setattr("base64.b64encode", lambda _: pytest.fail("they are sent again"))
    connected(box).close()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    kept.write_bytes(b"damaged")
    connection = connected(box)
    assert kept.stat().st_size > 10_000
    kept.unlink()
    with Worker("fake", FAKE, log_dir=tmp_path, python=connection.python, place=connection) as worker:
        assert worker.request("probe", phase="probe", deadline_s=60)
    connection.close()


def test_what_runs_have_sent_is_kept_under_the_limit_of_the_run(box: Host, tmp_path: Path) -> None:
    for number, (cache_limit_mb, kept) in enumerate([(1_000, 1), (1_000, 2), (0.001, 1)], 1):
        model = tmp_path / f"{number}.onnx"
        model.write_bytes(bytes([number]) * 2_000)
        connection = connected(box, cache_limit_mb=cache_limit_mb)
        HostFiles(connection.ask, lambda _share, _doing: None).there(model)
        connection.close()
        assert len(list((tmp_path / "cache" / "pytest-accel" / "files" / "objects").iterdir())) == kept


def test_a_host_that_knows_the_sources_is_sent_little_for_each_worker(
    box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(box).close()
    sent: list[int] = []
    write = Ssh.write

    def counted(ssh: Ssh, data: bytes) -> None:
        sent.append(len(data))
        write(ssh, data)

    monkeypatch.setattr(Ssh, "write", counted)
    connection = connected(box)
    assert sum(sent) < 10_000
    sent.clear()
    with Worker("fake", FAKE, log_dir=tmp_path, python=connection.python, place=connection) as worker:
        worker.request("probe", phase="probe", deadline_s=60)
    assert 0 < sum(sent) < 4_000
    connection.close()


def test_what_the_shell_prints_at_login_does_no_harm(
    box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_client.install(tmp_path, monkeypatch, "echo Welcome; printf 'no newline at the end'; echo mail >&2")
    connection = connected(box)
    assert connection.ask("identity")["kernel"]
    connection.close()


def test_an_operation_that_fails_says_what_and_where_and_the_next_one_works(connection: HostConnection) -> None:
    with pytest.raises(WorkerError, match=r"me@box: keep_sources failed: TypeError: ") as caught:
        connection.ask("keep_sources")
    assert "in answer" in caught.value.details
    assert connection.ask("oom_kills")["count"] >= 0
    connection.tell("kill_process", pid=2**22 + 1)
    assert connection.alive


@pytest.mark.parametrize("phase", ["compile", "load", "measure"])
def test_a_line_that_ends_in_any_phase_names_the_host_and_ends_all_there(
    connection: HostConnection, pool: WorkerPool, tmp_path: Path, phase: str
) -> None:
    worker = pool.shared("fake", FAKE)
    process = psutil.Process(worker.pid)
    threading.Timer(0.5, connection._ssh.kill).start()
    with pytest.raises(HostLost, match=rf"fake: the connection to me@box is lost .*during {phase}\.$"):
        run_until(phase, worker, tmp_path, how="hang")
    assert not worker.alive
    assert not connection.alive
    psutil.wait_procs([process], timeout=10)
    assert not process.is_running()
    with pytest.raises(HostLost):
        connection.ask("identity")


def test_either_side_gives_up_one_that_is_not_heard(box: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_room, "SILENCE_S", 1.0)
    monkeypatch.setattr(host_room, "_BEAT_EVERY_S", 0.2)
    connection = connected(box)
    time.sleep(2)
    assert connection.alive, "beats are heard"
    with Worker("fake", FAKE, log_dir=tmp_path, python=connection.python, place=connection) as worker:
        attendant, process = psutil.Process(connection._attended.presentation.pid), psutil.Process(worker.pid)
        attendant.suspend()  # as a cable that is cut: nothing is closed, and nothing comes
        with pytest.raises(HostLost, match="it does not answer any more"):
            connection.ask("identity")
        attendant.resume()
        gone, _ = psutil.wait_procs([attendant, process], timeout=10)
        assert len(gone) == 2
    connection.close()


def test_an_attendant_that_hears_nothing_leaves(box: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_room, "SILENCE_S", 1.0)
    monkeypatch.setattr(HostConnection, "_beat", lambda _self: None)
    monkeypatch.setattr(HostConnection, "_listen", lambda _self: None)
    connection = connected(box)
    attendant = psutil.Process(connection._attended.presentation.pid)
    psutil.wait_procs([attendant], timeout=10)
    assert not attendant.is_running() or attendant.status() == psutil.STATUS_ZOMBIE
    connection.close()


def test_a_killed_attendant_leaves_a_folder_that_the_next_one_removes(box: Host, tmp_path: Path) -> None:
    connection = connected(box)
    os.kill(connection._attended.presentation.pid, signal.SIGKILL)
    with pytest.raises(HostLost):
        connection.ask("identity")
    assert len(temporary_files(tmp_path)) == 2
    other = connected(box)
    assert len(temporary_files(tmp_path)) == 2, "its own, with a lock"
    other.close()


#: UNFIT says of each kind of host what its ssh client does, the Python that is asked for, and what is told.
UNFIT = {
    "unreached": (
        "echo 'ssh: connect to host box port 22: Connection refused' >&2; exit 255",
        "",
        "Connection refused",
    ),
    "refused": ("echo 'me@box: Permission denied (publickey).' >&2; exit 255", "", "Permission denied"),
    "no-python": ("", "/no/python", "not found|No such file"),
    "old-python": ("", "old", "is Python 3.6.9, and workers need 3.8"),
    "no-numpy": ("", "bare", "has no NumPy"),
    "no-cache": ("", "no-cache", "NotADirectory|Not a directory"),
    "no-disk": ("ulimit -f 0", "", "has no room for temporary files"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_wrong_with_a_host_is_told_with_the_next_action(
    kind: str, box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, python, words = UNFIT[kind]
    ssh_client.install(tmp_path, monkeypatch, before)
    for name, script in {
        "old": "read line; echo 'pytest-accel greets Python 3.6.9'",
        "bare": f'exec {sys.executable} -I -S "$@"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    if kind == "no-cache":
        (tmp_path / "cache").write_text("no folder")
        kind, python = "no-disk", ""
    with pytest.raises(HostUnfit, match=words) as caught:
        connected(box._replace(python=python or box.python))
    assert caught.value.kind == kind
    assert "me@box" in caught.value.reason
    assert caught.value.action


def test_another_host_key_is_no_reason_to_go_on(box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = (
        "echo '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2; echo 'Host key verification failed.' >&2"
    )
    ssh_client.install(tmp_path, monkeypatch, f"{warning}; exit 255")
    with pytest.raises(HostUnfit, match=r"another host key than before.*ssh-keygen -R") as caught:
        connected(box)
    assert caught.value.kind == "refused"


def test_without_an_ssh_client_it_is_named(box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnfit, match=r"no ssh client.*openssh-client") as caught:
        connected(box)
    assert caught.value.kind == "no-ssh"


def test_an_interrupt_does_not_wait_for_a_host_that_does_not_answer(
    box: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    ssh_client.install(tmp_path, monkeypatch, "exec sleep 600")
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        connected(box, interrupt)
    assert time.monotonic() - began_s < 10
