"""Datasets of PyTorch, with PyTorch itself, whose own loaders decide what a batch is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.inputs.datasets import open_dataset
from tests.unit.inputs.test_datasets import ONE, TWO, rows, seen

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")
DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset


@pytest.mark.parametrize("grad", [False, True])
def test_a_data_loader_and_its_dataset_are_inputs_and_labels(grad: bool) -> None:
    images, labels = torch.from_numpy(rows(7)).requires_grad_(grad), torch.arange(7)
    expected = open_dataset((rows(7), np.arange(7)), ONE, batch_size=3).digest
    samples = TensorDataset(images.detach(), labels)
    for data in ((images, labels), [images, labels], samples, DataLoader(samples, batch_size=4)):
        assert open_dataset(data, ONE, batch_size=3).digest == expected


def test_a_data_loader_of_inputs_alone_of_several_and_of_dicts() -> None:
    ids, mask = torch.ones(4, 3, dtype=torch.int32), torch.eye(4, 3, dtype=torch.bool)
    named = [{"ids": ids[row], "mask": mask[row], "labels": row} for row in range(4)]
    digests = {
        open_dataset(DataLoader(data, batch_size=2), TWO, batch_size=2).digest
        for data in (TensorDataset(ids, mask, torch.arange(4)), named)
    }
    assert len(digests) == 1
    assert seen(open_dataset(DataLoader(torch.from_numpy(rows(5)), batch_size=2), ONE, batch_size=2)) == [*range(5)]
    assert open_dataset(DataLoader(TensorDataset(ids, mask), batch_size=2), TWO, batch_size=2).samples == 4


def test_a_data_loader_that_shuffles_is_told_how_not_to() -> None:
    dataset = open_dataset(DataLoader(torch.from_numpy(rows(64)), batch_size=8, shuffle=True), ONE, batch_size=8)
    list(dataset)
    with pytest.raises(DatasetError, match="or a DataLoader's with shuffle=False"):
        list(dataset)
