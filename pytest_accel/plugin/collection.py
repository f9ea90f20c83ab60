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


#: IN_PARAM says why a marker in a parameter makes no variants.
IN_PARAM = (
    "has its accelerator marker in pytest.param, which pytest reads when the tests are made already: put the marker on "
    "the test function, and values of options into it as lists, for example "
    "@pytest.mark.accelerator('cpu', precision=['fp32', 'bf16'])"
)
#: ON_UNITTEST says why a class of unittest's can have no variants.
ON_UNITTEST = (
    "asks for accel_model in a unittest.TestCase, of whose methods pytest makes no variants: "
    "write it as a function, or in a class that is no TestCase"
)


def parametrize(metafunc: pytest.Metafunc, markers: Sequence[tuple[object, pytest.Mark]]) -> None:
    """Make one test of each plan that the markers of a test function ask for.

    A marker of the module or class says nothing to a test that needs no model.
    """
    asks = "accel_model" in metafunc.fixturenames
    if not asks and all(node is not metafunc.definition for node, _ in markers):
        return
    if not markers and any(map(_marks_a_parameter, metafunc.definition.iter_markers("parametrize"))):
        metafunc.parametrize("accel_model", [None], ids=["no-variant"], indirect=True)  # the fixture says why
        return
    found: list[Plan] = []
    why = ""
    try:
        found = plans(markers, asks=asks, registry=session_of(metafunc.config).registry)
    except UsageError as error:
        why = str(error)
    if why:  # outside of the except clause, so that the error is not told twice
        pytest.fail(f"{metafunc.definition.nodeid}: {why}", pytrace=False)
    metafunc.parametrize("accel_model", found, ids=[plan.variant.id for plan in found], indirect=True)


def _marks_a_parameter(parametrization: pytest.Mark) -> bool:
    values = parametrization.args[1] if len(parametrization.args) > 1 else parametrization.kwargs.get("argvalues", ())
    marks = [mark for value in values for mark in getattr(value, "marks", ())]
    return any(mark.name == "accelerator" for mark in marks)


def why_no_variant(item: pytest.Item) -> str | None:
    """Return why a test that asks for a model is no variant that a marker has made, or None where it is one."""
    callspec = getattr(item, "callspec", None)
    if any(mark.name == "accelerator" for mark in getattr(callspec, "marks", ())):
        return IN_PARAM
    return ON_UNITTEST if plan_of(item) is None else None


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of accelerators that this run does not name, and prepare the others."""
    settings, session = config.stash[SETTINGS], session_of(config)
    marked = [item for item in items if plan_of(item) is not None]
    try:
        others = unwanted(marked, settings.accelerators, session.registry)
    except UsageError as error:
        raise pytest.UsageError(f"--accelerator: {error}") from None
    require_known(settings, session.registry)
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
    """Return the ``marked`` tests, which have plans, of accelerators that this run does not name.

    An unknown name is an error even where no test is marked.
    """
    if wanted is None:
        return []
    for name in wanted:
        registry.reference(name)
    return [item for item in marked if (plan := plan_of(item)) and plan.variant.accelerator not in wanted]


def plan_of(item: pytest.Item) -> Plan | None:
    """Return the plan that a collected test was parametrised with, None where no marker has made it."""
    plan: Plan | None = getattr(getattr(item, "callspec", None), "params", {}).get("accel_model")
    return plan
