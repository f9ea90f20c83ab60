from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.accelerators.neuron import compiler

OPTIONS = {"batch_size": 8, "compiled_batch": None, "dynamic_batch": False, "signature": "classify"}
FLAGS = ["--neuroncore-pipeline-cores=4", "--fp32-cast=all"]


def sdk_for_1(compile_saved_model: Any) -> SimpleNamespace:
    """The SDK for TensorFlow 1.15, which has no ``trace``."""
    return SimpleNamespace(saved_model=SimpleNamespace(compile=compile_saved_model))


def compiled(sdk: Any, **changes: Any) -> str:
    return compiler.compile_saved_model(sdk, "/model", "/target", FLAGS, {**OPTIONS, **changes})


def test_tensorflow_1_is_told_all_and_may_put_nothing_back_on_the_host() -> None:
    calls: list[Any] = []
    compiled(sdk_for_1(lambda *args, **keywords: calls.append((args, keywords))), compiled_batch=2, dynamic_batch=True)
    assert calls == [
        (
            ("/model", "/target"),
            {
                "batch_size": 2,
                "signature_def_key": "classify",
                "dynamic_batch_size": True,
                "compiler_args": ["--neuroncore-pipeline-cores", "4", "--fp32-cast", "all"],
                "compiler_recovery": False,
            },
        )
    ]


def test_flags_from_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_CC_FLAGS", "--fp32-cast=matmult")
    with pytest.raises(Refused, match="NEURON_CC_FLAGS is set, and would compile something else than was asked for"):
        compiled(sdk_for_1(lambda *_args, **_keywords: None))
    assert os.environ["NEURON_CC_FLAGS"] == "--fp32-cast=matmult"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotImplementedError("no"), r"reads what TensorFlow 1 saved: .* set accel_python .*\(no\)"),
        (ValueError("The following subgraphs failed to compile: ['a']"), "the compiler refused these options"),
        (AssertionError("Export directory already exists."), "Neuron cannot compile this model: Export directory"),
    ],
)
def test_what_the_sdk_raises_is_refused_in_its_words(error: Exception, why: str) -> None:
    def fail(*_args: Any, **_keywords: Any) -> None:
        raise error

    with pytest.raises(Refused, match=why):
        compiled(sdk_for_1(fail))


def test_what_the_sdk_logs_is_heard_once_and_only_meanwhile() -> None:
    def warn(*_args: Any, **_keywords: Any) -> None:
        logging.getLogger("tensorflow").warning("***\n neuron-cc is not %s.", "found")
        logging.getLogger().info("something else")

    told = compiled(sdk_for_1(warn))
    assert told.startswith("its log says: the compiler is not installed: install it from")
    assert told.endswith("(*** neuron-cc is not found.)")
    assert compiled(sdk_for_1(lambda *_args, **_keywords: None)) == ""
    assert all(type(handler) is not logging.Handler for handler in logging.getLogger("tensorflow").handlers)


def test_only_the_batch_may_be_dynamic() -> None:
    assert compiler._zeros(Tensor("x", "float32", (None, 3)), 8).shape == (8, 3)
    assert compiler._zeros(Tensor("x", "float32", (1, 3)), 8).shape == (1, 3)
    with pytest.raises(Refused, match=r"input 'tokens' is \[None, None\]: only its batch may be dynamic"):
        compiler._zeros(Tensor("tokens", "int64", (None, None)), 8)
