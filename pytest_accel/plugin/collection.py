"""Which plans a test has, and which of the collected tests this run leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.variants import Plan, expand_marker

if TYPE_CHECKING:
    import pytest

    from pytest_accel.inputs.registry import Registry


def plans(markers: Iterable[tuple[object, pytest.Mark]], *, asks: bool, registry: Registry) -> list[Plan]:
    """Every plan of one test, from its ``(node, marker)`` pairs, nearest node first.

    Markers add up. One on the test replaces the same variant of its class or module; twice on one node is an error.
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
    """The marked tests whose accelerator this run does not name. Names are checked even when nothing is marked."""
    if wanted is None:
        return []
    for name in wanted:
        registry.reference(name)
    return [item for item in marked if plan_of(item).variant.accelerator not in wanted]


def plan_of(item: pytest.Item) -> Plan:
    """The plan that a collected test was parametrised with."""
    plan: Plan = item.callspec.params["accel_model"]  # type: ignore[attr-defined]
    return plan
