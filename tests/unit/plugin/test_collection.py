from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.registry import Registry
from pytest_accel.plugin.collection import plan_of, plans, unwanted
from pytest_accel.testing import FAKE

if TYPE_CHECKING:
    from pytest_accel.inputs.variants import Plan

REGISTRY = Registry({"fake": FAKE, "other": FAKE})
TEST, MODULE = object(), object()


def marker(*names: str, **keywords: Any) -> pytest.Mark:
    made: pytest.Mark = pytest.mark.accelerator(*names, **keywords).mark
    return made


def found(*markers: tuple[object, pytest.Mark], asks: bool = True) -> list[Plan]:
    return plans(markers, asks=asks, registry=REGISTRY)


def item(name: str) -> Any:
    """A collected test, as far as it is looked at."""
    (plan,) = found((TEST, marker(name)))
    return SimpleNamespace(callspec=SimpleNamespace(params={"accel_model": plan}))


def test_the_nearest_marker_of_a_variant_counts_whole_and_other_variants_add_up() -> None:
    both = found((TEST, marker("fake", p99_ms=2)), (MODULE, marker("fake", "other", p50_ms=1)))
    assert [(plan.variant.id, plan.budgets.p99_ms, plan.budgets.p50_ms) for plan in both] == [
        ("fake", 2, None),
        ("other", None, 1),
    ]


def test_one_node_cannot_say_two_things_of_a_variant() -> None:
    with pytest.raises(UsageError, match="two accelerator markers make the same variant 'fake'; merge them into one"):
        found((TEST, marker("fake", p99_ms=1)), (TEST, marker("fake", p99_ms=2)))


@pytest.mark.parametrize(
    ("markers", "asks", "message"),
    [([], True, "has no marker; add @pytest.mark"), ([(TEST, marker("fake"))], False, "it would measure nothing")],
)
def test_marker_and_fixture_belong_together(markers: list[Any], asks: bool, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        found(*markers, asks=asks)


def test_what_a_run_does_not_name_is_unwanted() -> None:
    items = [item("fake"), item("other")]
    second = plan_of(items[1])
    assert second is not None
    assert second.variant.accelerator == "other"
    assert unwanted(items, ("fake",), REGISTRY) == items[1:]
    assert unwanted(items, None, REGISTRY) == []


def test_a_name_is_checked_where_nothing_is_marked() -> None:
    with pytest.raises(UsageError, match="unknown accelerator 'fkae', did you mean 'fake'"):
        unwanted([], ("fkae",), REGISTRY)
