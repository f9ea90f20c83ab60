from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import pytest

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.accelerators.neuron import compiler

OPTIONS = {"batch_size": 8, "compiled_batch": None, "dynamic_batch": False, "signature": "classify"}
FLAGS = ["--neuroncore-pipeline-cores=4", "--fp32-cast=all"]


Trace = Callable[..., None]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Trace], str]:
    """Compile with an SDK whose tracing does this; returns what it has logged."""

    def compiled(trace: Trace) -> str:
        monkeypatch.setattr(compiler, "_trace", trace)
        return compiler.compile_saved_model(None, "/model", "/target", FLAGS, OPTIONS)

    return compiled


def test_flags_from_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch, compiled: Callable[[Trace], str]) -> None:
    monkeypatch.setenv("NEURON_CC_FLAGS", "--fp32-cast=matmult")
    with pytest.raises(Refused, match="NEURON_CC_FLAGS is set, and would compile something else than was asked for"):
        compiled(lambda *_: None)
    assert os.environ["NEURON_CC_FLAGS"] == "--fp32-cast=matmult"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ValueError("The following subgraphs failed to compile: ['a']"), "the compiler refused these options"),
        (AssertionError("Export directory already exists."), "Neuron cannot compile this model: Export directory"),
    ],
)
def test_what_the_sdk_raises_is_refused_in_its_words(
    compiled: Callable[[Trace], str], error: Exception, why: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with pytest.raises(Refused, match=why):
        compiled(fail)


def test_what_the_sdk_logs_is_heard_once_and_only_meanwhile(compiled: Callable[[Trace], str]) -> None:
    def warn(*_: Any) -> None:
        logging.getLogger("tensorflow").warning("***\n neuron-cc is not %s.", "found")
        logging.getLogger().info("something else")

    told = compiled(warn)
    assert told.startswith("its log says: the compiler is not installed: install it from")
    assert told.endswith("(*** neuron-cc is not found.)")
    assert compiled(lambda *_: None) == ""
    assert all(type(handler) is not logging.Handler for handler in logging.getLogger("tensorflow").handlers)


def test_only_the_batch_may_be_dynamic() -> None:
    assert compiler._zeros(Tensor("x", "float32", (None, 3)), 8).shape == (8, 3)
    assert compiler._zeros(Tensor("x", "float32", (1, 3)), 8).shape == (1, 3)
    with pytest.raises(Refused, match=r"input 'tokens' is \[None, None\]: only its batch may be dynamic"):
        compiler._zeros(Tensor("tokens", "int64", (None, None)), 8)


@pytest.mark.parametrize(
    ("changes", "pieces"), [({}, 1), ({"compiled_batch": 4}, 2), ({"compiled_batch": 3}, 3), ({"compiled_batch": 8}, 1)]
)
def test_a_call_is_cut_into_compiled_batches(changes: dict[str, Any], pieces: int) -> None:
    assert compiler.pieces({**OPTIONS, **changes}) == pieces
