from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.accelerators.onnx_runtime import base
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from pytest_accel.worker.accelerators.onnx_runtime.gpu_ort import GpuOrt


def test_tensors_have_numpys_dtypes_and_none_where_a_size_is_free() -> None:
    described = SimpleNamespace(name="x", type="tensor(float)", shape=["n", 3, None])
    assert base._tensor(described) == Tensor("x", "float32", (None, 3, None))
    assert base._tensor(SimpleNamespace(name="i", type="tensor(int64)", shape=[])).dtype == "int64"


def test_what_is_no_tensor_of_numbers_is_refused() -> None:
    with pytest.raises(Refused, match=r"'labels' is a seq\(map\(int64,tensor\(float\)\)\)"):
        base._tensor(SimpleNamespace(name="labels", type="seq(map(int64,tensor(float)))", shape=[]))


@pytest.mark.parametrize(
    ("accelerator", "device"), [(CpuOrt, []), (GpuOrt, ["CUDAExecutionProvider"])], ids=["processor", "gpu"]
)
def test_the_loop_beside_it_runs_on_the_same_provider(accelerator: type[base.OnnxRuntime], device: list[str]) -> None:
    tool = accelerator.vendor_tool("artefact", "inputs", 40, {})
    assert tool is not None
    assert list(tool.arguments[1:]) == ["onnxruntime", "artefact/model.onnx", "inputs", "40", *device]
