from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from tests.contract.compiling import CompilingContract, images, onnx

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.processes.client import WorkerClient

#: Of every Q/DQ pair: the type, whether zero is at zero, and the number of scales.
PAIRS = """
import json, sys
import onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[1])
values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
zeros = [values[node.input[2]] for node in model.graph.node if node.op_type == "DequantizeLinear"]
print(json.dumps(sorted({(zero.dtype.name, bool((zero == 0).all()), zero.size) for zero in zeros})))
"""


class TestCpuOrt(CompilingContract):
    accelerator = CpuOrt

    def test_int8_activations_are_the_form_that_tensorrt_reads(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        options = self.complete(precision="int8", activations="int8")
        client.compile(onnx(models, "convolution"), tmp_path, options, calibration=images(3))
        told = subprocess.check_output([sys.executable, "-c", PAIRS, tmp_path / "model.onnx"])
        pairs = [["int8", True, 1], ["int8", True, 16], ["int8", True, 32]]
        assert json.loads(told) == pairs, "symmetric, weights by channel, and no INT32 bias"

    @pytest.mark.parametrize(
        ("model", "advice"),
        [
            ("no_kernel", r"no operator 'Relu\(14\)' on this device for these types: replace it"),
            ("unfit_type", r"operator 'Sin' does not take a tensor\(int64\): cast its input"),
            ("newer_opset", "the model needs opset 99, which this release does not have: upgrade it"),
            ("newer_format", r"has the ONNX format 99 and this release reads up to \d+: upgrade onnxruntime"),
        ],
    )
    def test_a_model_from_elsewhere_is_refused_with_what_to_do(
        self, client: WorkerClient, models: Path, tmp_path: Path, model: str, advice: str
    ) -> None:
        self.refuses(client, onnx(models, model), tmp_path, advice)

    def test_ranges_that_overflow_are_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        large = [{"image": np.full((1, 3, 16, 16), 1e3, np.float32)}]
        with pytest.raises(CompileFailed, match="a range is not finite: look for NaN and overflow"):
            client.compile(
                onnx(models, "overflow"), tmp_path / "artefact", self.complete(precision="int8"), calibration=large
            )

    def test_calibration_data_of_another_dtype_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        fine = [{"image": batch["image"].astype(np.float64)} for batch in images(1)]
        with pytest.raises(CompileFailed, match="an input has another dtype: give it what"):
            client.compile(
                onnx(models, "convolution"), tmp_path / "artefact", self.complete(precision="int8"), calibration=fine
            )

    @pytest.mark.parametrize(
        ("model", "precisions"),
        [
            ("convolution", ("float32",)),
            ("already_quantised", ("float32", "int8")),
            ("half", ("float16",)),
            ("half_inside", ("float16", "float32")),
            ("bytes_first", ("float32",)),
        ],
    )
    def test_the_precisions_of_the_file_itself_are_known(
        self, client: WorkerClient, models: Path, tmp_path: Path, model: str, precisions: tuple[str, ...]
    ) -> None:
        client.compile(onnx(models, model), tmp_path, self.complete())
        assert client.graph_precisions(tmp_path, self.complete()) == precisions

    def test_text_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        self.refuses(
            client,
            onnx(models, "text"),
            tmp_path,
            r"'x' is a tensor\(string\); only tensors of numbers can be measured",
        )

    def test_it_runs_with_the_threads_asked_for(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        client.compile(onnx(models, "convolution"), tmp_path, self.complete())
        worker = psutil.Process(client.worker.pid)
        threads = {}
        for asked in (1, 2, 5):
            client.load(tmp_path, self.complete(threads=asked))
            threads[asked] = worker.num_threads()
        assert (threads[2] - threads[1], threads[5] - threads[1]) == (1, 4), "the calling thread works too"

    def test_without_optimisation_every_operator_stands_alone(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        alone = self.placed(client, models, tmp_path / "none", optimisation="none")
        assert alone.operators.keys() == {"convolve", "rectify", "mix", "pool", "normalise"}
        assert len(self.placed(client, models, tmp_path / "all").operators) == 4, "convolve and rectify are one"

    def test_int8_is_made_of_what_stands_between_its_q_and_dq(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        alone = self.placed(client, models, tmp_path / "none", optimisation="none", precision="int8")
        assert alone.precisions == {"float32": 4}, "convolve with its ReLU in the range, mix, pool and normalise"
