"""Modules of PyTorch, with PyTorch itself: what one shows of itself is too much to make up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pytest_accel.facts.errors import SourceError
from pytest_accel.inputs.models import Model

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")


class Config:
    """A module's settings, as Transformers keeps them; they name themselves."""

    def __init__(self, heads: int) -> None:
        self.heads = heads
        self.itself = self


@pytest.fixture
def module() -> Any:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5))
    with torch.no_grad():
        module[0].weight.fill_(0.5)
        module[0].bias.zero_()
    module.example_input_array = torch.ones(1, 4)
    return module


def test_it_is_exported_once_for_inference(module: Any, find: Callable[..., Model]) -> None:
    found = find(module)
    assert (found.name, found.kind, found.path.name) == ("Sequential", "torch", "model.pt2")
    assert module.training, "as it was"
    made = torch.export.load(found.path).module()(torch.ones(5, 4))
    assert made["output"].tolist() == [[2.0] * 3] * 5, "without dropout, and for any batch"
    before = found.path.stat().st_mtime_ns
    assert find(module, name="other").path.stat().st_mtime_ns == before


def test_its_digest_is_of_what_it_computes(module: Any, find: Callable[..., Model]) -> None:
    digests = [find(module).digest, find(module).digest]
    assert digests[0] == digests[1]
    with torch.no_grad():
        module[0].weight[0, 0] = 1.0
    digests.append(find(module).digest)
    module.append(torch.nn.ReLU())
    digests.append(find(module).digest)
    module.example_input_array = torch.ones(1, 2, 4)
    digests.append(find(module).digest)
    assert len(set(digests)) == 4
    find(module.to(torch.bfloat16), name="a type that NumPy does not have")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("heads", 2),
        ("_scale", 2.0),
        ("mask", torch.ones(3)),
        ("mask", [np.ones(3)]),
        ("config", Config(heads=2)),
        ("kind", torch.float16),
        ("activation", functools.partial(torch.clamp, min=1)),
        ("activation", torch.tanh),
    ],
)
def test_its_settings_are_part_of_its_digest(module: Any, find: Callable[..., Model], key: str, value: Any) -> None:
    module.heads, module._scale, module.mask, module.config = 4, 1.0, torch.zeros(3), Config(heads=4)
    module.kind, module.activation = torch.float32, functools.partial(torch.clamp, min=0)
    before = find(module).digest
    module.config, module.activation = Config(heads=4), functools.partial(torch.clamp, min=0)
    assert find(module).digest == before, "whichever objects say it"
    setattr(module, key, value)
    assert find(module).digest != before


def test_a_function_may_make_one(module: Any, find: Callable[..., Model]) -> None:
    def small() -> Any:
        return module

    assert (find(small).name, find(small).kind) == ("small", "torch")


def test_without_an_example_it_says_what_to_do(find: Callable[..., Model]) -> None:
    with pytest.raises(SourceError, match="Linear does not tell what it takes: set its example_input_array to"):
        find(torch.nn.Linear(4, 3))


def test_one_that_cannot_be_exported_says_so(module: Any, find: Callable[..., Model]) -> None:
    module.example_input_array = torch.ones(1, 5)
    with pytest.raises(SourceError, match=r"Sequential cannot be exported: .*Does torch\.export\.export"):
        find(module)


def test_an_exported_program_needs_a_name(module: Any, find: Callable[..., Model]) -> None:
    program = torch.export.export(module.eval(), (torch.ones(8, 4),))
    with pytest.raises(SourceError, match="an exported program has no name"):
        find(program)
    found = find(program, name="small")
    assert torch.export.load(found.path).module()(torch.ones(8, 4)).shape == (8, 3)
    assert found.digest == find(program, name="small").digest != find(module).digest
