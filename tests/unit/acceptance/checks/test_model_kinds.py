from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks.model_kinds import check_model_kinds
from pytest_accel.acceptance.finding import NotApplicable

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_every_kind_is_checked_tensorflows_first(in_processes: FakeSubject) -> None:
    in_processes.example_kinds = ("onnx", "keras", "saved_model")
    assert check_model_kinds(in_processes).reason == "saved_model, keras, onnx pass, in this order"
    told = in_processes.session.tell.lines  # type: ignore[attr-defined]
    compiled = dict.fromkeys(line.split()[1] for line in told if line.startswith("compiling"))
    assert list(compiled) == [
        "convolution_saved_model",
        "convolution_keras",
        "convolution_onnx",
    ]


def test_one_kind_alone_cannot_disturb_another(in_processes: FakeSubject) -> None:
    in_processes.example_kinds = ("torch",)
    with pytest.raises(NotApplicable, match="it takes one kind of model here: torch"):
        check_model_kinds(in_processes)
