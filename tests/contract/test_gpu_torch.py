"""The contract of ``gpu-torch`` on a real GPU: nothing else computes what PyTorch's CUDA does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_accel.processes.client import Loaded, WorkerClient
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.accelerators.pytorch.gpu_torch import GpuTorch
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS

#: The coarser a precision, the larger its error; of TF32 and FP16, which have as many bits, both bounds are the same.
ERRORS = {"tf32": (1e-6, 1e-2), "fp16": (1e-6, 1e-2), "bf16": (1e-4, 1e-1)}


@pytest.mark.slow
class TestGpuTorch(AcceleratorContract):
    accelerator = GpuTorch
    rtol = 1e-5  # cuDNN may choose another algorithm for the next process, but not for the next call

    def test_fp32_is_fp32_on_the_gpu_alone(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert set(placement.operators.values()) == {"gpu:float32"}
        assert placement.on_device == 1.0
        assert flops == 2 * YARDSTICK_MULTIPLY_ADDS

    @pytest.mark.parametrize("precision", ERRORS)
    def test_a_coarser_precision_is_seen_and_costs_what_it_should(
        self, client: WorkerClient, artefact: Path, precision: str, loaded: Loaded
    ) -> None:
        inputs = made_up(loaded, rows=1)
        (exact,) = client.predict(inputs).values()
        client.load(artefact, self.complete(precision=precision))
        (answer,) = client.predict(inputs).values()
        names = {"tf32": "tf32", "fp16": "float16", "bf16": "bfloat16"}
        assert client.placement()[0].precisions[names[precision]] >= 20
        least, most = ERRORS[precision]
        assert least < np.linalg.norm(answer - exact) / np.linalg.norm(exact) < most

    def test_a_call_takes_no_less_than_the_device_needs(self, client: WorkerClient, artefact: Path) -> None:
        options = self.complete(batch_size=256)
        loaded = client.load(artefact, options)
        client.stage([made_up(loaded, rows=256)])
        client.warm_up(min_calls=10, min_s=0.0, max_s=5.0, window=5)
        found = client.probe()
        assert not isinstance(found, Missing)
        timed = client.measure("single_stream", calls=20, checks=0)
        _, flops = client.placement()
        assert flops is not None
        assert flops / (min(timed.latencies_ns) / 1e9) < found.peaks["fp32"]
        assert timed.device_memory_mb is not None
        assert timed.device_memory_mb > 100
