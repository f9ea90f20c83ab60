"""Accelerators that do what no accelerator should, to be sent to workers."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_accel.worker.accelerators.fake import FakeAccelerator

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import CompileJob


class LeavesTemporaryFiles(FakeAccelerator):
    """Leaves temporary files when it compiles."""

    def compile_job(self, job: CompileJob) -> None:
        leave_temporary_files()
        super().compile_job(job)


def leave_temporary_files() -> None:
    """Leave a file, a folder with a file in it, a file of a program's, and one of native code's."""
    os.close(tempfile.mkstemp()[0])
    Path(tempfile.mkdtemp(), "below").touch()
    subprocess.run(["sh", "-c", 'echo > "$TMPDIR/of a program"'], check=True)
    os.system('echo > "$TMPDIR/of native code"')


class StartsAProgram(FakeAccelerator):
    """Starts a program, as compilers do, tells its process id, and waits for what never comes."""

    def compile_job(self, job: CompileJob) -> None:
        leave_temporary_files()
        program = subprocess.Popen(["sleep", "600"])
        job.progress(None, str(program.pid))
        signal.pause()


class TakesLongToDie(StartsAProgram):
    """Has so much memory that the kernel needs a moment to take it back."""

    def compile_job(self, job: CompileJob) -> None:
        self.taken = np.ones(1_000_000_000, np.uint8)
        super().compile_job(job)


class CannotBeMade(FakeAccelerator):
    def __init__(self) -> None:
        raise ImportError("libfake.so.3: cannot open shared object file")
