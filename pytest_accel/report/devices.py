"""Make the table of ``--accel-list`` and ``pytest-accel devices``: what can be used here, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_accel.report.columns import join, pad

if TYPE_CHECKING:
    from pytest_accel.facts.settings import Host
    from pytest_accel.worker.accelerator import Missing, Present


def table(
    survey: Mapping[str, Present | Missing | None], hosts: Mapping[str, Host] = MappingProxyType({})
) -> Iterator[str]:
    """Give a line or two for each accelerator, by name, with its host where it has one.

    An accelerator whose hardware is here is None where its SDK was not asked.
    """
    rows = [
        row
        for name, found in sorted(survey.items())
        for row in _rows(name, f"on {hosts[name].ssh}" if name in hosts else "", found)
    ]
    return map(join, pad(rows))


def _rows(name: str, host: str, found: Present | Missing | None) -> Iterator[tuple[str, ...]]:
    from pytest_accel.worker.accelerator import Present

    if found is None:
        yield name, "possible", host
    elif isinstance(found, Present):
        yield name, "present", host, found.device
    else:
        yield name, "absent", host, f"{found.kind}: {found.reason}"
        yield "", "", "", found.action
