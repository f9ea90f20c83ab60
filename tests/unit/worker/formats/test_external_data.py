from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.worker.formats.external_data import TooDeep, external_files

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="needs pip install 'pytest-accel[cpu-ort]'")
helper, TensorProto = onnx.helper, onnx.TensorProto


def outside(name: str, location: str) -> Any:
    """A tensor whose values lie in another file."""
    tensor = onnx.numpy_helper.from_array(np.ones(3, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph(name: str, nodes: Any = (), initializers: Any = (), sparse: Any = ()) -> Any:
    return helper.make_graph(list(nodes), name, [], [], list(initializers), sparse_initializer=list(sparse))


def constant(location: str) -> Any:
    return helper.make_node("Constant", [], ["c"], value=outside("c", location))


def everywhere() -> Any:
    """A model that has a tensor outside of the file wherever ONNX allows for one."""
    branch = graph("branch", [constant("branch.bin")], [outside("inner", "weights of branch.bin")])
    sparse = helper.make_sparse_tensor(outside("values", "sparse.bin"), outside("indices", "indices.bin"), [9])
    nodes = [constant("attribute.bin"), helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    function = helper.make_function(
        "own", "F", [], ["c"], [constant("function.bin")], [helper.make_opsetid("", 18)], attributes=["a"]
    )
    model = helper.make_model(
        graph("main", nodes, [outside("w", "weights.bin"), outside("v", "weights.bin")], [sparse]),
        functions=[function],
    )
    model.training_info.add().initialization.CopyFrom(graph("start", initializers=[outside("s", "training.bin")]))
    return model


def test_every_file_that_the_model_names_is_found(tmp_path: Path) -> None:
    onnx.save(everywhere(), tmp_path / "net.onnx")
    names = ["weights.bin", "attribute.bin", "branch.bin", "sparse.bin", "indices.bin", "function.bin", "training.bin"]
    expected = {name: tmp_path / name for name in (*names, "weights of branch.bin")}
    assert external_files(tmp_path / "net.onnx") == expected


def test_a_model_of_one_file_names_none(tmp_path: Path) -> None:
    inside = onnx.numpy_helper.from_array(np.ones(100_000, np.float32), "w")
    onnx.save(helper.make_model(graph("main", initializers=[inside])), tmp_path / "net.onnx")
    assert external_files(tmp_path / "net.onnx") == {}


@pytest.mark.parametrize("content", [b"", b"graph", b"\x3a\xff", b"\x3b", b"\xff" * 20, b"\x39\x00"], ids=repr)
def test_what_is_no_onnx_model_names_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    assert external_files(tmp_path / "net.onnx") == {}


def test_a_model_that_is_cut_off_anywhere_ends_the_reading_too(tmp_path: Path) -> None:
    whole = everywhere().SerializeToString()
    for length in range(0, len(whole), 7):
        (tmp_path / "net.onnx").write_bytes(whole[:length])
        assert external_files(tmp_path / "net.onnx").keys() <= {*external_files_of(whole, tmp_path)}


def test_graphs_that_are_nested_without_an_end_are_refused_in_words(tmp_path: Path) -> None:
    content = b""
    for _ in range(1_000):  # an attribute of a node has a graph, which has a node
        for tag in (0x32, 0x2A, 0x0A):
            content = bytes([tag]) + _varint(len(content)) + content
    (tmp_path / "net.onnx").write_bytes(b"\x3a" + _varint(len(content)) + content)
    with pytest.raises(TooDeep, match=r"net\.onnx is no model that can be read: its graphs are nested too deeply"):
        external_files(tmp_path / "net.onnx")


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def external_files_of(content: bytes, folder: Path) -> dict[str, Path]:
    (folder / "whole.onnx").write_bytes(content)
    return external_files(folder / "whole.onnx")
