from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_accel.worker.accelerators.tensorrt.inspector import observed


def placed(*layers: Any) -> dict[str, str]:
    return observed(json.dumps({"Layers": layers, "Bindings": ["image", "scores"]})).operators


def layer(**facts: Any) -> dict[str, Any]:
    return {"Name": "it", "LayerType": "CaskConvolution", "Inputs": [], "Outputs": [], **facts}


def tensor(**facts: str) -> list[dict[str, str]]:
    return [{"Name": "x", "Location": "Device", **facts}]


@pytest.mark.parametrize(
    ("kernel", "precision"),
    [
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs", "int8"),
        ("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc", "float16"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize64x64x64", "tf32"),
        ("sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nhwc", "tf32"),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x32", "bfloat16"),
        ("sm90_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn_n_tilesize128x128x64", "fp8"),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nchw", "float32"),
        ("ampere_scudnn_128x64_relu_small_nn_v1", "float32"),
        ("turing_h1688cudnn_256x64_ldg8_relu_exp_small_nhwc_tn_v1", "float16"),
    ],
)
def test_a_layer_computes_in_what_its_kernel_is_made_for(kernel: str, precision: str) -> None:
    assert placed(layer(TacticName=kernel)) == {"it": f"gpu:{precision}"}


@pytest.mark.parametrize(
    ("facts", "precision"),
    [
        ({"Format/Datatype": "Row major linear FP32"}, "float32"),
        ({"Format/Datatype": "Row major linear FP16 format"}, "float16"),
        ({"Format/Datatype": "Half"}, "float16"),
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}, "int8"),
        ({"DataType": "Float", "Format": "Row major linear FP32 format (kLINEAR)"}, "float32"),
        ({"DataType": "BFloat16", "Format": "Row major linear format (kLINEAR)"}, "bfloat16"),
        ({"DataType": "Half"}, "float16"),
        ({"Format/Datatype": "N/A due to dynamic shapes"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_layer_without_a_kernel_that_tells_computes_in_what_it_gives(facts: dict[str, str], precision: str) -> None:
    assert placed(layer(TacticName="__myl_MulAdd", Outputs=tensor(**facts))) == {"it": f"gpu:{precision}"}


def test_what_goes_in_counts_where_nothing_is_told_of_what_comes_out() -> None:
    assert placed(layer(Inputs=tensor(DataType="Half"), Outputs=tensor())) == {"it": "gpu:float16"}


def test_layers_that_compute_nothing_or_indices_are_left_out() -> None:
    indices = layer(LayerType="kgen", Outputs=tensor(DataType="Int64"))
    assert placed(layer(LayerType="Reformat", Outputs=tensor(DataType="Int8")), indices) == {}


def test_precisions_are_counted_by_layer_and_all_of_them_run_on_the_gpu() -> None:
    half, single = tensor(DataType="Half"), tensor(DataType="Float")
    layers = [layer(Name=name, Outputs=outputs) for name, outputs in (("a", half), ("b", half), ("c", single))]
    found = observed(json.dumps({"Layers": layers, "I/O Tensors": []}))
    assert (found.on_device, found.precisions) == (1.0, {"float16": 2, "float32": 1})


def test_bare_names_have_an_unknown_precision() -> None:
    assert placed("conv1 + relu1", "softmax") == {"conv1 + relu1": "gpu:unknown", "softmax": "gpu:unknown"}


def test_nothing_told_is_nothing_known() -> None:
    assert observed("{}").on_device is None
