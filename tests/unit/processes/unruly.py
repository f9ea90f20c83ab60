"""Accelerators that do what no accelerator should, to be sent to workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.fake import FakeAccelerator
from pytest_accel.worker.redaction import keep_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.worker.accelerator import CompileJob, Progress, Tensor


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


def wires() -> list[int]:
    """The descriptors of pipes beside the standard ones, of which one is what the controller reads."""
    numbers = [int(path.name) for path in Path("/proc/self/fd").iterdir() if "pipe:" in os.path.realpath(path)]
    return [number for number in numbers if number > 2]


class DiesBehindAProgram(FakeAccelerator):
    """Starts a program in a group of its own that holds the wire open, tells its process id, and dies."""

    def compile_job(self, job: CompileJob) -> None:
        program = subprocess.Popen(["sleep", "600"], start_new_session=True, pass_fds=wires())
        job.progress(None, str(program.pid))
        os._exit(7)


class SpoilsTheWire(FakeAccelerator):
    """Writes to descriptors that are not its own, as a faulty library does. The model says what, and if it dies."""

    def compile_job(self, job: CompileJob) -> None:
        what, _, dies = job.source.path.partition("-")
        for number in wires():
            with contextlib.suppress(OSError):  # the end that is read
                os.write(number, bytes.fromhex(what))
        if dies:
            os.abort()
        signal.pause()


class SaysWhatCannotBeSent(FakeAccelerator):
    def versions(self) -> dict[str, str]:
        return {"sdk": object()}  # type: ignore[dict-item]

    def compile_job(self, job: CompileJob) -> None:
        raise Refused("no operator \udcff, in the vendor's words")


class LogsItsSecret(FakeAccelerator):
    def compile_job(self, job: CompileJob) -> None:
        keep_secret(["of+the/worker=="])

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        print("GET /?key=of%2Bthe%2Fworker%3d%3D&other=from%2Fthe+environment", flush=True)
        os.abort()


class CannotBeMade(FakeAccelerator):
    def __init__(self) -> None:
        raise ImportError("libfake.so.3: cannot open shared object file")


class Deploys(FakeAccelerator):
    """Deploys what it loads: says so at once, and takes as long as the options ask for."""

    deploys = True

    def deploy(self, artefact: str, options: Mapping[str, Any], progress: Progress) -> None:
        self.announce(f"endpoint of {Path(artefact).name} is billed")
        progress(None, "endpoint is Creating")
        if options["signature"] == "refused":
            raise Refused("the quota does not allow it")
        while options["signature"] == "hangs":
            signal.pause()

    def delete_deployments(self, patience_s: float, progress: Progress) -> list[str]:
        progress(None, "endpoint is Deleting")
        return [f"endpoint is left after {patience_s:g} s"]
