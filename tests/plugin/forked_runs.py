"""Runs of pytest that one process of the suite forks, which has imported pytest, the plugin and NumPy for all of them.

A run is then a second of imports cheaper. It is as fresh as one that was started: a process and a session of its own,
with its own arguments, folder, environment and streams, and nothing was run in it before. So are its workers, and the
processes that xdist runs its tests in.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import psutil
from execnet import XSpec, gateway_io
from execnet.gateway_base import Popen2IO
from execnet.gateway_io import Popen2IOMaster, popen_bootstrapline

import pytest_accel
from pytest_accel.processes import process
from pytest_accel.processes.fork_relay import connect, send
from pytest_accel.processes.fork_server import ForkServer, listening
from pytest_accel.processes.process import Worker
from pytest_accel.worker.boot import die_with_controller
from pytest_accel.worker.fork_server import become, received
from tests.plugin.forked_workers import ServerElsewhere, imports_numpy_alone

if TYPE_CHECKING:
    from typing_extensions import Self

#: _SERVE is what the server's interpreter runs. `serve` returns in a run, which then ends as any interpreter does.
_SERVE = """
import sys
sys.path[0] = sys.argv[1]  # where the suite is, of which a run knows nothing
from tests.plugin.forked_runs import serve
serve(int(sys.argv[2]), sys.argv[3])
"""
_ROOT = Path(__file__).parents[2]
#: _CLONE_NEWUSER and _CLONE_NEWNS are what ``unshare`` of Linux is asked for: name spaces of users and of mounts.
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_READY = b"ready\n"
_CHUNK_BYTES = 1 << 16


class RunServer:
    """A process that forks the runs of a session. Their workers come from ``workers``.

    With a ``tag`` each run overwrites this variable of the environment with its own value, which is as long.
    """

    def __init__(self, folder: Path, workers: ForkServer, environment: Mapping[str, str], tag: str = "") -> None:
        self._address = str(folder / "runs")
        self._workers = workers
        with listening(self._address) as listener:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(_ROOT), str(listener.fileno()), tag],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in environment.items() if name != "PYTHONPATH"},
                pass_fds=[listener.fileno()],
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == _READY

    def run(
        self,
        args: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        mounts: Sequence[str] = (),
        starts: Sequence[str] = (),
        streams: tuple[TextIO, TextIO] | None = None,
    ) -> ForkedRun:
        """Fork ``python -m pytest`` with these arguments.

        ``mounts`` are commands of a shell. The workers of the accelerators ``starts`` start as users start them; only
        these see what is mounted. ``streams`` are files that it writes what it prints and its errors to.
        """
        wanted = {"args": args, "folder": str(folder), "environment": environment, "mounts": mounts, "starts": starts}
        return ForkedRun({**wanted, "workers": self._workers.command(), "server": self._address}, streams)

    def workers(self) -> list[psutil.Process]:
        """Return the forked workers that live."""
        return psutil.Process(self._workers.pid).children(recursive=True)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class _Forked:
    """A process that a server forked, with those parts of the face of ``subprocess.Popen`` that need no stream."""

    def __init__(self, wanted: Mapping[str, Any], streams: Sequence[int]) -> None:
        self.returncode: int | None = None
        self._server = connect(wanted["server"])
        send(self._server, wanted, streams)
        self._ends = self._server.makefile("rb")
        self.pid = int(self._ends.readline())

    def send_signal(self, signum: int) -> None:
        """Send a signal to this process alone, unless it has ended."""
        if self.returncode is None and not _is_readable(self._server.fileno(), 0.0):
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status, or the negative number of the signal that ended it."""
        if self.returncode is None:
            if not _is_readable(self._server.fileno(), timeout):
                raise subprocess.TimeoutExpired("pytest", timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(int(self._ends.readline()))
            self._ends.close()
            self._server.close()
        return self.returncode


class ForkedRun(_Forked):
    """One run. Where it has no ``streams`` to write to, ``stdout`` has what it prints, errors too."""

    stdin = None

    def __init__(self, wanted: Mapping[str, Any], streams: tuple[TextIO, TextIO] | None = None) -> None:
        self._printed = b""
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading, encoding="utf-8", errors="backslashreplace")
        out, err = (writing, writing) if streams is None else (stream.fileno() for stream in streams)
        with Path(os.devnull).open("rb") as nothing:
            super().__init__(wanted, [nothing.fileno(), out, err])
        os.close(writing)
        if streams is not None:
            self.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wait()
        self.stdout.close()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read to the end of what it and its children print, and wait for its own end."""
        until = None if timeout is None else time.monotonic() + timeout
        while _is_readable(self.stdout.fileno(), until and max(0.0, until - time.monotonic())):
            chunk = os.read(self.stdout.fileno(), _CHUNK_BYTES)
            self._printed += chunk
            if not chunk:
                self.wait(until and max(0.0, until - time.monotonic()))
                return self._printed.decode("utf-8", "backslashreplace"), None
        raise subprocess.TimeoutExpired("pytest", timeout or 0.0)


class ForkedInterpreter(_Forked):
    """A fresh interpreter that does what the first line of its ``stdin`` says, as xdist starts one for its tests."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        (reading, self_writes), (self_reads, writing) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(self_writes, "wb"), os.fdopen(self_reads, "rb")
        super().__init__(wanted, [reading, writing, 2])
        os.close(reading)
        os.close(writing)


def _is_readable(fd: int, timeout_s: float | None) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])


# What the server's process does


def _forked(command: list[str], starts: Sequence[str]) -> Callable[..., Worker]:
    """Return what starts a worker as `Worker` does, but has it forked by this command where it may be."""

    def start(name: str, accelerator: str, **options: Any) -> Worker:
        here = options.get("place") is None and options["python"] == sys.executable
        if here and imports_numpy_alone(accelerator) and name not in starts:
            options["fork_server"] = ServerElsewhere(command)
        return Worker(name, accelerator, **options)

    return start


def _forked_io(wanted: Mapping[str, Any]) -> Callable[..., Popen2IO]:
    """Return what starts a process for execnet, but forks it where no interpreter is named: xdist names none."""
    otherwise = gateway_io.create_io

    def create_io(spec: XSpec, execmodel: Any) -> Popen2IO:
        if not spec.popen or spec.python:
            return otherwise(spec, execmodel)
        here = {"args": None, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        process = ForkedInterpreter({**wanted, **here})
        io = Popen2IOMaster.__new__(Popen2IOMaster)
        io.popen = process
        Popen2IO.__init__(io, process.stdin, process.stdout, execmodel=execmodel)
        return io

    return create_io


def serve(listener: int, tag: str) -> None:
    """Import all that a run imports, and fork for every connection; returns in a run that has come to its end."""
    die_with_controller()
    _preload()
    os.write(1, _READY)
    server = socket.socket(fileno=listener)
    while True:
        connection, _ = server.accept()
        _bury()
        if os.fork() == 0:
            break
        connection.close()
    server.close()
    _fork_run(connection, tag)


def _bury() -> None:
    """Wait for those who have waited for a run that ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _preload() -> None:
    """Import all that a run may import. Nothing of it has assertions to rewrite, and pytest would warn of that."""
    pytest_accel.__doc__ = f"{pytest_accel.__doc__}PYTEST_DONT_REWRITE"
    for module in ("numpy.random", "execnet.gateway_bootstrap", "_pytest.junitxml", "pytest"):
        importlib.import_module(module)
    for found in pkgutil.walk_packages(pytest_accel.__path__, "pytest_accel."):
        importlib.import_module(found.name)
    gc.collect()
    gc.freeze()


def _fork_run(connection: socket.socket, tag: str) -> None:
    """Fork the run, tell its number, and at its end its wait status."""
    streams, wanted = received(connection)
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        started = sys.stdin, sys.stdout, sys.stderr
        become(streams, wanted)
        sys.stdin, sys.stdout, sys.stderr = started  # in which Python handles errors as the locale has it
        if tag:
            _overwrite(tag, wanted["environment"][tag])
        if wanted["mounts"]:
            _mount(wanted["mounts"])
        process.Worker = _forked(wanted["workers"], wanted["starts"])  # type: ignore[assignment, misc]
        gateway_io.create_io = _forked_io(wanted)
        _forget_suite()
        if wanted["args"] is None:
            exec(popen_bootstrapline, {"__name__": "__main__"})
        else:
            _run_pytest(wanted["args"])
        return
    for fd in [0, 1, 2, *streams]:
        os.close(fd)
    connection.sendall(b"%d\n" % pid)
    connection.sendall(b"%d\n" % os.waitpid(pid, 0)[1])
    os._exit(0)


def _forget_suite() -> None:
    """Know what an interpreter knows that was started in this folder and environment."""
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    given = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [str(Path.cwd()), *given, *(each for each in sys.path[1:] if each not in given)]
    for name in [name for name in sys.modules if name.partition(".")[0] == __package__.partition(".")[0]]:
        del sys.modules[name]


def _run_pytest(args: Sequence[str]) -> None:
    """Be ``python -m pytest``."""
    sys.argv = ["pytest", *args]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


def _mount(commands: Sequence[str]) -> None:
    """Mount in a name space of this process and its children, as ``unshare -rm`` would."""
    user, group = os.getuid(), os.getgid()
    assert ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNS) == 0
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(text)
    subprocess.run(["sh", "-c", " && ".join(["mount --make-rprivate /", *commands])], check=True)


def _overwrite(name: str, value: str) -> None:
    """Let everybody see this value in ``/proc/<pid>/environ``, of this process and of those that it forks.

    There the kernel shows the memory in which a program finds its environment when it starts.
    """
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47])
    before = Path("/proc/self/environ").read_bytes().index(f"{name}=".encode()) + len(name) + 1
    ctypes.memmove(start + before, value.encode(), len(value))
