from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.worker.accelerator import Target
from pytest_accel.worker.accelerators.neuron import torch_program
from pytest_accel.worker.accelerators.neuron.inf2_trn1 import Inf2, Trn1


def options(**changes: Any) -> dict[str, Any]:
    return {**{name: option.default for name, option in Inf2.options().items()}, **changes}


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ["--auto-cast=none"]),
        ({"auto_cast": "all"}, ["--auto-cast=none"]),
        ({"precision": "bf16"}, ["--auto-cast=matmult", "--auto-cast-type=bf16"]),
        ({"precision": "fp16", "auto_cast": "all"}, ["--auto-cast=all", "--auto-cast-type=fp16"]),
        (
            {"extra": {"optlevel": 2, "model-type": "transformer", "enable-x": True, "enable-y": False}},
            ["--auto-cast=none", "--optlevel=2", "--model-type=transformer", "--enable-x"],
        ),
    ],
)
def test_fp32_is_fp32_unless_another_precision_is_asked_for(changes: dict[str, Any], flags: list[str]) -> None:
    assert Inf2.compiler_flags(options(**changes)) == flags


def test_copies_need_pieces_of_a_call_to_share() -> None:
    assert Inf2.impossible(options(neuroncores=2)) is not None
    assert Inf2.impossible(options(neuroncores=2, batch_size=2, dynamic_batch=True, compiled_batch=1)) is None


def test_trainium_is_another_chip_with_the_same_options() -> None:
    assert Trn1.options() == Inf2.options()
    assert Trn1.chip.pci_ids.isdisjoint(Inf2.chip.pci_ids)


@pytest.mark.parametrize("name", ["auto-cast", "auto-cast-type", "target", "dynamic-batch-size"])
def test_what_other_options_decide_cannot_be_added(name: str) -> None:
    told = Inf2.impossible(options(extra={name: "x"}))
    assert told is not None
    assert told.startswith(f"extra={{{name!r}: ...}}: other options of this accelerator")


def test_flags_are_named_without_dashes() -> None:
    told = Inf2.impossible(options(extra={"--optlevel": 2}))
    assert told == "extra names the compiler's options without dashes: 'optlevel', not '--optlevel'"


@pytest.mark.parametrize("chip", [Inf2, Trn1])
def test_only_torch_neuronx_is_known_to_compile_without_the_chip(
    monkeypatch: pytest.MonkeyPatch, chip: type[Inf2]
) -> None:
    monkeypatch.setattr(torch_program, "sdk", lambda: None)
    monkeypatch.setattr(chip, "compiler_versions", lambda _: {"torch-neuronx": "2.8"})
    assert chip().target(options()) == Target(chip.chip.device, {"torch-neuronx": "2.8"})

    def absent() -> None:
        raise ImportError("torch_neuronx")

    monkeypatch.setattr(torch_program, "sdk", absent)
    assert getattr(chip().target(options()), "kind", None) == "needs-device"
