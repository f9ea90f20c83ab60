"""This module makes tests of markers, and deselects those that this run leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.variants import Plan, expand_marker
from pytest_accel.plugin import benchmark_export
from pytest_accel.plugin.option_values import require_known
from pytest_accel.plugin.state import SETTINGS, session_of

if TYPE_CHECKING:
    from pytest_accel.inputs.registry import Registry


def parametrize(metafunc: pytest.Metafunc, markers: Sequence[tuple[object, pytest.Mark]]) -> None:
    """Make one test of each plan that the markers of a test function ask for."""
    asks = "accel_model" in metafunc.fixturenames
    try:
        found = plans(markers, asks=asks, registry=session_of(metafunc.config).registry)
    except UsageError as error:
        pytest.fail(f"{metafunc.definition.nodeid}: {error}", pytrace=False)
    metafunc.parametrize("accel_model", found, ids=[plan.variant.id for plan in found], indirect=True)


def select(config: pytest.Config, items: list[pytest.Item], marked: Sequence[pytest.Item]) -> None:
    """Deselect the marked tests of accelerators that this run does not name, and prepare the others."""
    settings, session = config.stash[SETTINGS], session_of(config)
    try:
        others = unwanted(marked, settings.accelerators, session.registry)
    except UsageError as error:
        raise pytest.UsageError(f"--accelerator: {error}") from None
    require_known(settings.interpreters, session.registry)
    session.comparisons = max(1, len(marked) - len(others))
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
    if benchmark_export.can_export(config):
        for item in marked:
            benchmark_export.mark_for_export(config, item)


def plans(markers: Iterable[tuple[object, pytest.Mark]], *, asks: bool, registry: Registry) -> list[Plan]:
    """Return every plan of one test from the ``(node, marker)`` pairs, nearest node first.

    Markers add up. A variant on the test replaces the same variant on the class or module. Two markers on one node that
    make the same variant are an error.
    """
    found: dict[str, tuple[object, Plan]] = {}
    for node, marker in markers:
        for plan in expand_marker(marker.args, marker.kwargs, registry):
            if plan.variant.id not in found:
                found[plan.variant.id] = (node, plan)
            elif found[plan.variant.id][0] is node:
                raise UsageError(
                    f"two accelerator markers make the same variant {plan.variant.id!r}; merge them into one"
                )
    if not found:
        raise UsageError("asks for accel_model but has no marker; add @pytest.mark.accelerator('cpu') or another one")
    if not asks:
        raise UsageError("is marked accelerator but never asks for the fixture accel_model: it would measure nothing")
    return [plan for _, plan in found.values()]


def unwanted(marked: Sequence[pytest.Item], wanted: Sequence[str] | None, registry: Registry) -> list[pytest.Item]:
    """Return the marked tests of accelerators that this run does not name.

    An unknown name is an error even where no test is marked.
    """
    if wanted is None:
        return []
    for name in wanted:
        registry.reference(name)
    return [item for item in marked if plan_of(item).variant.accelerator not in wanted]


def plan_of(item: pytest.Item) -> Plan:
    """Return the plan that a collected test was parametrised with."""
    plan: Plan = item.callspec.params["accel_model"]  # type: ignore[attr-defined]
    return plan
