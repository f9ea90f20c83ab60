from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_accel.worker.accelerator import CompileJob, Source
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from pytest_accel.worker.formats import onnx_file
from pytest_accel.worker.hardware import processor
from tests.models import onnx_shapes

WEIGHTS = np.random.default_rng(3).normal(size=(64, 8)).astype(np.float32)
X = np.random.default_rng(4).uniform(0, 1, (2, 64)).astype(np.float32)


def options(**chosen: Any) -> dict[str, Any]:
    return {**{name: option.default for name, option in CpuOrt.options().items()}, "batch_size": 2, **chosen}


def quantised(folder: Path) -> Path:
    """An artefact in INT8 of one matrix product."""
    pytest.importorskip("onnxruntime")
    nodes: list[Any] = [("MatMul", ["x", "w"], ["y"], {})]
    path = onnx_shapes.write(folder / "m.onnx", nodes, {"x": [2, 64]}, {"y": [2, 8]}, w=WEIGHTS)
    artefact = folder / "artefact"
    artefact.mkdir()
    job = CompileJob(Source("onnx", str(path)), str(artefact), options(precision="int8"), lambda *_: None, [{"x": X}])
    CpuOrt().compile_job(job)
    return artefact


@pytest.mark.parametrize(("saturates", "largest"), [(True, 64), (False, 127)])
def test_weights_have_seven_bits_where_products_of_eight_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool, largest: int
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: saturates)
    from onnx import numpy_helper

    graph = onnx_file.read(str(quantised(tmp_path) / "model.onnx")).graph
    (weights,) = (numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "w_quantized")
    assert np.abs(weights.astype(int)).max() == largest


def test_a_reference_computes_what_the_pairs_say_whatever_the_processor_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: False)
    artefact = quantised(tmp_path)
    accelerator = CpuOrt()
    accelerator.load(str(artefact), options(precision="int8", **CpuOrt.as_reference))
    (answer,) = accelerator.infer({"x": X}).values()
    np.testing.assert_allclose(answer, X @ WEIGHTS, atol=0.1)
    kinds = {kernel.kind for kernel in accelerator.kernels()}
    assert kinds == {"MatMul"}, "and no kernel of INT8"
