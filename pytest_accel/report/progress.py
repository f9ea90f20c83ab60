"""Show in one line the step of long work, how far it is and how much longer it takes."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from pytest_accel.facts.progress import Silence

#: SILENCE_S is the time between two lines where no line can be overwritten, in seconds; 10 s at most are promised.
SILENCE_S = 8.0
#: REFRESH_S is the age after which a terminal's line is written again, in seconds.
REFRESH_S = 1.0
#: SHORT_S is the age of a step from which the line shows it, in seconds.
SHORT_S = 2.0
#: LEAST_SHARE is the share of a step, from 0 to 1, from which the line estimates how long the rest takes.
LEAST_SHARE = 0.03


class ProgressLine:
    """A terminal shows the line in one place; elsewhere a new line is written every few seconds.

    ``write`` must reach the terminal even while pytest captures output. Only the thread that made the line writes it.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        rewrites: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._rewrites = sys.stdout.isatty() if rewrites is None else rewrites
        self._clock = clock
        self._thread = threading.get_ident()
        self._written_s = clock()
        self._width = 0
        self._step = ""
        self._detail = ""
        self._began_s = 0.0
        self._share: float | None = None
        self._lasts_s: float | None = None
        self._announced: deque[str] = deque()
        # How long each step took the last time is the estimate for the next time.
        self._durations_s: dict[str, float] = {}

    def __call__(
        self, step: str, detail: str = "", *, share: float | None = None, lasts_s: float | None = None
    ) -> None:
        """Begin a step, or show how far it is."""
        if threading.get_ident() != self._thread:
            return
        self._write_announced()
        if step != self._step:
            self._end_step()
            self._step, self._began_s = step, self._clock()
        self._detail, self._share, self._lasts_s = detail, share, lasts_s
        if self._rewrites or self._silent_s >= SILENCE_S:
            self._show()

    def announce(self, sentence: str) -> None:
        """Write a line of its own. What another thread tells is written at the next call or `tick`."""
        self._announced.append(sentence)
        if threading.get_ident() == self._thread:
            self._write_announced()

    def tick(self) -> None:
        """Write the line again when it is old."""
        if threading.get_ident() != self._thread:
            return
        self._write_announced()
        old_s = REFRESH_S if self._rewrites else SILENCE_S
        if self._step and self._silent_s >= old_s:
            self._show()

    def clear(self) -> None:
        """Remove the line, so that other output can follow."""
        self._end_step()
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0
        self._written_s = self._clock()

    @property
    def _silent_s(self) -> float:
        return self._clock() - self._written_s

    def _end_step(self) -> None:
        if self._step:
            self._durations_s[self._step] = self._clock() - self._began_s
            self._step = ""

    def _show(self) -> None:
        text = self._text()
        if self._rewrites:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._write(f"\n{text}\n")
        self._written_s = self._clock()

    def _write_announced(self) -> None:
        while self._announced:
            sentence = self._announced.popleft()
            self._write(f"\r{sentence.ljust(self._width)}\n" if self._rewrites else f"\n{sentence}\n")
            self._width = 0

    def _text(self) -> str:
        step = f"{self._step}: {self._detail}" if self._detail else self._step
        return f"{step}{self._time()}"

    def _time(self) -> str:
        """Say how much longer the step takes where that is known, otherwise how long it has taken."""
        spent_s = self._clock() - self._began_s
        lasts_s = self._lasts_s or self._durations_s.get(self._step)
        if self._share is not None and self._share >= LEAST_SHARE:
            lasts_s = spent_s / self._share
        if lasts_s is not None and lasts_s > spent_s:
            return f", about {lasts_s - spent_s:.0f} s left"
        return f", {spent_s:.0f} s so far" if spent_s >= SHORT_S else ""


class AnnouncementsOnly(Silence):
    """What a process without a terminal says: only that which has to stay. ``write`` reaches somebody who reads it."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def announce(self, sentence: str) -> None:
        """Write a line."""
        self._write(f"{sentence}\n")
