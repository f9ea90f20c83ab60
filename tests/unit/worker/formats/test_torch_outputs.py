"""The worker room `torch_outputs`, with PyTorch itself where it is installed."""

from __future__ import annotations

import collections
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import torch_model, torch_outputs

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")

#: Another process, which knows the classes, exports programs that return them.
EXPORT = """
import dataclasses, sys, torch

def write(name, wrapped):
    @dataclasses.dataclass
    class Answer:
        logits: torch.Tensor
        hidden: torch.Tensor = None
        cache: tuple = ()

    torch.export.register_dataclass(Answer, serialized_type_name=f"elsewhere_{name}.Answer")

    class Classifier(torch.nn.Module):
        def forward(self, x):
            answer = Answer(2 * x, cache=(3 * x, 4 * x))
            return {"inner": answer, "plain": 5 * x} if wrapped else answer

    torch.export.save(torch.export.export(Classifier(), (torch.ones(2, 3),)), f"{sys.argv[1]}/{name}.pt2")

write("alone", wrapped=False)
write("inside", wrapped=True)
"""


@dataclasses.dataclass
class Answer:
    logits: Any
    hidden: Any = None
    count: int = 3


class Pair(NamedTuple):
    left: Any
    right: Any


class ModelOutput(collections.OrderedDict[str, Any]):
    """What Transformers' class of this name is: a dict that leaves out what is None."""


class Cache:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)
        self.dtype = torch.float32
        self._private = torch.ones(1)
        self.itself = self


class Returning(torch.nn.Module):  # type: ignore[misc] # not known where PyTorch is not installed
    """Returns what ``make`` makes of its input."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Any) -> Any:
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: x * 1, ["output"]),
        (lambda x: (x * 1,), ["output"]),
        (lambda x: [x * 1, (x * 2, None, 7)], ["output_0", "output_1"]),
        (lambda x: {"scores": x * 1, "inner": {"sum": x * 2}}, ["scores", "inner_sum"]),
        (lambda x: {"a_0": x * 1, "a": [x * 2]}, ["a_0", "a_0_"]),
        (lambda x: Answer(x * 1, x * 2), ["logits", "hidden"]),
        (lambda x: Answer(x * 1), ["logits"]),
        (lambda x: Pair(x * 1, Pair(x * 2, None)), ["left", "right_left"]),
        (lambda x: ModelOutput(logits=x * 1, past=((x * 2, x * 3),)), ["logits", "past_0_0", "past_0_1"]),
        (lambda x: ModelOutput(logits=x * 1, cache=Cache(Pair(x * 2, x * 3))), ["logits", "cache_layers_0_left"]),
    ],
)
def test_what_a_module_returns_is_named_by_its_fields(make: Any, names: list[str], tmp_path: Path) -> None:
    module = Returning(make)
    torch_model.export(module, torch.ones(2, 3), str(tmp_path / "model.pt2"))
    assert "forward" not in vars(module), "the module is as it was"
    program = torch_model.ExportedProgram(str(tmp_path / "model.pt2"))
    assert [tensor.name for tensor in program.inputs] == ["x"]
    answers = program([torch.ones(5, 3)])
    assert list(answers)[: len(names)] == names
    for number, answer in enumerate(answers.values(), 1):
        np.testing.assert_array_equal(answer, np.full((5, 3), number, np.float32))


def test_a_module_that_returns_no_tensor_says_what_it_returns() -> None:
    with pytest.raises(Refused, match="it returns a dict without tensors: return at least one"):
        torch_outputs.by_name({"count": 3})


@pytest.fixture(scope="module")
def exported_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-c", EXPORT, folder], check=True)
    return folder


@pytest.mark.parametrize(
    ("module", "names"),
    [("alone", ["logits", "cache_0", "cache_1"]), ("inside", ["inner_logits", "inner_cache_0", "inner_cache_1"])],
)
def test_a_program_may_return_a_class_that_is_not_installed_here(
    exported_elsewhere: Path, module: str, names: list[str]
) -> None:
    program = torch_model.ExportedProgram(str(exported_elsewhere / f"{module}.pt2"))
    answers = program([torch.ones(2, 3)])
    assert list(answers)[:3] == names
    assert [float(answer[0, 0]) for answer in answers.values()][:3] == [2, 3, 4]
    assert len(program.flat()(torch.ones(2, 3))) == len(answers)


def test_an_output_that_numpy_has_no_type_for_is_given_in_float32(tmp_path: Path) -> None:
    module = Returning(lambda x: {"half": x.half(), "brain": x.bfloat16()})
    torch_model.export(module, torch.full((2, 3), 1.5), str(tmp_path / "model.pt2"))
    program = torch_model.ExportedProgram(str(tmp_path / "model.pt2"))
    assert [(tensor.name, tensor.dtype) for tensor in program.outputs] == [("half", "float16"), ("brain", "float32")]
    answers = program([torch.full((2, 3), 1.5)])
    assert answers["brain"].dtype == np.float32
    assert answers["brain"].tolist() == [[1.5] * 3] * 2


def test_outputs_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    program = torch.export.export(Returning(lambda x: (x * 1, 7, None, x * 2)), (torch.ones(2, 3),))
    torch_model.export(program, None, str(tmp_path / "model.pt2"))
    answers = torch_model.ExportedProgram(str(tmp_path / "model.pt2"))([torch.ones(2, 3)])
    assert [float(answer[0, 0]) for answer in answers.values()] == [1, 2]
