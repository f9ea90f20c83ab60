"""An interpreter that was started on another host for one worker, with execnet's wire to it through the attendant."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from execnet import Gateway
from execnet.gateway_bootstrap import sendexec
from execnet.gateway_io import ProxyIO

from pytest_accel.facts.errors import HostLost
from pytest_accel.processes.place import GRACE_S, START_DEADLINE_S

if TYPE_CHECKING:
    from execnet import XSpec

    from pytest_accel.worker.wire import Plain

#: _FORWARD is run by the attendant, once for each worker.
_FORWARD = "from pytest_accel.worker.host.attendant import forward\nforward(channel)"
#: _BECOME is run by the interpreter: what execnet would send each time is in a file of the host.
_BECOME = """\
import json, os, zlib
with open({path!r}, "rb") as file: sources = json.loads(zlib.decompress(file.read()))
exec(sources["execnet"]["execnet.gateway_base"])
io = init_popen_io(get_execmodel("main_thread_only"))
io.write(b"1")
serve(io, id="worker")
"""
#: _BOOT is run as soon as execnet serves.
_BOOT = """\
import __main__
channel.send(__main__.os.getpid())
exec(compile(__main__.sources["rooms"]["pytest_accel.worker.boot"], "boot.py", "exec"), globals())
"""
#: _LOOK_EVERY_S is the number of seconds between two questions whether an interpreter lives.
_LOOK_EVERY_S = 5.0


class Asked(Protocol):
    """Whoever can be asked about the host's processes."""

    def ask(self, op: str, *, deadline_s: float = ..., **params: Any) -> Plain:
        """Have an operation of the host done."""


class FarInterpreter:
    """An interpreter on a host. ``sources`` is the path there of what it reads at first."""

    def __init__(self, host: Asked, attendant: Any, spec: XSpec, sources: str) -> None:
        self._host = host
        self._looked_s = time.monotonic()
        self._io = _wire(attendant, spec)
        patience = threading.Timer(START_DEADLINE_S, self._io.kill)
        patience.start()
        try:
            sendexec(self._io, _BECOME.format(path=sources))
            if self._io.read(1) != b"1":
                raise EOFError("it has ended, or prints something")
            self._gateway = Gateway(self._io, spec)
            self.channel = self._gateway.remote_exec(_BOOT)
            self.pid: int = self.channel.receive(START_DEADLINE_S)
        except (self._io.iochan.RemoteError, self._io.iochan.TimeoutError) as error:
            *_, last_line = str(error).strip().splitlines()
            raise EOFError(last_line) from None
        finally:
            patience.cancel()

    def status(self) -> int | None:
        """Return the exit status, asked for now and then; None while it lives. A host that is lost has killed it."""
        if time.monotonic() - self._looked_s < _LOOK_EVERY_S and not self.channel.isclosed():
            return None
        self._looked_s = time.monotonic()
        return self._ask_status()

    def _ask_status(self) -> int | None:
        try:
            status: int | None = self._host.ask("process_status", pid=self.pid)["status"]
        except HostLost:
            return -9
        return status

    def wait(self) -> int | None:
        """Give it a while to end, and return the status. Raises `HostLost`."""
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            status = self._host.ask("process_status", pid=self.pid)["status"]
            if status is not None:
                return int(status)
            time.sleep(0.1)
        return None

    def bury(self, pid: int) -> None:
        """Wait for nothing: the attendant has killed it, and whoever asks about the device asks behind that."""

    def end(self) -> None:
        """Let the attendant forget the process, which is dead."""
        with contextlib.suppress(OSError):  # the host is lost
            self._io.controlchan.close()


def _wire(attendant: Any, spec: XSpec) -> ProxyIO:
    """Have the attendant start the interpreter, and return execnet's wire to it."""
    spec.id = "worker"
    channel = attendant.remote_exec(_FORWARD)
    channel.send(vars(spec))
    return ProxyIO(channel, attendant.execmodel)
