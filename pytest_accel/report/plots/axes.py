"""Axes turn values into pixels and have labels at round values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

#: TICKS is about the number of labels on an axis.
TICKS = 5
#: LABELLED_PERCENTILES are the percentiles that an axis has labels for, as shares from 0 to 1.
LABELLED_PERCENTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


class Tick(NamedTuple):
    """A tick is a label on an axis. ``at`` is its pixel."""

    at: float
    text: str


@dataclass(frozen=True)
class LogAxis:
    """On a logarithmic axis, twice a value is the same distance away everywhere. All values are positive."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> LogAxis:
        """Make an axis that shows all these values and leaves some room at both ends."""
        known = list(values)
        low, high = min(known), max(known)
        room = max((high / low) ** 0.06, 1.03)
        return cls(low / room, high * room, start, end)

    def at(self, value: float) -> float:
        """Give the pixel of a value. A value beyond an end of the axis is at that end."""
        inside = min(max(value, self.low), self.high)
        return _between(self.start, self.end, math.log(inside / self.low) / math.log(self.high / self.low))

    @property
    def ticks(self) -> list[Tick]:
        """Label round values: evenly spaced ones within a decade, and powers of ten beyond."""
        if self.high / self.low < 10.0:
            values = _multiples(self.low, self.high)
        else:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            factors = (1.0,) if len(decades) > TICKS else (1.0, 2.0, 5.0)
            values = [factor * 10.0**decade for decade in decades for factor in factors]
        return [Tick(self.at(value), f"{value:,.6g}") for value in values if self.low <= value <= self.high]


@dataclass(frozen=True)
class LinearAxis:
    """A linear axis is evenly divided from ``low`` to ``high``, which differ."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Give the pixel of a value."""
        return _between(self.start, self.end, (value - self.low) / (self.high - self.low))

    @property
    def ticks(self) -> list[Tick]:
        """Label evenly spaced round values."""
        return [Tick(self.at(value), f"{value:.6g}") for value in _multiples(self.low, self.high)]


@dataclass(frozen=True)
class PercentileAxis:
    """On an axis of percentiles, p90, p99 and p99.9 are evenly spaced. It ends after so many ``nines``."""

    nines: float
    start: float
    end: float

    def at(self, p: float) -> float:
        """Give the pixel of the p-quantile. A quantile beyond the end of the axis is at the end."""
        return _between(self.start, self.end, min(nines_of(p) / self.nines, 1.0))

    @property
    def ticks(self) -> list[Tick]:
        """Label the usual percentiles as far as the axis reaches."""
        return [Tick(self.at(p), f"p{100 * p:g}") for p in LABELLED_PERCENTILES if nines_of(p) <= self.nines]


def nines_of(p: float) -> float:
    """Count the nines of a quantile: 1 for p90, 2 for p99."""
    return -math.log10(1.0 - p)


def _between(start: float, end: float, share: float) -> float:
    return round(start + share * (end - start), 1)


def _multiples(low: float, high: float) -> list[float]:
    """Give about `TICKS` multiples of a round step."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * nth, 12) for nth in range(first, last + 1)]
