"""How much of an output's error may be rounding, where all of the output is next to zero?

A sigmoid in FP32 may compute 0.5 plus something, and so lose 1e-7 of every probability. Where all probabilities are of
that size, as a detector's are on images without anything in them, this looks like an error of 50 % and is none. A model
whose outputs live at 1e-6 must not get away with 10 % for that reason, and the sizes of the two do not differ.

What differs is the grid. FP32 holds 24 binary digits, so values of 1e-6 that were computed as such are multiples of
1e-13. Where all of them are multiples of 3e-8, they are what was left of larger values, and the grid is the unit in the
last place of those: of the output's own scale. So the grid is looked for in the values of either side, and some of its
units are allowed to each value. Without a grid nothing is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Array

#: UNITS is how many units in the last place rounding may cost a value: ONNX Runtime's sigmoid was seen to lose 4.3.
UNITS = 8
#: COARSEST is the power of two of the coarsest grid: FP32's at 8. Coarser ones are of integers and coarse precisions.
COARSEST = -20
#: FINEST is the power of two of the finest grid: FP32's below a quarter. What finer ones cost is next to nothing.
FINEST = -26
#: OF_ZEROS is the power of two of the grid of a reference that is all zeros, which lie on every one: FP32's below 0.5.
OF_ZEROS = -25


class LastPlace:
    """The grids of one output's values on both sides. ``rounding`` is the error that it explains in any one value."""

    def __init__(self) -> None:
        self._candidate, self._reference = _Grid(), _Grid()

    def add(self, candidate: Array, reference: Array) -> None:
        """Add finite values, in FP64."""
        self._candidate.add(candidate)
        self._reference.add(reference)

    @property
    def rounding(self) -> float:
        """The largest error of a value that rounding explains; 0 where the values are on no grid."""
        reference = 2.0**OF_ZEROS if self._reference.all_zero else self._reference.unit
        return UNITS * max(reference, self._candidate.unit)


class _Grid:
    """The coarsest grid of a power of two that all values are on."""

    def __init__(self) -> None:
        self._power = COARSEST + 1
        self.all_zero = True

    def add(self, values: Array) -> None:
        self.all_zero = self.all_zero and not values.any()
        while self._power >= FINEST and not _all_on(values, self._power):
            self._power -= 1

    @property
    def unit(self) -> float:
        return 2.0**self._power if FINEST <= self._power <= COARSEST and not self.all_zero else 0.0


def _all_on(values: Array, power: int) -> bool:
    steps = np.ldexp(values, -power)
    return bool((steps == np.rint(steps)).all())
