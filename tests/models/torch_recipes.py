"""Small exported PyTorch programs for the tests of accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pytest_accel.worker.formats import torch_model


class TwoInputs(torch.nn.Module):  # type: ignore[misc]
    def forward(self, left: Any, right: Any) -> Any:
        return left + right[:, None], 2 * right


class Double(torch.nn.Module):  # type: ignore[misc]
    def forward(self, image: Any) -> Any:
        return 2 * image


class Lookup(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(10, 4)

    def forward(self, index: Any) -> Any:
        return self.table(index)


def write(folder: Path) -> None:
    torch_model.export(TwoInputs(), (torch.ones(1, 4), torch.tensor([1])), str(folder / "two_inputs.pt2"))
    torch_model.export(Lookup(), {"index": torch.tensor([1])}, str(folder / "lookup.pt2"))
    torch.export.save(torch.export.export(Double(), (torch.ones(8, 3),)), folder / "fixed_batch.pt2")
