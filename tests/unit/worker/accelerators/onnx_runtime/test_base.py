from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.accelerators.onnx_runtime import base
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from pytest_accel.worker.accelerators.onnx_runtime.gpu_ort import GpuOrt


@pytest.mark.parametrize(
    ("profiled", "name"),
    [
        ("block/conv:0_nchwc_kernel_time", "block/conv:0"),
        ("conv_0_token_86_kernel_time", "conv_0"),
        ("conv_nchwc_token_2_kernel_time", "conv"),
        ("pool_kernel_time", "pool"),
        ("_kernel_time", ""),
    ],
)
def test_names_lose_what_profiling_adds_to_them(profiled: str, name: str) -> None:
    assert base._ADDED_TO_A_NAME.sub("", profiled) == name


MAKERS = {
    "sum": SimpleNamespace(op_type="Add", name="add", input=["made", "x"]),
    "made": SimpleNamespace(op_type="Conv", name="conv", input=["x", "w"]),
    "positive": SimpleNamespace(op_type="Relu", name="relu", input=["made"]),
    "summed": SimpleNamespace(op_type="Relu", name="last", input=["sum"]),
}


@pytest.mark.parametrize(
    ("profiled", "name"),
    [
        ("made_nchwc_kernel_time", "conv"),
        ("positive_nchwc_token_7_kernel_time", "conv"),
        ("summed_nchwc_kernel_time", "summed"),  # of the two sides of a sum either may be the operator
        ("made_kernel_time", "made"),  # an operator that has the name of a tensor
        ("unknown_nchwc_kernel_time", "unknown"),
    ],
)
def test_a_blocked_kernel_has_the_name_of_its_operator(profiled: str, name: str) -> None:
    assert base._name_of(profiled, "Conv", MAKERS) == name


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
