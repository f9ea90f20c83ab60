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
    """Give a line or two for each accelerator, by name. A device on another machine has its host.

    An accelerator whose hardware is here is None where its SDK was not asked.
    """
    rows = [row for name, found in sorted(survey.items()) for row in _rows(name, found, hosts.get(name))]
    return map(join, pad(rows))


def _rows(name: str, found: Present | Missing | None, host: Host | None) -> Iterator[tuple[str, ...]]:
    from pytest_accel.worker.accelerator import Present

    if found is None:
        yield name, "possible"
    elif isinstance(found, Present):
        yield name, "present", f"{found.device} on {host.ssh}" if host else found.device
    else:
        yield name, "absent", f"{found.kind}: {found.reason}"
        yield "", "", found.action
