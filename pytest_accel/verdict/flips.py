"""Answers that were right at the baseline and are wrong at this run, on the same samples."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy

#: Of the interval for unseen data.
CONFIDENCE = 0.95


def flips_since(baseline: Accuracy, now: Accuracy) -> tuple[int, int] | None:
    """How many samples were right then and are wrong now, and the opposite; None if they are not the same ones."""
    if baseline.dataset_digest != now.dataset_digest or baseline.samples != now.samples:
        return None
    if not (baseline.right and now.right):
        return None
    then_right, now_right = _unpack(baseline.right, now.samples), _unpack(now.right, now.samples)
    return int(np.count_nonzero(then_right & ~now_right)), int(np.count_nonzero(~then_right & now_right))


def _unpack(right: str, samples: int) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(base64.b64decode(right), dtype=np.uint8)
    return np.unpackbits(bits, count=samples).astype(bool)
