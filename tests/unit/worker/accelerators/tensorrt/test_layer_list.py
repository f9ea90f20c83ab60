"""The files in ``data`` are messages of TensorRT for RTX 1.7.1 about engines for SM89."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_accel.worker.accelerators.tensorrt.layer_list import operators

DATA = Path(__file__).parent / "data"


def listed(name: str) -> str:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8")


def line(
    *, name: str = "conv_myl0_1", kind: str = "correlation", goes_in: str = "", comes_out: str = "", nodes: str = ""
) -> str:
    """A layer with tensors of these types, separated by spaces."""
    sides = [
        ", ".join(f"{{ Name: x, Datatype: {word}, Format: F }}" for word in side.split())
        for side in (goes_in, comes_out)
    ]
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [{sides[0]}], Constants: [{{ Datatype: Int4 }}], "
        f"Outputs: [{sides[1]}], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: {nodes}"
    )


def test_products_in_int8_are_int8_whatever_they_give() -> None:
    assert operators(listed("convolution_int8_sm89"), tf32=False) == {
        "convolve (MulMinMaxRounCastConc)": "gpu:float32",
        "convolve": "gpu:int8",
        "convolve + rectify (MulAddMulMinMaxRounCastCastMulReluMulMinMaxRounCast)": "gpu:float32",
        "mix": "gpu:int8",
        "pool (MulMulMinMaxRounCastCastMulMeanMulMin)": "gpu:float32",
        "flatten + normalise (MaxRounCastReshCastMulMulSumSqrtEqlCastAddDiv)": "gpu:float32",
    }


def test_layers_that_only_move_values_or_compute_indices_are_left_out() -> None:
    found = operators(listed("attention_fp16_sm89"), tf32=False)
    assert list(found.values()) == ["gpu:float16"] * 4 + ["gpu:float32"]
    assert list(found)[:2] == ["project_query + project_value", "project_key"]
    assert operators(line(goes_in="Int64", comes_out="Int64"), tf32=False) == {}
    assert operators(line(name="__mye284_0_myl0_0", kind="shape_call"), tf32=False) == {}


@pytest.mark.parametrize(
    ("kind", "goes_in", "comes_out", "precision"),
    [
        ("correlation", "Int8 Float", "Float", "int8"),
        ("gemm", "FP8", "Half", "fp8"),
        ("gemm", "BFloat16", "Float", "bfloat16"),
        ("gemm", "Int64", "Half", "float16"),
        ("kgen", "Int8", "Half", "float16"),
        ("kgen", "Half", "Float", "float32"),
        ("kgen", "FP4", "FP4", None),
    ],
)
def test_a_product_computes_in_what_goes_in_and_other_kernels_in_the_finest_they_have(
    kind: str, goes_in: str, comes_out: str, precision: str | None
) -> None:
    found = operators(line(kind=kind, goes_in=goes_in, comes_out=comes_out), tf32=False)
    assert list(found.values()) == ([f"gpu:{precision}"] if precision else [])


def test_where_tf32_is_allowed_fp32_is_not_known() -> None:
    layers = "\n".join(line(goes_in=word, comes_out=word, nodes=f"[ONNX Layer: {word}]") for word in ("Float", "Half"))
    assert operators(layers, tf32=True) == {"Float": "gpu:unknown", "Half": "gpu:float16"}


def test_names_stay_when_layers_are_added_and_none_is_lost() -> None:
    same = [
        line(name=f"conv_myl0_{place}", goes_in="Half", nodes="[ONNX Layer: a]\x1f[ONNX Layer: b]") for place in (3, 7)
    ]
    assert list(operators("\n".join(same), tf32=False)) == ["a + b", "a + b #2"]
    assert list(operators(line(name="conv_myl0_3", goes_in="Half"), tf32=False)) == ["conv"]


def test_the_order_in_which_nodes_are_listed_is_none() -> None:
    nodes = ["[ONNX Layer: rectify]", "[ONNX Layer: convolve]", "[ONNX Layer: x_QuantizeLinear]"]
    one, other = (
        operators(line(goes_in="Half", nodes="\x1e".join(order)), tf32=False) for order in (nodes, nodes[::-1])
    )
    assert list(one) == list(other) == ["convolve + rectify"]


def test_another_message_has_no_layers() -> None:
    assert operators("", tf32=False) == operators("conv1\nconv2\n", tf32=False) == {}
