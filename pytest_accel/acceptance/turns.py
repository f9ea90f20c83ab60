"""A process that runs only while it has its turn, so that a tool as it comes can be timed beside something else.

It is stopped and continued by signals and does not notice, but for its clock: a call that was under way takes as long
as the stop. Medians hardly see one such call a turn, and from a total the time stopped can be taken off.

Its threads can be held apart in its turns, as those of a worker are in a duet: `Threads` says what they lose otherwise.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_accel.worker.timing.threads import Threads

if TYPE_CHECKING:
    from typing_extensions import Self

#: START_S is the number of seconds that a tool has until it begins.
START_S = 300.0
#: _LOOK_EVERY_S is the number of seconds between two looks at whether it has begun.
_LOOK_EVERY_S = 0.01


class InTurns:
    """Starts a command and stops it as soon as it has written ``begins``. ``waiting`` is called until then.

    With ``apart`` its busiest threads have a core of their own in each turn.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        begins: str,
        start_s: float = START_S,
        waiting: Callable[[], None] = lambda: None,
        apart: bool = False,
    ) -> None:
        # A file, because a pipe that nobody reads would stop a tool that writes much.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed where the process ends
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        self._threads = Threads(f"/proc/{self._process.pid}/task") if apart else None
        self._begins = begins.encode()
        self._start_s = start_s
        self._waiting = waiting
        self._stopped_at = 0.0
        self.stopped_s = 0.0

    def __enter__(self) -> Self:
        try:
            self._wait_until_it_begins()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def take(self, seconds: float) -> bool:
        """Run for this long, then stop; False once it has ended."""
        with self._threads.apart() if self._threads else nullcontext():
            self.stopped_s += time.perf_counter() - self._stopped_at
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._stop()
                return True
            return False

    def output(self) -> str:
        """Return all that it wrote, once the block is left. Raises `RuntimeError` with it when it failed."""
        if self._process.returncode:
            raise RuntimeError(f"it ended with status {self._process.returncode}:\n{self._text}")
        return self._text

    def _wait_until_it_begins(self) -> None:
        began_s = time.monotonic()
        while self._begins not in self._written():
            if self._process.poll() is not None:
                raise RuntimeError(f"it ended before {self._begins.decode()!r}:\n{self._written().decode()}")
            if time.monotonic() - began_s > self._start_s:
                raise RuntimeError(f"it did not begin in {self._start_s:.0f} s:\n{self._written().decode()}")
            time.sleep(_LOOK_EVERY_S)
            self._waiting()
        self._stop()

    def _written(self) -> bytes:
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)

    def _end(self) -> None:
        self._process.kill()  # a stopped one too
        self._process.wait()
        self._text = self._written().decode(errors="replace")
        self._log.close()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        with suppress(ChildProcessError):  # it had ended, and the signal found that out
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._stopped_at = time.perf_counter()
