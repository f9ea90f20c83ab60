"""From 8x8 digits to what the models take; NumPy only, so that tests and recipes share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 8, 8) pixels of 0..16 as (n, 8, 8, 1) float32 from 0 to 1."""
    return (images[..., None] / np.float32(16)).astype(np.float32)


def enlarge(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 8, 8) pixels of 0..16 as (n, 224, 224, 3) float32 from -1 to 1, each pixel a square of 28."""
    squares = normalise(images).repeat(28, axis=1).repeat(28, axis=2)
    return np.repeat(squares * 2 - 1, 3, axis=3)
