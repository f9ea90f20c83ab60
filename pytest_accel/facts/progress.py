"""What long work reports while it goes on. How that looks on a terminal is in `pytest_accel.report.progress`."""

from __future__ import annotations

from typing import Protocol


class StepProgress(Protocol):
    """Hears what long work is at; cheap enough to be called for every step."""

    def __call__(
        self, step: str, detail: str = "", *, share: float | None = None, lasts_s: float | None = None
    ) -> None:
        """Begin a step, or tell how far it is.

        A step keeps its words from beginning to end; ``detail`` may change. ``share`` is the part that is done, from 0
        to 1. ``lasts_s`` is how long the whole step takes, in seconds, where that is known beforehand.
        """

    def announce(self, sentence: str) -> None:
        """Tell a sentence that stays to be read, whatever follows."""

    def tick(self) -> None:
        """Say again what goes on; called while somebody waits."""

    def clear(self) -> None:
        """Make room for other output: the step has ended."""


class Silence:
    """Progress that nobody reads."""

    def __call__(
        self, step: str, detail: str = "", *, share: float | None = None, lasts_s: float | None = None
    ) -> None:
        """Say nothing."""

    def announce(self, sentence: str) -> None:
        """Say nothing."""

    def tick(self) -> None:
        """Say nothing."""

    def clear(self) -> None:
        """Nothing was said."""
