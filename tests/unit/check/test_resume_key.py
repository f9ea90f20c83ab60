from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.check.resume_key import check_key
from pytest_accel.facts.records import Budgets
from pytest_accel.facts.settings import Saving
from pytest_accel.session.compilation import compile_candidate
from tests.unit import facts

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop


def key(workshop: Workshop, **changed: Any) -> str:
    """The key of a check, with one thing changed."""
    options = changed.pop("options", {})
    plan = workshop.plan(**options)
    candidate = compile_candidate(workshop.session, workshop.model(**changed.pop("script", {})), plan.variant)
    said: dict[str, Any] = {"test": "test_it.py::test_it[fake]", "metric": None, "baseline": None, "anchor": None}
    budgets = changed.pop("budgets", Budgets(p99_ms=5))
    return check_key(candidate, plan, budgets, **{**said, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"test": "test_it.py::test_other[fake]"},
        {"metric": max},
        {"baseline": facts.baseline()},
        {"anchor": facts.baseline()},
        {"budgets": Budgets(p99_ms=6)},
        {"options": {"cores": 2}},
        {"options": {"input_shapes": {"x": (4,)}}},
        {"script": {"latency_ms": 2.0}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_a_result_depends_on_is_in_its_key(workshop: Workshop, changed: dict[str, Any]) -> None:
    assert key(workshop, **changed) != key(workshop)


def test_the_text_of_the_test_is_in_it(workshop: Workshop) -> None:
    before = key(workshop)
    (workshop.folder / "test_it.py").write_text("changed", encoding="ascii")
    assert key(workshop) != before


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"confidence": 0.99}, False),
        ({"first_divergence": True}, False),
        ({"save": Saving("all")}, False),
        ({"in_process": True, "strict": True, "resume": True, "reports": (Path("r.json"),)}, True),
        ({"run_timeout_s": 5.0, "compile_timeout_s": 5.0, "accelerators": ("fake",)}, True),
    ],
)
def test_settings_bind_unless_they_change_no_result(workshop: Workshop, settings: dict[str, Any], same: bool) -> None:
    before = key(workshop)
    workshop.start_again(**settings)
    assert (key(workshop) == before) is same


def test_how_many_are_compared_binds_only_where_there_is_a_baseline(workshop: Workshop) -> None:
    baseline = facts.baseline()
    before = key(workshop), key(workshop, baseline=baseline)
    workshop.session.comparisons = 9
    assert key(workshop) == before[0]
    assert key(workshop, baseline=baseline) != before[1]


def test_a_baseline_that_the_run_writes_itself_does_not_bind(workshop: Workshop) -> None:
    workshop.start_again(save=Saving("all"))
    assert key(workshop, baseline=facts.baseline()) == key(workshop)
    workshop.start_again(save=Saving("all", "release"))
    assert key(workshop, baseline=facts.baseline()) != key(workshop)
