"""Answers that were right at the baseline and are wrong at this run, on the same samples."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy


def flips_since(baseline: Accuracy, accuracy: Accuracy) -> tuple[int, int] | None:
    """Return how many samples went from right to wrong since the baseline, and how many from wrong to right.

    None if the two did not see the same samples, or have no labels.
    """
    if baseline.dataset_digest != accuracy.dataset_digest or baseline.samples != accuracy.samples:
        return None
    if not (baseline.right and accuracy.right):
        return None
    before, after = _unpack(baseline.right, accuracy.samples), _unpack(accuracy.right, accuracy.samples)
    return int(np.count_nonzero(before & ~after)), int(np.count_nonzero(~before & after))


def _unpack(right: str, samples: int) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(base64.b64decode(right), dtype=np.uint8)
    return np.unpackbits(bits, count=samples).astype(bool)
