"""Fork servers: importing an SDK once for all workers that start in an interpreter.

A launch of TensorFlow takes seconds, most of them for an import that is the same each time. The far side is
`pytest_accel.worker.fork_server`. A worker that comes from it is as fresh as one of an interpreter of its own: nothing
was loaded or run in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.processes import fork_relay
from pytest_accel.processes.shipping import worker_rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: _CHANGES_BY_ITSELF names the variables that pytest sets for each test, and that no SDK reads.
_CHANGES_BY_ITSELF = frozenset({"PYTEST_CURRENT_TEST"})
_LOOK_EVERY_S = 0.25
#: _SERVE is what the interpreter runs: its first line of input has the sources, the rest of it nothing. What follows
#: ``serve`` runs in the children, which read from their relay what execnet has any interpreter do.
_SERVE = """\
import json, sys
start, boot = json.loads(sys.stdin.readline()), {"__name__": "boot"}
exec(start["sources"]["pytest_accel.worker.boot"], boot)
sys.meta_path.insert(0, boot["Shipped"](start["sources"]))
from pytest_accel.worker.fork_server import serve
serve(start["listener"], start["preload"])
exec(eval(sys.stdin.readline()))
"""


class ForkServer:
    """An interpreter that has called ``preload`` and forks a child for each `command` that is run.

    ``preload`` names functions of the worker rooms, as ``"module:function"``.
    """

    def __init__(self, python: str, preload: Sequence[str], folder: Path) -> None:
        self._python = python
        self._environment = lasting_environment()
        self._folder = tempfile.TemporaryDirectory(prefix="fork-", dir=folder)
        self._address = str(Path(self._folder.name).absolute() / "s")
        with listening(self._address) as listener:
            self._process = subprocess.Popen(
                [python, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._input, self._output = self._process.stdin, self._process.stdout
            start = {"sources": worker_rooms(), "listener": listener.fileno(), "preload": list(preload)}
            with contextlib.suppress(BrokenPipeError):  # an interpreter that cannot run is never ready
                self._input.write(json.dumps(start).encode() + b"\n")
                self._input.flush()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def is_ready(self, waiting: Callable[[], None], deadline_s: float) -> bool:
        """Return whether it can fork, once that is known. ``waiting`` is called now and then meanwhile.

        It cannot where it has ended, or has not the environment that a process started in this moment would have.
        """
        until = time.monotonic() + deadline_s
        while not self._output.closed:
            if select.select([self._output], [], [], _LOOK_EVERY_S)[0] and self._output.read(1):
                self._output.close()
            elif self._process.poll() is not None or time.monotonic() > until:
                self.close()
            waiting()
        return self._process.poll() is None and self._environment == lasting_environment()

    def command(self) -> list[str]:
        """Return the command that stands for the interpreter: it behaves as ``python`` does in ``python -u -c``."""
        return [sys.executable, "-I", "-S", fork_relay.__file__, self._address, self._python]

    def close(self) -> None:
        """End it, and the workers that came from it. May be called twice."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        self._folder.cleanup()


class ForkServers:
    """The fork servers of one session, one for each interpreter and what is imported in it."""

    def __init__(self, folder: Path, waiting: Callable[[], None], deadline_s: float) -> None:
        self._folder = folder
        self._waiting = waiting
        self._deadline_s = deadline_s
        self._servers: dict[tuple[str, tuple[str, ...]], ForkServer] = {}

    def for_interpreter(self, python: str, preload: Sequence[str]) -> ForkServer | None:
        """Return a server that is ready, or None where a worker has to start an interpreter of its own.

        That is so without ``preload``, on systems other than Linux, where the import fails, and where the environment
        is no longer what the server has.
        """
        if not preload or sys.platform != "linux":
            return None
        key = (python, tuple(preload))
        if key not in self._servers:
            self._servers[key] = ForkServer(python, preload, self._folder)
        server = self._servers[key]
        return server if server.is_ready(self._waiting, self._deadline_s) else None

    def close(self) -> None:
        """End them all."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()


def listening(address: str) -> socket.socket:
    """Return a Unix socket that listens at a path of any length."""
    listener = socket.socket(socket.AF_UNIX)
    with fork_relay.short(address) as name:
        listener.bind(name)
    listener.listen()
    return listener


def lasting_environment() -> Mapping[str, str]:
    """Return the environment variables that an SDK can depend on, and the folder as ``PWD``."""
    lasting = {name: value for name, value in os.environ.items() if name not in _CHANGES_BY_ITSELF}
    return {**lasting, "PWD": str(Path.cwd())}
