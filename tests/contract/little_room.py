"""``gpu-trt`` for a worker that takes every model for one of more than 2 GB, of which the weights stay in files."""

from __future__ import annotations

from pytest_accel.worker.accelerator import CompileJob
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import GpuTrt
from pytest_accel.worker.formats import onnx_file


class LittleRoom(GpuTrt):
    def compile_job(self, job: CompileJob) -> None:
        onnx_file.ONE_MESSAGE_BYTES = 0
        super().compile_job(job)
