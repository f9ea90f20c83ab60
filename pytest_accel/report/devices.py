"""The table of ``--accel-list`` and ``pytest-accel devices``: what is present and, for what is not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Missing, Present


def table(survey: Mapping[str, Present | Missing]) -> Iterator[str]:
    """A line or two for each accelerator, by name."""
    from pytest_accel.worker.accelerator import Present

    width = max(map(len, survey), default=0)
    for name, found in sorted(survey.items()):
        if isinstance(found, Present):
            yield f"{name:<{width}}  present  {found.device}"
        else:
            yield f"{name:<{width}}  absent   {found.kind}: {found.reason}"
            yield f"{'':<{width}}           {found.action}"
