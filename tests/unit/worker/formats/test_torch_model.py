"""The worker room `torch_model`, with PyTorch itself where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Tensor
from pytest_accel.worker.formats import torch_model

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")


class Network(torch.nn.Module):  # type: ignore[misc] # not known where PyTorch is not installed
    """``shape`` says what its answer is made of."""

    def __init__(self, shape: str) -> None:
        super().__init__()
        self.shape = shape
        self.dense = torch.nn.Linear(4, 3)

    def forward(self, x: Any, scale: Any) -> Any:
        scores = torch.relu(self.dense(x * scale[:, None])).reshape(-1, 3)
        return {"dict": {"scores": scores, "sum": scores.sum(1)}, "tuple": (scores, scores.sum(1)), "one": scores}[
            self.shape
        ]


class Positions(torch.nn.Module):  # type: ignore[misc]
    """Makes tensors in `forward`, as networks with position ids, masks or anchors do; ``kind`` says how."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.dense = torch.nn.Linear(4, 4)
        self.offsets = torch.tensor([1.0, 2.0, 3.0, 4.0])
        self.register_buffer("scales", torch.ones(4), persistent=False)

    def forward(self, x: Any) -> Any:
        made = {
            "arange": lambda: torch.arange(4) + torch.zeros(4, 4)[0],
            "mask": lambda: torch.where(x > 0, torch.full((4,), 2.0), torch.tensor(0.5)),
            "constant": lambda: self.offsets + torch.tensor(3.0),
            "index": lambda: x[:, torch.tensor([3, 2, 1, 0])],
            "buffer": lambda: self.scales,
            "moved": lambda: torch.ones(4).to("cpu") + torch.ones(4, dtype=torch.int32).to(x.device, torch.float32),
            "like": lambda: x.new_zeros(4) + torch.ones_like(x),
        }[self.kind]()
        return self.dense(x) + made


class Branch(torch.nn.Module):  # type: ignore[misc]
    """Has operators of a higher order: a branch, and mixed precision of its own."""

    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            product = x @ x.T
        return torch.cond(x.sum() > 0, lambda y: y + torch.ones(2), lambda y: y - torch.arange(2.0), (product.float(),))


@pytest.fixture(params=["dict", "tuple", "one"])
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, shape: str) -> str:
    torch_model.export(Network(shape), (torch.ones(1, 4), torch.ones(1)), str(tmp_path / "model.pt2"))
    return str(tmp_path / "model.pt2")


def inputs(rows: int) -> list[Any]:
    return [torch.ones(rows, 4), torch.ones(rows)]


def test_the_signature_names_what_the_module_takes_and_gives(path: str, shape: str) -> None:
    program = torch_model.ExportedProgram(path)
    assert program.inputs == [Tensor("x", "float32", (None, 4)), Tensor("scale", "float32", (None,))]
    names = {"dict": ["scores", "sum"], "tuple": ["output_0", "output_1"], "one": ["output"]}[shape]
    assert [output.name for output in program.outputs] == names
    assert program.outputs[0].shape == (None, 3)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_any_batch_is_answered_though_the_example_had_one_row(path: str, rows: int) -> None:
    with torch.inference_mode():
        answers = torch_model.ExportedProgram(path)(inputs(rows))
    assert len(next(iter(answers.values()))) == rows


def test_keyword_arguments_come_back_under_their_names(tmp_path: Path) -> None:
    example = {"scale": torch.tensor([2.0]), "x": torch.ones(1, 4)}
    network = Network("one")
    torch_model.export(network, example, str(tmp_path / "model.pt2"))
    program = torch_model.ExportedProgram(str(tmp_path / "model.pt2"))
    given = {"x": torch.ones(5, 4), "scale": torch.arange(5.0)}
    with torch.inference_mode():
        (answer,) = program([given[tensor.name] for tensor in program.inputs]).values()
        np.testing.assert_allclose(answer, network(**given).numpy(), rtol=1e-6)


def test_operators_that_compute_are_seen_and_those_that_move_are_not(path: str) -> None:
    program = torch_model.ExportedProgram(path)
    with torch.inference_mode():
        seen = program.observe(inputs(2))
    assert seen["linear"] == ("cpu", "linear", "float32")
    assert seen["relu"] == ("cpu", "relu", "float32")
    assert "reshape" not in seen


def test_a_cast_by_mixed_precision_is_seen_and_answers_keep_their_type(path: str) -> None:
    program = torch_model.ExportedProgram(path)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert program.observe(inputs(2))["linear"] == ("cpu", "linear", "bfloat16")
        assert next(iter(program(inputs(2)).values())).dtype == np.float32


@pytest.mark.parametrize("kind", ["arange", "mask", "constant", "index", "buffer", "moved", "like"])
def test_all_of_a_program_moves_to_another_device(tmp_path: Path, kind: str) -> None:
    torch_model.export(Positions(kind), torch.ones(2, 4), str(tmp_path / "model.pt2"))
    program = torch_model.ExportedProgram(str(tmp_path / "model.pt2"), "meta")
    with torch.inference_mode():
        seen = program.observe([torch.ones(3, 4, device="meta")])
    assert seen["linear"] == ("meta", "linear", "float32")
    assert {device for device, _, _ in seen.values()} == {"meta"}


def test_a_moved_program_answers_as_before(tmp_path: Path) -> None:
    module = Positions("constant")
    torch_model.export(module, torch.ones(2, 4), str(tmp_path / "model.pt2"))
    program, x = torch_model.ExportedProgram(str(tmp_path / "model.pt2"), "cpu"), torch.arange(4.0)[None]
    with torch.inference_mode():
        np.testing.assert_allclose(program([x])["output"], module(x).numpy(), rtol=1e-6)


def test_operators_of_a_higher_order_are_seen_as_one_and_moved(tmp_path: Path) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    torch.export.save(torch.export.export(Branch(), (x,)), tmp_path / "model.pt2")
    with torch.inference_mode():
        seen = torch_model.ExportedProgram(str(tmp_path / "model.pt2")).observe([x])
    assert ("cpu", "cond", "float32") in seen.values()
    moved = torch_model.ExportedProgram(str(tmp_path / "model.pt2"), "meta")
    nodes = [node for graph in moved.module.modules() for node in getattr(graph, "graph", torch.fx.Graph()).nodes]
    inside = [value for node in nodes for value in (*node.args, *node.kwargs.values())]
    assert not [value for value in inside if value in ("cpu", torch.device("cpu"))]


def test_operations_are_counted(path: str) -> None:
    with torch.inference_mode():
        assert torch_model.ExportedProgram(path).flops(inputs(2)) == 2 * 2 * 4 * 3


def test_an_example_is_told_by_its_types_and_shapes_alone() -> None:
    one, same, other = (
        torch_model.described({"x": tensor}) for tensor in (torch.ones(2), torch.zeros(2), torch.ones(3))
    )
    assert one == same != other


def test_the_content_of_a_tensor_is_told_whatever_its_type_and_strides() -> None:
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert torch_model.content(tensor) == np.arange(6, dtype=np.float32).tobytes()
    assert torch_model.content(tensor.t()) != torch_model.content(tensor)
    assert len(torch_model.content(tensor.to(torch.bfloat16))) == 12
    assert torch_model.content(torch.tensor(1, dtype=torch.int64)) == np.int64(1).tobytes()
    assert torch_model.content(torch.empty(0)) == b""


def test_calls_run_what_the_compiler_has_made_and_the_graph_is_observed_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    def compiled(module: Any, **how: Any) -> Any:
        asked.append(how)
        return lambda *args, **kwargs: {name: 2 * output for name, output in module(*args, **kwargs).items()}

    monkeypatch.setattr(torch, "compile", compiled)
    path = str(tmp_path / "model.pt2")
    torch_model.export(Network("tuple"), {"x": torch.ones(1, 4), "scale": torch.ones(1)}, path)
    program = torch_model.ExportedProgram(path)
    with torch.inference_mode():
        before, seen = program(inputs(2)), program.observe(inputs(2))
        program.compile("max-autotune")
        assert asked == [{"mode": "max-autotune", "dynamic": False}]
        for name, output in program(inputs(2)).items():
            np.testing.assert_allclose(output, 2 * before[name])
        assert program.observe(inputs(2)) == seen
