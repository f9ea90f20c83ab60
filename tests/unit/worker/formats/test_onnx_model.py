from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.accelerator import Refused, Source
from pytest_accel.worker.formats import batch_axes
from pytest_accel.worker.formats.batch_axes import Ends

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
onnx_model = pytest.importorskip("pytest_accel.worker.formats.onnx_model")


def stateful(batch: Any) -> Any:
    """A model that adds its first input to a state of [layers, batch, hidden]."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shapes = {"x": [batch, 4], "state": [2, batch, 4], "weights": [4], "next": [2, batch, 4]}
    x, state, weights, following = (helper.make_tensor_value_info(name, floats, dims) for name, dims in shapes.items())
    nodes = [helper.make_node("Add", ["x", "weights"], ["y"]), helper.make_node("Add", ["state", "y"], ["next"])]
    ones = helper.make_tensor("weights", floats, [4], [1.0] * 4)
    return helper.make_model(helper.make_graph(nodes, "stateful", [x, state, weights], [following], [ones]))


def sizes(values: Any) -> list[list[int]]:
    return [[size.dim_value for size in value.type.tensor_type.shape.dim] for value in values]


@pytest.mark.parametrize("batch", ["N", "rows", -1, None, 3])
def test_the_batch_is_fixed_wherever_it_is(batch: Any) -> None:
    fixed = onnx_model.fix_batch(stateful(batch), 3)
    assert sizes(fixed.graph.input) == [[3, 4], [2, 3, 4], [4]]
    assert sizes(fixed.graph.output) == [[2, 3, 4]]


def test_other_free_sizes_stay_free() -> None:
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [-1, -1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "free", [x], [y])
    fixed = onnx_model.fix_batch(helper.make_model(graph), 3)
    assert sizes(fixed.graph.input) == sizes(fixed.graph.output) == [[3, 0]]


def test_a_batch_that_was_not_exported_is_refused() -> None:
    with pytest.raises(Refused, match=r"input 'x' has the shape \[1, 4\] and no dimension of 2: ask for batch_size=1"):
        onnx_model.fix_batch(stateful(1), 2)


def test_weights_among_the_inputs_are_none_and_minus_one_is_free() -> None:
    expected = Ends([[None, 4], [2, None, 4]], [[2, None, 4]])
    assert onnx_model.ends_of(stateful(-1)) == expected


def test_the_signature_before_a_conversion_tells_what_the_model_does_not(tmp_path: Path) -> None:
    path = str(tmp_path / "model.onnx")
    onnx.save(stateful(2), path)
    source = Source("onnx", path)
    with pytest.raises(Refused, match=r"ask for batch_size=2"):
        onnx_model.converted(source, "serving_default", 5)
    before = Ends([["N", 4], [2, "N", 4]], [[2, "N", 4]])
    batch_axes.keep_signature(before, str(tmp_path))
    model, ends = onnx_model.converted(source, "serving_default", 5)
    assert ends == before
    assert sizes(model.graph.input)[:2] == [[5, 4], [2, 5, 4]]


class Passes:
    """What the passes of a converter do to a graph, here a list; where one fails, those before it have been there."""

    def __init__(self, failing: bool) -> None:
        self._failing = failing
        self.caught: list[bool] = []

    def optimize_graph(self, graph: list[str], catch_errors: bool = True, optimizers: object = None) -> list[str]:
        self.caught.append(catch_errors)
        graph.append("folded")
        if self._failing and not catch_errors:
            raise KeyError("a pass that fails")
        return graph


@pytest.mark.parametrize(("failing", "caught"), [(False, [False]), (True, [False, True])])
def test_a_graph_is_copied_once_and_is_whole_where_a_pass_fails(failing: bool, caught: list[bool]) -> None:
    passes, graph = Passes(failing), ["read"]
    with onnx_model._copied_once(passes):
        assert passes.optimize_graph(graph, True) == ["read", "folded"]
    assert passes.caught == caught
    assert passes.optimize_graph(["read"]) == ["read", "folded"], "as it was before"
    assert passes.caught == [*caught, True]
