from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import Accuracy, Budgets, Creep, OutputErrors, TestRecord
from pytest_accel.report.budgets import MEASURED, budgets
from tests.unit import facts
from tests.unit.report.test_overview import RATIO

CREEP = Creep(anchor=facts.baseline().compared("v1"), duet=facts.duet(), ratio=RATIO)


def errors(normalised_l2: float) -> tuple[OutputErrors, ...]:
    return (OutputErrors(name="y", max_abs=1, max_rel=1, normalised_l2=normalised_l2, cosine=1, snr_db=None),)


def known(**changed: Any) -> TestRecord:
    """A check that knows of every budget what was measured."""
    accuracy = Accuracy(
        samples=100,
        dataset_digest="s1",
        labelled=True,
        agreement=0.97,
        top1=0.90,
        reference_top1=0.92,
        flips_lost=3,
        outputs=errors(0.3),
        control=errors(0.1),
    )
    return facts.record(
        **{"measurement": facts.measurement(), "ratio": RATIO, "creep": CREEP, "accuracy": accuracy, **changed}
    )


def measured(name: str, limit: float, record: TestRecord) -> float | None:
    (budget,) = budgets(msgspec.structs.replace(record, budgets=Budgets(**{name: limit})))
    assert (budget.name, budget.limit) == (name, limit)
    return budget.measured


def test_every_budget_of_the_marker_has_a_measure() -> None:
    assert MEASURED.keys() == set(Budgets.__struct_fields__)


@pytest.mark.parametrize(
    ("name", "limit", "value"),
    [
        ("p50_ms", 7.0, 50.0),
        ("p90_ms", 7.0, 90.0),
        ("p95_ms", 7.0, 95.0),
        ("p99_ms", 7.0, 99.0),
        ("p999_ms", 7.0, 100.0),
        ("min_throughput", 100.0, 8 * 100 / 5.05),
        ("max_accuracy_drop", 0.01, 0.02),
        ("min_accuracy", 0.8, 0.90),
        ("max_flips", 10, 3),
        ("max_flips", 0.1, 0.03),
        ("max_error_ratio", 2.0, 3.0),
        ("max_regression", 0.05, 0.25),
        ("max_creep", 0.1, 0.25),
        ("min_on_device", 0.5, 0.98),
        ("max_memory_mb", 1000.0, 512.0),
        ("max_artefact_mb", 100.0, 97.8),
        ("max_compile_s", 100.0, 60.0),
        ("max_load_s", 100.0, 1.5),
    ],
)
def test_what_was_measured_is_in_the_unit_of_the_limit(name: str, limit: float, value: float) -> None:
    assert measured(name, limit, known()) == pytest.approx(value)


@pytest.mark.parametrize("name", sorted(Budgets.__struct_fields__))
def test_what_nobody_knows_has_no_measure(name: str) -> None:
    unknown = known(measurement=None, accuracy=None, ratio=None, creep=None, placement=None, artefact=None)
    assert measured(name, 1.0, unknown) is None


def test_without_labels_changed_answers_stand_for_the_drop() -> None:
    unlabelled = Accuracy(samples=100, dataset_digest="s1", labelled=False, agreement=0.97, flips_lost=3)
    assert measured("max_accuracy_drop", 0.01, known(accuracy=unlabelled)) == pytest.approx(0.03)
    assert measured("min_accuracy", 0.8, known(accuracy=unlabelled)) is None


def test_a_budget_that_was_not_given_is_left_out() -> None:
    assert list(budgets(known(budgets=Budgets()))) == []
