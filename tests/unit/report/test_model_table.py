from __future__ import annotations

import pytest

from pytest_accel.facts.records import Budgets, Hardware, TestRecord
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report import terminal
from pytest_accel.report.model_table import NBSP, Table, limits, outcome_of
from pytest_accel.report.overview import Overview
from tests.unit import facts
from tests.unit.report.test_overview import RATIO, record


def table(*records: TestRecord) -> Table:
    (only,) = Overview.of([facts.run(*records)]).tables
    return only


def cell(row: int, heading: str, *records: TestRecord) -> str:
    found = table(*records)
    return found.rows[row].cells[found.headings.index(heading)]


@pytest.mark.parametrize(
    ("kind", "strict", "outcome"),
    [
        ("pass", True, "passed"),
        ("improved", False, "passed"),
        ("inconclusive", False, "undecided"),
        ("inconclusive", True, "failed"),
        ("pruned", True, "left-out"),
        ("compiled", True, "left-out"),
        ("regressed", False, "failed"),
    ],
)
def test_what_a_verdict_does_to_its_test(kind: VerdictKind, strict: bool, outcome: str) -> None:
    assert outcome_of(record(kind), strict=strict) == outcome
    overview = Overview.of([facts.run(record(kind), strict=strict)])
    assert overview.tables[0].rows[0].outcome == outcome


def test_each_model_has_a_table_with_the_terminals_own_numbers() -> None:
    overview = Overview.of([facts.run(record(ratio=RATIO), record(model="bert"))])
    assert [model.model for model in overview.tables] == ["resnet50", "bert"]
    (line,) = terminal.summary([record(ratio=RATIO)], 0.95)
    shown = dict(zip(overview.tables[0].headings, overview.tables[0].rows[0].cells, strict=True))
    assert (shown["p50 ms"], shown["p99 ms"], shown["ratio"]) == ("50.0", "99.0", "×1.250 [1.100, 1.400]")
    assert "p50 50 ms" in line
    assert shown["ratio"] in line


def test_limits_placement_and_precisions_stand_beside_them() -> None:
    assert cell(0, "limits", record()) == f"p99{NBSP}7{NBSP}ms"
    assert cell(0, "on device", record()) == "98.0%"
    assert cell(0, "operators", record()) == f"2{NBSP}int8, 1{NBSP}float32"
    assert limits(Budgets(p999_ms=2.5, min_throughput=900)) == f"p99.9{NBSP}2.5{NBSP}ms, 900/s"


def test_what_all_rows_have_in_common_has_no_column() -> None:
    assert {"test", "machine"}.isdisjoint(table(record(), record(accelerator="gpu")).headings)


def test_rows_of_several_tests_and_machines_say_which() -> None:
    elsewhere = Hardware(fingerprint="inf1.xlarge", identity={})
    others = record(accelerator="inf1", test="test_other.py::test_it[inf1]", hardware=elsewhere)
    assert cell(1, "test", record(), others) == "test_other.py::test_it"
    assert cell(1, "machine", record(), others) == "inf1.xlarge"


def test_one_machine_of_two_that_are_alike_is_told_from_the_other() -> None:
    assert cell(1, "machine", record(), record(host="me@gpu-box")) == f"{facts.T4.fingerprint} on me@gpu-box"


def test_one_that_was_not_measured_has_its_reason() -> None:
    reason = table(record("refused", measurement=None), record(accelerator="gpu")).rows[0].reason
    assert reason == "A sentence."


def test_the_best_of_several_is_marked() -> None:
    slow = record(accelerator="slow", measurement=facts.measurement(wall_s=100.0))
    found = table(record(), slow)
    assert [row.best for row in found.rows] == [True, False]
    assert found.best
    assert not table(record()).best


def test_the_numbers_that_a_test_failed_for_are_known() -> None:
    verdicts = (
        Verdict(kind="sla-breach", question="sla", summary="Slow.", budget="p99_ms"),
        Verdict(kind="regressed", question="regression", summary="Slower."),
        Verdict(kind="pass", question="accuracy", summary="Right."),
    )
    failing = table(record(verdicts=verdicts)).rows[0].failing
    assert {"p99 ms", "ratio"} <= failing
    assert "change" not in failing


def test_a_model_of_which_nothing_is_known_has_a_table_of_reasons() -> None:
    found = table(record("refused", measurement=None, placement=None, budgets=Budgets()))
    assert found.headings == ()
    assert [(row.cells, row.reason) for row in found.rows] == [((), "A sentence.")]


def test_what_was_compiled_and_not_run_has_cells_in_place_of_a_reason() -> None:
    (row,) = table(facts.compiled()).rows
    assert (row.reason, row.sign) == ("", "–")
    assert cell(0, "run", facts.compiled()) == "not run"
    assert cell(0, "predicted", facts.compiled()) == "agreement 100.00%"
    assert "top-1 %" not in table(facts.compiled()).headings
