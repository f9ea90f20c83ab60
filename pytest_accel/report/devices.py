"""Make the table of ``--accel-list`` and ``pytest-accel devices``: what can be used here, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pytest_accel.report.columns import join, pad

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Missing, Present


def table(survey: Mapping[str, Present | Missing | None]) -> Iterator[str]:
    """Give a line or two for each accelerator, by name.

    An accelerator whose hardware is here is None where its SDK was not asked.
    """
    return map(join, pad([row for name, found in sorted(survey.items()) for row in _rows(name, found)]))


def _rows(name: str, found: Present | Missing | None) -> Iterator[tuple[str, ...]]:
    from pytest_accel.worker.accelerator import Present

    if found is None:
        yield name, "possible"
    elif isinstance(found, Present):
        yield name, "present", found.device
    else:
        yield name, "absent", f"{found.kind}: {found.reason}"
        yield "", "", found.action
