from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_accel.facts.errors import WorkerCrashed, WorkerError
from pytest_accel.processes.fork_server import ForkServer, ForkServers
from pytest_accel.processes.process import Worker, WorkerPool
from pytest_accel.testing import FAKE
from tests.unit.processes.test_process import assert_gone, compile_with, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_accel.processes.process import AnyWorker

#: IMPORTS names a function that is quick, in place of one that imports an SDK.
IMPORTS = ("decimal:getcontext",)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a path that is longer than that of a Unix socket may be."""
    folder = tmp_path / ("long " * 20) / "logs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def pool(folder: Path) -> Iterator[WorkerPool]:
    """A pool that must not leave a process or a file behind."""
    others = set(psutil.Process().children(recursive=True))
    pool = WorkerPool({}, in_process=False, log_dir=folder)
    yield pool
    pool.close()
    assert_gone(list(set(psutil.Process().children(recursive=True)) - others))
    assert list(folder.iterdir()) == []


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process, and no other, import the module of that name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


def server_of(worker: AnyWorker) -> psutil.Process:
    """The parent of a forked worker."""
    parent = psutil.Process(worker.pid).parent()
    assert parent is not None
    return parent


def ready(server: ForkServer) -> bool:
    return server.is_ready(lambda: None, deadline_s=60)


def test_workers_are_forked_from_one_process_and_each_is_its_own(pool: WorkerPool, tmp_path: Path) -> None:
    one, other = pool.forked("fake", FAKE, IMPORTS), pool.forked("fake", FAKE, IMPORTS)
    assert one.pid != other.pid
    assert server_of(one) == server_of(other) != psutil.Process()
    assert compile_with(one, tmp_path) == {"seconds": 2.0}
    with pytest.raises(WorkerError, match="nothing is loaded"):
        other.request("predict", phase="predict", deadline_s=60, inputs={})


def test_without_anything_to_import_an_interpreter_of_its_own_is_started(pool: WorkerPool) -> None:
    assert server_of(pool.forked("fake", FAKE, ())) == psutil.Process()


@pytest.mark.parametrize("preload", ["no_such_sdk:start", "os:abort", "decimal:no_such_function"])
def test_where_the_import_fails_an_interpreter_of_its_own_is_started(
    pool: WorkerPool, tmp_path: Path, preload: str
) -> None:
    worker = pool.forked("fake", FAKE, (preload,))
    assert server_of(worker) == psutil.Process()
    assert compile_with(worker, tmp_path) == {"seconds": 2.0}


def test_an_import_that_hangs_is_given_up(folder: Path) -> None:
    ticks: list[float] = []
    server = ForkServer(sys.executable, ["signal:pause"], folder)
    assert not server.is_ready(lambda: ticks.append(time.monotonic()), deadline_s=0.5)
    assert ticks, "the terminal shows that the run goes on"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("changed", ["variable", "folder"])
def test_in_another_environment_an_interpreter_of_its_own_is_started(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    assert server_of(pool.forked("fake", FAKE, IMPORTS)) != psutil.Process()
    if changed == "variable":
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    else:
        monkeypatch.chdir(tmp_path)
    assert server_of(pool.forked("fake", FAKE, IMPORTS)) == psutil.Process()


def output_of(server: ForkServer, code: str) -> str:
    """What a forked child prints that runs ``code`` as an interpreter would after ``-c``."""
    command = [*server.command(), "-u", "-c", "in place of what execnet puts here"]
    run = subprocess.run(command, input=repr(code) + "\n", capture_output=True, text=True, timeout=60, check=True)
    return run.stdout


def test_a_child_has_the_environment_the_folder_and_the_arguments_of_whoever_starts_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ForkServer(sys.executable, IMPORTS, folder)
    assert ready(server)
    monkeypatch.setenv("ODD", "line\nbreak \udcff")
    for number in range(5):
        monkeypatch.setenv(f"LONG_{number}", "long" * 25_000)  # together more than a socket takes at once
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, json; print(json.dumps([os.environ['ODD'], os.getcwd(), 'decimal' in __import__('sys').modules]))"
    )
    try:
        assert json.loads(output_of(server, code)) == [os.environ["ODD"], str(tmp_path), True]
    finally:
        server.close()


def test_children_draw_different_numbers(folder: Path) -> None:
    server = ForkServer(sys.executable, ("random:random", "numpy.random:rand"), folder)
    assert ready(server)
    code = "import random, numpy; print(random.random(), numpy.random.rand())"
    try:
        one, other = output_of(server, code).split(), output_of(server, code).split()
    finally:
        server.close()
    assert one[0] != other[0]
    assert one[1] != other[1]


@pytest.mark.parametrize("how", ["sigkill", "sigsegv", "sigabrt"])
def test_a_crash_is_told_as_that_of_any_worker(pool: WorkerPool, tmp_path: Path, how: str) -> None:
    worker = pool.forked("fake", FAKE, IMPORTS)
    compile_with(worker, tmp_path, failures={"load": {"how": how}})
    with pytest.raises(WorkerCrashed, match=rf"fake: the worker was killed by {how.upper()}.* during load"):
        load(worker, tmp_path)
    assert not worker.alive
    assert compile_with(pool.forked("fake", FAKE, IMPORTS), tmp_path) == {"seconds": 2.0}


def test_an_interrupted_request_takes_the_worker_and_its_programs_along_and_leaves_the_server(
    unruly: None, pool: WorkerPool, tmp_path: Path
) -> None:
    worker = pool.forked("fake", "unruly:TakesLongToDie", IMPORTS)
    server, process = server_of(worker), psutil.Process(worker.pid)
    programs: list[psutil.Process] = []

    def interrupt(share: float | None, pid: str) -> None:
        programs.append(psutil.Process(int(pid)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.request(
            "compile",
            phase="compile",
            deadline_s=60,
            on_progress=interrupt,
            source={"kind": "fake", "path": ""},
            artefact=str(tmp_path / "artefact"),
            options={},
        )
    assert not process.is_running(), "whoever starts the next one has the device to himself"
    assert_gone(programs)
    assert server.is_running()


def test_a_relay_that_is_killed_takes_its_worker_along(pool: WorkerPool) -> None:
    worker = pool.forked("fake", FAKE, IMPORTS)
    other = pool.forked("fake", FAKE, IMPORTS)
    assert isinstance(worker, Worker)
    process = psutil.Process(worker.pid)
    os.kill(worker._interpreter.pid, signal.SIGKILL)
    assert_gone([process])
    assert other.request("hello", phase="start", deadline_s=60)["pid"] == other.pid


def test_a_relay_that_is_killed_before_its_worker_has_started_takes_it_along(folder: Path) -> None:
    server = ForkServer(sys.executable, IMPORTS, folder)
    assert ready(server)
    with subprocess.Popen([*server.command(), "-u", "-c", ""], stdin=subprocess.PIPE) as relay:
        parent = psutil.Process(server.pid)
        until = time.monotonic() + 10
        while not (children := parent.children()):
            assert time.monotonic() < until
        relay.kill()
        assert_gone(children)
    server.close()


def test_a_server_that_dies_takes_its_workers_along_and_the_next_start_needs_none(
    pool: WorkerPool, tmp_path: Path
) -> None:
    worker = pool.forked("fake", FAKE, IMPORTS)
    process = psutil.Process(worker.pid)
    server_of(worker).kill()
    assert_gone([process])
    with pytest.raises(WorkerCrashed, match="fake: the worker was killed by SIGKILL"):
        compile_with(worker, tmp_path)
    assert server_of(pool.forked("fake", FAKE, IMPORTS)) == psutil.Process()


CONTROLLER = """
import sys
from pathlib import Path
from pytest_accel.processes.process import WorkerPool
from pytest_accel.testing import FAKE

pool = WorkerPool({{}}, in_process=False, log_dir=Path({folder!r}))
print(pool.forked("fake", FAKE, {imports!r}).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_controller(folder: Path, ending: signal.Signals) -> None:
    text = CONTROLLER.format(folder=str(folder), imports=IMPORTS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as controller:
        assert controller.stdout is not None
        worker = psutil.Process(int(controller.stdout.readline()))
        left = [worker, *psutil.Process(controller.pid).children(recursive=True)]
        assert len(left) == 6, "the server, the relay, the worker, its two shells, and again the worker"
        controller.send_signal(ending)
    assert_gone(left)


def test_a_server_is_made_once_for_an_interpreter(folder: Path) -> None:
    servers = ForkServers(folder, lambda: None, deadline_s=60)
    try:
        one = servers.for_interpreter(sys.executable, IMPORTS)
        assert one is servers.for_interpreter(sys.executable, IMPORTS) is not None
    finally:
        servers.close()
    assert list(folder.iterdir()) == []


def test_what_is_no_interpreter_forks_nothing(folder: Path) -> None:
    servers = ForkServers(folder, lambda: None, deadline_s=60)
    no_python = shutil.which("true")
    assert no_python is not None
    assert servers.for_interpreter(no_python, IMPORTS) is None
    servers.close()
