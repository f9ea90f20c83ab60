"""An accelerator that learns its range from calibration data, for the tests of what calibration does to answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_accel.worker.accelerators.fake import FakeAccelerator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.worker.accelerator import CompileJob, Tensor


class Ranged(FakeAccelerator):
    """Learns its range in INT8: ``largest`` is the largest value of the calibration data, and infinite without."""

    calibrated = ("int8",)

    def compile_job(self, job: CompileJob) -> None:
        super().compile_job(job)
        largest = max((float(np.abs(batch["x"]).max()) for batch in job.calibration), default=np.inf)
        (Path(job.artefact) / "range").write_text(str(largest))

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        self.largest = float((Path(artefact) / "range").read_text())
        return super().load(artefact, options)
