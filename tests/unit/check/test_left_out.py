from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.check.left_out import Unmeasured
from pytest_accel.facts.errors import CompileFailed
from pytest_accel.facts.records import Budgets

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop

TEST = "test_it.py::test_it[fake-b32]"
LIMIT = Budgets(p99_ms=5)


@pytest.mark.parametrize(
    ("on_compile_error", "kind", "summary"),
    [
        ("fail", "not-measured", "The compiler refused it: E17: no kernel"),
        ("xfail", "refused", "E17: no kernel"),
        ("record", "refused", "E17: no kernel"),
    ],
)
def test_a_refusal_is_recorded_in_the_vendors_words(
    workshop: Workshop, on_compile_error: str, kind: str, summary: str
) -> None:
    plan = workshop.plan(batch_size=8, p99_ms=5, on_compile_error=on_compile_error)
    record = Unmeasured(workshop.session, workshop.model(), plan, TEST).refused(
        CompileFailed("E17: no kernel\nnode 5\n")
    )
    (told,) = record.verdicts
    assert (told.kind, told.summary, told.details) == (kind, summary, ("node 5",))
    assert (record.model, record.variant, record.budgets, record.measurement) == ("model", plan.variant, LIMIT, None)
    assert record.versions["fake-sdk"] == "1.0"


def test_a_refusal_without_a_word_is_recorded_too(workshop: Workshop) -> None:
    record = Unmeasured(workshop.session, workshop.model(), workshop.plan(), TEST).refused(CompileFailed(""))
    assert record.verdicts[0].summary == "The compiler refused it: no reason given"


def test_a_pruned_variant_is_recorded_with_what_ruled_it_out(workshop: Workshop) -> None:
    record = Unmeasured(workshop.session, workshop.model(), workshop.plan(), TEST).pruned(
        "The smaller one was too slow."
    )
    assert (record.kind, record.verdicts[0].summary) == ("pruned", "The smaller one was too slow.")
