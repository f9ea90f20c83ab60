"""The table of ``--accel-list`` and ``pytest-accel devices``: what is present and, for what is not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pytest_accel.report import columns

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Missing, Present


def table(survey: Mapping[str, Present | Missing]) -> Iterator[str]:
    """A line or two for each accelerator, by name."""
    from pytest_accel.worker.accelerator import Present

    rows = []
    for name, found in sorted(survey.items()):
        if isinstance(found, Present):
            rows.append((name, "present", found.device))
        else:
            rows += [(name, "absent", f"{found.kind}: {found.reason}"), ("", "", found.action)]
    return map(columns.join, columns.pad(rows))
