"""A process that runs only while it has its turn, so that a tool as it comes can be timed beside something else.

It is stopped and continued by signals and does not notice, but for its clock: a call that was under way takes as long
as the stop. Medians hardly see one such call a turn, and from a total the time stopped can be taken off.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class InTurns:
    """Starts a command and stops it as soon as it writes a line that contains ``begins``."""

    def __init__(self, command: Sequence[str], *, begins: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._begins = begins
        self._stopped_at = 0.0
        self._output: list[str] = []
        self.stopped_s = 0.0

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._output.append(line)
            if self._begins in line:
                self._stop()
                return self
        raise RuntimeError(f"it ended before {self._begins!r}:\n{''.join(self._output)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()  # a stopped one too
        assert self._process.stdout is not None
        with self._process.stdout as told:
            self._output += told.readlines()
        self._process.wait()

    def take(self, seconds: float) -> bool:
        """Run for this long, then stop; False once it has ended."""
        self.stopped_s += time.perf_counter() - self._stopped_at
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._stop()
            return True
        return False

    def output(self) -> str:
        """All that it wrote, once the block is left. Raises `RuntimeError` with it when it failed."""
        text = "".join(self._output)
        if self._process.returncode:
            raise RuntimeError(f"it ended with status {self._process.returncode}:\n{text}")
        return text

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._stopped_at = time.perf_counter()
