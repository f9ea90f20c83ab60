"""Where a worker runs: what is local to its machine, and how an interpreter is started there. Here this machine.

Another one is in `host`. What a worker says and means is the same everywhere, and is in `process`.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Protocol

from pytest_accel.worker.host.operations import Operations
from pytest_accel.worker.host.processes import Processes
from pytest_accel.worker.host.remains import Remains

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_accel.worker.wire import Plain

#: START_DEADLINE_S is the number of seconds that an interpreter has to start.
START_DEADLINE_S = 60.0
#: GRACE_S is the number of seconds that a process has to end by itself.
GRACE_S = 5.0
#: HANG_UP_S is the number of seconds that the end of a dead worker's wire is waited for.
HANG_UP_S = 2.0
#: NO_START is what an interpreter fails with that does not start, or that answers what is no answer.
NO_START = (OSError, EOFError, AssertionError)


class Interpreter(Protocol):
    """A Python that was started for one worker, as process ``pid``.

    ``channel`` is the wire to the worker rooms that boot there.
    """

    channel: Any
    pid: int

    def status(self) -> int | None:
        """Return the exit status, which is below zero for a signal; None while it lives."""

    def wait(self) -> int | None:
        """Give it a while to end, and return the status."""

    def bury(self, pid: int) -> None:
        """Wait until a killed worker is dead, whose own number is ``pid``: its device counts what it did until then."""

    def end(self) -> None:
        """Forget the dead interpreter and close the wire."""


class Place(Protocol):
    """A machine that workers run on.

    ``ask`` has one of its operations done and returns the answer; ``tell`` waits for none, and what is told is done
    before a worker hears what is sent to it later. ``words`` name the machine behind an accelerator's name.
    """

    words: str

    def ask(self, op: str, **params: Any) -> Plain:
        """Have an operation of the machine done."""

    def tell(self, op: str, **params: Any) -> None:
        """Have an operation of the machine done that has no answer."""

    def cargo(self, sources: dict[str, str], stand_ins: dict[str, str]) -> Plain:
        """Return what a worker's boot is sent of these sources, which `cargo_for` tells apart."""

    def start(self, command: Sequence[str]) -> Interpreter:
        """Start an interpreter that boots a worker. Raises one of `NO_START`."""

    def watch(self, temporary: str) -> None:
        """Keep the log small of the worker with this folder; called often."""


class Here:
    """This machine. What workers leave is below ``folder``."""

    words = ""

    def __init__(self, folder: Path) -> None:
        self._operations = Operations(Processes(), Remains(str(folder)))

    def ask(self, op: str, **params: Any) -> Plain:
        """Have it done in this process."""
        return self._operations.ask(op, **params)

    def tell(self, op: str, **params: Any) -> None:
        """Have it done in this process."""
        self._operations.ask(op, **params)

    def cargo(self, sources: dict[str, str], stand_ins: dict[str, str]) -> Plain:
        """Return all of them: a pipe is fast."""
        return {"rooms": "", "sources": sources, "stand_ins": stand_ins}

    def start(self, command: Sequence[str]) -> Interpreter:
        """Start a child of this process."""
        return Child(command)

    def watch(self, temporary: str) -> None:
        """Do it now."""
        self._operations.ask("trim_log", temporary=temporary)


class Child:
    """An interpreter that is a child of this process."""

    def __init__(self, command: Sequence[str]) -> None:
        import execnet

        from pytest_accel.worker import boot

        self._group = execnet.Group()
        gateway = self._gateway(command)
        # execnet keeps the process to itself, but only the process knows which signal ended it.
        self.process: subprocess.Popen[bytes] = gateway._io.popen
        self.pid = self.process.pid
        self.channel = gateway.newchannel()  # closed at once, in case that the next line fails
        with contextlib.suppress(OSError):  # what is sent to it later says so too
            self.channel = gateway.remote_exec(boot)

    def _gateway(self, command: Sequence[str]) -> Any:
        """Start it. It may answer what is no answer, because something else prints, or nothing at all."""
        from execnet import XSpec, gateway_bootstrap, gateway_io

        spec = XSpec(f"popen//python={shlex.join(command)}//execmodel=main_thread_only")
        self._group.allocate_id(spec)
        io = gateway_io.create_io(spec, execmodel=self._group.execmodel)
        patience = threading.Timer(START_DEADLINE_S, io.kill)
        patience.start()
        try:
            gateway = gateway_bootstrap.bootstrap(io, spec)
        except NO_START:
            discard(io.popen)
            raise
        finally:
            patience.cancel()
        gateway.spec = spec
        self._group._register(gateway)
        return gateway

    def status(self) -> int | None:
        """Return the exit status of the child."""
        return self.process.poll()

    def wait(self) -> int | None:
        """Wait for the child, but not for long."""
        try:
            return self.process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            return None

    def bury(self, pid: int) -> None:
        """Kill it, unless it ends by itself: a relay does when the process that it stands for is gone."""
        if pid == self.pid:
            self.process.kill()
        self.wait()
        self.process.kill()

    def end(self) -> None:
        """Close the wire."""
        self._group.terminate(timeout=HANG_UP_S)


def discard(process: subprocess.Popen[bytes]) -> None:
    """End a process that was never any use, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(OSError):  # what it has not read is lost with it
            pipe.close()
