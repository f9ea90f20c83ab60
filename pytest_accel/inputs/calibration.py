"""Calibration data: the samples from which INT8 learns its ranges.

A seeded choice of a dataset's samples. What was chosen is part of the artefact's key, and must not be what accuracy is
judged on: a model that was fitted to its exam passes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_accel.facts.errors import DatasetError
from pytest_accel.inputs.datasets import joined, open_dataset

if TYPE_CHECKING:
    from pytest_accel.facts.records import Signature
    from pytest_accel.inputs.dataset_elements import Rows
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.worker.accelerator import Arrays

#: SAMPLES is the number of samples that are chosen where a test does not say how many; the vendors' own tools take as
#: many.
SAMPLES = 300
#: SEED is the seed of the choice, so that it is the same every time.
SEED = 0


@dataclass(frozen=True)
class Calibration:
    """Chosen samples as batches of the compiled size, and what identifies them.

    ``rows`` holds a digest for each chosen sample. ``may_overlap`` allows that accuracy is judged on them too.
    """

    batches: tuple[Arrays, ...]
    digest: str
    rows: frozenset[bytes]
    may_overlap: bool

    def require_disjoint(self, dataset: Dataset) -> None:
        """Raise `DatasetError` when a sample of ``dataset`` was calibrated with, unless that is allowed."""
        if self.may_overlap:
            return
        seen = [number for number, row in enumerate(_samples(dataset)) if _digest(row) in self.rows]
        if seen:
            raise DatasetError(
                f"{len(seen)} samples of the evaluation data were calibrated with, the first is row {seen[0]}: "
                "calibrate with other samples, or say calibration_overlap=True"
            )


def choose(
    data: Any, signature: Signature, *, batch_size: int, samples: int = SAMPLES, may_overlap: bool = False
) -> Calibration:
    """Choose ``samples`` of ``data`` (all, where there are fewer) at random, the same ones every time.

    Raises `DatasetError` when the data do not fit the signature.
    """
    dataset = open_dataset(data, signature, batch_size=1)
    return choose_from(dataset, batch_size=batch_size, samples=samples, may_overlap=may_overlap)


def choose_from(dataset: Dataset, *, batch_size: int, samples: int = SAMPLES, may_overlap: bool = False) -> Calibration:
    """Return the same of a dataset that is already open, whatever its batches."""
    reservoir: list[Rows] = []
    rng = np.random.default_rng(SEED)
    for number, row in enumerate(_samples(dataset)):
        if number < samples:
            reservoir.append(row)
        elif (place := int(rng.integers(number + 1))) < samples:
            reservoir[place] = row
    rows = [_digest(row) for row in reservoir]
    return Calibration(
        batches=tuple(_batched(reservoir, batch_size)),
        digest=hashlib.sha256(b"".join(rows)).hexdigest(),
        rows=frozenset(rows),
        may_overlap=may_overlap,
    )


def _samples(dataset: Dataset) -> Iterator[Rows]:
    """Yield each sample on its own."""
    for batch in dataset:
        for row in range(batch.rows):
            yield batch.real.part(row, row + 1)


def _batched(rows: list[Rows], size: int) -> Iterator[Arrays]:
    """Yield batches of exactly ``size`` rows; the last one is filled up with the first rows."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        part += [rows[at % len(rows)] for at in range(size - len(part))]
        yield joined(part).inputs


def _digest(row: Rows) -> bytes:
    whole = hashlib.sha256()
    for values in row.inputs.values():
        whole.update(np.ascontiguousarray(values).tobytes())
    return whole.digest()
