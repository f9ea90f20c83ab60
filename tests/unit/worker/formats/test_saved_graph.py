"""Walking the graph of a signature, on nodes as TensorFlow's protocol buffers have them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pytest_accel.worker.formats.saved_graph import needed


def node(name: str, op: str, *inputs: str, calls: str = "") -> Any:
    attributes = {"f": SimpleNamespace(func=SimpleNamespace(name=calls))} if calls else {}
    return SimpleNamespace(name=name, op=op, input=list(inputs), attr=attributes)


def function(nodes: list[Any], gives: str) -> Any:
    return SimpleNamespace(node_def=nodes, ret={"y": gives}, control_ret={})


def reached(nodes: list[Any], outputs: list[str], library: dict[str, Any]) -> set[tuple[str, str]]:
    return {(caller, each.name) for caller, each in needed(nodes, outputs, library)}


def test_what_the_outputs_do_not_need_is_left_out() -> None:
    nodes = [node("x", "Placeholder"), node("save", "Save", "x"), node("y", "Relu", "x:0", "^x")]
    assert reached(nodes, ["y:0"], {}) == {("", "x"), ("", "y")}


def test_a_call_is_replaced_by_what_is_called_as_often_as_it_is() -> None:
    library = {"relu": function([node("inner", "Relu", "argument")], "inner:activations:0")}
    nodes = [node("one", "PartitionedCall", calls="relu"), node("two", "PartitionedCall", "one", calls="relu")]
    assert reached(nodes, ["two:0"], library) == {("one/", "inner"), ("two/", "inner")}


def test_a_function_that_is_not_in_the_file_stays_a_node() -> None:
    assert reached([node("one", "PartitionedCall", calls="elsewhere")], ["one"], {}) == {("", "one")}
