from __future__ import annotations

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.variants import check_option
from pytest_accel.worker.accelerators.tensorrt.gpu_trt_rtx import GpuTrtRtx

OPTIONS = GpuTrtRtx.options()


@pytest.mark.parametrize("name", ["workspace_mb", "timing_cache", "beside_int8", "cuda_graph"])
def test_what_is_tensorrts_alone_is_no_option(name: str) -> None:
    assert name not in OPTIONS


@pytest.mark.parametrize("entry", ["builder_optimization_level", "hardware_compatibility_level", "refit"])
def test_an_entry_that_its_builder_does_not_take_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match=f"extra has no entry '{entry}'"):
        check_option("gpu-trt-rtx", "extra", OPTIONS["extra"], {entry: 1})


def test_an_entry_that_its_builder_takes_is_held_to_its_values() -> None:
    assert check_option("gpu-trt-rtx", "extra", OPTIONS["extra"], {"max_aux_streams": 2}) == {"max_aux_streams": 2}
    with pytest.raises(UsageError, match=r"extra\['max_aux_streams'\]=-1 must be at least 0"):
        check_option("gpu-trt-rtx", "extra", OPTIONS["extra"], {"max_aux_streams": -1})


def test_what_it_leaves_out_it_can_do_without() -> None:
    options = {name: option.default for name, option in OPTIONS.items()}
    assert GpuTrtRtx.impossible({**options, "precision": "int8", "profile": "1:2:4", "batch_size": 2}) is None


def test_the_tool_beside_it_is_of_its_own_product() -> None:
    tool = GpuTrtRtx.vendor_tool("artefact", "inputs", 40, {})
    assert tool is not None
    assert (tool.name, tool.program) == ("tensorrt_rtx", "tensorrt_rtx")
