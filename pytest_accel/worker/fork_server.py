"""A process that has imported an SDK and forks a child for each worker, which then starts without importing it.

The controller starts it with the line in `pytest_accel.processes.fork_server`. Each worker's relay connects and brings
its standard streams, folder and environment; the child takes them on and becomes what a started interpreter is. The
relay is told how the child ended. Linux and the standard library only; an SDK that starts threads of its own when it is
imported cannot be used here.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

#: READY is what the controller reads when everything is imported.
READY = b"ready\n"
_CONTROLLER = 0
_STREAMS = 3
_CHUNK_BYTES = 1 << 16


def serve(listener: int, preload: Sequence[str]) -> None:
    """Call the functions ``preload``, each a ``"module:function"``, and fork for every relay that connects.

    Returns in the children only. The server itself ends when its standard input does, and its children with it.
    """
    os.setpgid(0, 0)  # Ctrl-C on a terminal is the controller's
    for function in preload:
        module, _, name = function.partition(":")
        getattr(importlib.import_module(module), name)()
    importlib.import_module("pytest_accel.worker.serve")
    gc.collect()
    gc.freeze()  # a child need not look through the modules for garbage, which takes TensorFlow a tenth of a second
    os.write(1, READY)
    _Server(socket.socket(fileno=listener)).fork_for_relays()


class _Server:
    """``_relays`` has the connection of each child's relay by the child's number; None after the relay was killed."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._relays: Dict[int, Optional[socket.socket]] = {}
        # A signal of an ended child writes here, so that one wait sees children, relays and the controller.
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._waking, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking)

    def fork_for_relays(self) -> None:
        """Fork until the controller is gone; returns in each child."""
        while True:
            for source in self._wait():
                if source == _CONTROLLER:
                    os._exit(0)
                if source == self._woken:
                    os.read(self._woken, _CHUNK_BYTES)
                    self._bury()
                elif source == self._listener.fileno():
                    if self._fork():
                        return
                else:
                    self._kill_child_of(source)

    def _wait(self) -> List[int]:
        with selectors.DefaultSelector() as selector:
            relays = [relay.fileno() for relay in self._relays.values() if relay is not None]
            for source in [_CONTROLLER, self._woken, self._listener.fileno(), *relays]:
                selector.register(source, selectors.EVENT_READ)
            return [key.fd for key, _ in selector.select()]

    def _fork(self) -> bool:
        """Fork for the relay that waits; return whether this is the child."""
        relay, _ = self._listener.accept()
        streams, wanted = received(relay)
        if len(streams) != _STREAMS:  # it ended before it had sent all
            relay.close()
            return False
        pid = os.fork()
        if pid:
            self._relays[pid] = relay
            for fd in streams:
                os.close(fd)
            return False
        relay.close()
        self._leave()
        become(streams, wanted)
        if "numpy.random" in sys.modules:  # Python's own generator does that by itself
            importlib.import_module("numpy.random").seed()
        return True

    def _leave(self) -> None:
        """Let go of all that is the server's, in a child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._listener.close()
        for relay in filter(None, self._relays.values()):
            relay.close()
        os.close(self._woken)
        os.close(self._waking)

    def _bury(self) -> None:
        """Tell the relay of each ended child how it ended."""
        while self._relays:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            relay = self._relays.pop(pid)
            if relay is not None:
                with relay, contextlib.suppress(OSError):
                    relay.sendall(json.dumps(status).encode())

    def _kill_child_of(self, source: int) -> None:
        """End the child of a relay that was killed, unless it has ended. It leads a group once it has started."""
        for pid, relay in self._relays.items():
            if relay is None or relay.fileno() != source:
                continue
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
            self._relays[pid] = None  # the connection would stay readable until the child is buried
            relay.close()
            return


def become(streams: Sequence[int], wanted: Mapping[str, Any]) -> None:
    """Take on the standard streams, the folder and the environment of a relay."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open for as long as the process lives
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def received(relay: socket.socket) -> Tuple[List[int], Dict[str, Any]]:
    """Return the file descriptors and the wishes that a relay sends; the last byte of these is a newline."""
    fds = array.array("i")
    text = b""
    while not text.endswith(b"\n"):
        chunk, ancillary, _, _ = relay.recvmsg(_CHUNK_BYTES, socket.CMSG_LEN(_STREAMS * fds.itemsize))
        if not chunk:
            return [], {}
        text += chunk
        for level, kind, passed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(passed)
    wanted: Dict[str, Any] = json.loads(text)
    return list(fds), wanted
