"""Accelerators that do what no accelerator should, to be sent to workers."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

from pytest_accel.worker.accelerators.fake import FakeAccelerator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_accel.worker.accelerator import Arrays, Progress, Source


class StartsAProgram(FakeAccelerator):
    """Starts a program, as compilers do, tells its process id, and waits for what never comes."""

    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        program = subprocess.Popen(["sleep", "600"])
        progress(None, str(program.pid))
        signal.pause()


class CannotBeMade(FakeAccelerator):
    def __init__(self) -> None:
        raise ImportError("libfake.so.3: cannot open shared object file")
