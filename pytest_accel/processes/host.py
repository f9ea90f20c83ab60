"""Another machine that workers run on: asking its attendant, hearing that it lives, and starting workers there.

How it is reached is in `ssh`. The far side is `pytest_accel.worker.host.attendant`.
"""

from __future__ import annotations

import shlex
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import msgspec
from execnet import XSpec

from pytest_accel.facts.errors import HostLost, WorkerError
from pytest_accel.processes.far_interpreter import FarInterpreter
from pytest_accel.processes.messages import Answer, error_of
from pytest_accel.processes.shipping import host_sources, worker_rooms
from pytest_accel.processes.ssh import Attended, Ssh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_accel.facts.settings import Host
    from pytest_accel.worker.wire import Plain

#: SILENCE_S is the number of seconds without a sign of life after which either side gives the other up.
SILENCE_S = 60.0
_BEAT_EVERY_S = 5.0
_LOOK_EVERY_S = 0.25


def connect(host: Host, *, cache_limit_mb: float, waiting: Callable[[], None]) -> HostConnection:
    """Reach a host and start an attendant there, whose cache of files is kept under a number of megabytes.

    ``waiting`` is called now and then meanwhile. Raises `HostUnfit` where that cannot be.
    """
    ssh = Ssh(host)
    with ThreadPoolExecutor(max_workers=1) as thread:
        opening = thread.submit(Attended, ssh, SILENCE_S, cache_limit_mb)
        try:
            while wait([opening], timeout=_LOOK_EVERY_S).not_done:
                waiting()
        except BaseException:  # such as Ctrl-C, which does not wait for a machine that does not answer
            ssh.kill()
            raise
    return HostConnection(ssh, opening.result(), waiting)


class HostConnection:
    """A host with an attendant, as a place where workers run."""

    def __init__(self, ssh: Ssh, attended: Attended, waiting: Callable[[], None]) -> None:
        self.host = ssh.host
        self.words = f" on {self.host.ssh}"
        #: The Python that runs there, which workers run in too.
        self.python = attended.presentation.executable
        self._ssh = ssh
        self._attended = attended
        self._waiting = waiting
        self._turn = threading.Lock()
        self._number = 0
        self._heard_s = time.monotonic()
        self._closed = threading.Event()
        attended.prompts.setcallback(self._hear)
        for lasting in (self._beat, self._listen):
            threading.Thread(target=lasting, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._closed.is_set() and self._ssh.process.poll() is None

    def ask(self, op: str, *, deadline_s: float = 60.0, **params: Any) -> Plain:
        """Have one operation of the machine done and return its result.

        Raises `HostLost` where no answer comes, and `WorkerError` where the operation has failed.
        """
        with self._turn:
            self._number += 1
            try:
                self._attended.asked.send({"number": self._number, "op": op, "params": params})
                answer = self._answer(time.monotonic() + deadline_s)
            except (EOFError, OSError, self._attended.asked.RemoteError):
                raise self._lost() from None
        if answer.error is not None and answer.error.refused:
            raise WorkerError(f"{self.host.ssh}: {answer.error.message}", phase=op)
        if answer.error is not None:
            failure = error_of(answer.error, op)
            raise WorkerError(f"{self.host.ssh}: {failure}", phase=op, details=failure.details)
        return answer.result or {}

    def _answer(self, until: float) -> Answer:
        while (left_s := until - time.monotonic()) > 0:
            try:
                answer = msgspec.convert(self._attended.asked.receive(min(left_s, _LOOK_EVERY_S)), Answer)
            except self._attended.asked.TimeoutError:
                self._waiting()
                continue
            self._heard_s = time.monotonic()
            if answer.number == self._number:
                return answer
        self._ssh.kill()
        raise EOFError

    def tell(self, op: str, **params: Any) -> None:
        """Have one operation done that has no answer. A host that is gone does nothing more, and is asked later."""
        try:
            self._attended.prompts.send({"op": op, "params": params})
        except OSError:
            self._ssh.kill()

    def cargo(self, sources: dict[str, str], stand_ins: dict[str, str]) -> Plain:
        """Return the sources that the host has not, and where it keeps those that it has."""
        kept = worker_rooms().keys()
        own, others = ({name: text for name, text in part.items() if name not in kept} for part in (sources, stand_ins))
        return {"rooms": self._sources(), "sources": own, "stand_ins": others}

    def _sources(self) -> str:
        return str(self.ask("keep_sources", digest=host_sources().digest)["path"])

    def watch(self, temporary: str) -> None:
        """Leave it to the attendant."""

    def start(self, command: Sequence[str]) -> FarInterpreter:
        """Start an interpreter on the host."""
        spec = XSpec(f"popen//python={shlex.join(command)}//execmodel=main_thread_only")
        return FarInterpreter(self, self._attended.gateway, spec, self._sources())

    def close(self) -> None:
        """End the attendant, which ends all workers, and the client. May be called twice."""
        if not self._closed.is_set():
            self._closed.set()
            self._attended.gateway.exit()
            self._ssh.end()

    def _lost(self) -> HostLost:
        self._closed.set()
        self._ssh.kill()
        said = self._ssh.end()
        return HostLost(
            f"the connection to {self.host.ssh} is lost ({said or 'it does not answer any more'}); "
            f"what ran there ends by itself within {SILENCE_S:.0f} s. "
            f"See whether `ssh {self.host.ssh} true` works, then run again."
        )

    def _hear(self, beat: object) -> None:
        self._heard_s = time.monotonic()

    def _beat(self) -> None:
        """Let the attendant hear that this process lives. A line that is cut may hold this thread up."""
        while not self._closed.wait(_BEAT_EVERY_S):
            self.tell("beat")

    def _listen(self) -> None:
        while not self._closed.wait(_BEAT_EVERY_S):
            if time.monotonic() - self._heard_s > SILENCE_S:
                self._ssh.kill()
                return
