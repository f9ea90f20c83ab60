"""Measured numbers in files that people read and compare: as many digits as a measurement has."""

from __future__ import annotations

import math
from typing import Any

from pytest_accel.facts.errors import BaselineError

#: SIGNIFICANT_DIGITS is the number of digits that a measured number keeps.
SIGNIFICANT_DIGITS = 6


def rounded(value: Any, field: str) -> Any:
    """Return plain data with rounded numbers. Raises `BaselineError` for one that is no measurement."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BaselineError(f"{field} is {value}, which is no measurement: nothing to save")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {name: rounded(member, f"{field}.{name}") for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(member, f"{field}[{index}]") for index, member in enumerate(value)]
    return value
