from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Budgets, Failure, Hardware, Ratio, TestRecord, Variant, Verdict, VerdictKind
from pytest_accel.report import terminal
from pytest_accel.report.overview import NBSP, Overview, Table, answers, duration, limits, outcome_of
from tests.unit import facts

TEST = "test_it.py::test_it[cpu]"
RATIO = Ratio(estimate=1.25, lower=1.1, upper=1.4, confidence=0.95, launches=3, smallest_caught=0.1)


def record(kind: VerdictKind = "pass", accelerator: str = "cpu", **changed: Any) -> TestRecord:
    found: dict[str, Any] = {
        "test": f"test_it.py::test_it[{accelerator}]",
        "variant": Variant(accelerator=accelerator, options={}),
        "verdicts": (Verdict(kind=kind, question="sla", summary="A sentence."),),
        "measurement": facts.measurement(),
    }
    return facts.record(**{**found, **changed})


def failure(test: str = TEST, message: str = "No.") -> Failure:
    return Failure(test=test, file="test_it.py", line=7, message=message)


def table(*records: TestRecord) -> Table:
    (only,) = Overview.of([facts.run(*records)]).tables
    return only


def cell(row: int, heading: str, *records: TestRecord) -> str:
    found = table(*records)
    return found.rows[row].cells[found.headings.index(heading)]


# Did everything pass?


def test_a_run_without_failures_has_passed() -> None:
    told = Overview.of([facts.run(record(), record(accelerator="gpu"))])
    assert (told.outcome, told.headline) == ("passed", "Passed: none of 2 tests failed")


def test_a_test_that_failed_without_a_record_counts_too() -> None:
    told = Overview.of([facts.run(record(), failures=(failure("test_crash.py::test_it"),))])
    assert (told.outcome, told.headline) == ("failed", "Failed: 1 of 2 tests")


def test_one_test_on_two_machines_is_two() -> None:
    runs = [facts.run(record("sla-breach"), failures=(failure(),)), facts.run(record())]
    assert Overview.of(runs).headline == "Failed: 1 of 2 tests"


@pytest.mark.parametrize("tests", [(), (record("refused", measurement=None),)])
def test_where_nothing_was_measured_nothing_has_passed(tests: tuple[TestRecord, ...]) -> None:
    told = Overview.of([facts.run(*tests)])
    assert (told.outcome, told.headline) == ("undecided", "Nothing was measured")


def test_verdicts_are_counted_from_the_mildest() -> None:
    kinds: tuple[VerdictKind, ...] = ("sla-breach", "pass", "no-baseline", "pass")
    counts = Overview.of([facts.run(*map(record, kinds))]).counts
    assert list(counts.items()) == [("pass", 2), ("no-baseline", 1), ("sla-breach", 1)]


@pytest.mark.parametrize(
    ("kind", "strict", "outcome"),
    [
        ("pass", True, "passed"),
        ("improved", False, "passed"),
        ("inconclusive", False, "undecided"),
        ("inconclusive", True, "failed"),
        ("pruned", True, "left-out"),
        ("regressed", False, "failed"),
    ],
)
def test_what_a_verdict_does_to_its_test(kind: VerdictKind, strict: bool, outcome: str) -> None:
    assert outcome_of(record(kind), strict=strict) == outcome
    told = Overview.of([facts.run(record(kind), strict=strict)])
    assert told.tables[0].rows[0].outcome == outcome


def test_each_run_says_when_where_and_how_long_it_was() -> None:
    assert list(Overview.of([facts.run(record(), strict=True), facts.run()]).facts) == [
        {
            "began": "23 November 2026, 17:00 UTC",
            "took": "4 min 12 s",
            "machine": facts.T4.fingerprint,
            "by": "pytest-accel 1.2.3, strict",
        },
        {
            "began": "23 November 2026, 17:00 UTC",
            "took": "4 min 12 s",
            "machine": "none was used",
            "by": "pytest-accel 1.2.3",
        },
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.25, "0.25 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3_840, "1 h 4 min")]
)
def test_a_duration_is_told_as_people_say_it(seconds: float, told: str) -> None:
    assert duration(seconds) == told


# The models


def test_each_model_has_a_table_with_the_terminals_own_numbers() -> None:
    told = Overview.of([facts.run(record(ratio=RATIO), record(model="bert"))])
    assert [each.model for each in told.tables] == ["resnet50", "bert"]
    (line,) = terminal.summary([record(ratio=RATIO)], 0.95)
    shown = dict(zip(told.tables[0].headings, told.tables[0].rows[0].cells, strict=True))
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


def test_runs_of_different_confidence_are_not_put_side_by_side() -> None:
    with pytest.raises(UsageError, match=r"their accel_confidence is 0\.9 and 0\.95; make a report of each"):
        Overview.of([facts.run(record()), facts.run(record(), confidence=0.9)])


# Failures, notes, answers


def test_every_failure_says_how_to_see_it_again_and_says_it_once() -> None:
    own = f"Slow.\nReproduce: pytest '{TEST}' --accelerator=cpu"
    failures = Overview.of([facts.run(failures=(failure(), failure(message=own)))]).failures
    assert [each.message for each in failures] == [f"No.\nReproduce: pytest '{TEST}'", own]


def test_notes_are_the_terminals_and_the_runs_warnings() -> None:
    runs = [facts.run(record("inconclusive"), warnings=("nothing was measured",))]
    assert Overview.of(runs).notes == ("inconclusive: A sentence. (resnet50[cpu])", "nothing was measured")


def test_an_accelerator_that_another_machine_has_is_absent_on_one_of_them() -> None:
    absent = {"cpu": "no cpu; get one", "inf1": "no inf1; get one"}
    runs = [facts.run(absent=absent), facts.run(record(), absent={"inf1": "no inf1; get one"})]
    assert Overview.of(runs).absences == (
        "cpu absent: no cpu; get one (on one of the machines; used on another)",
        "inf1 absent: no inf1; get one",
    )


def test_an_answer_has_its_question_its_details_and_what_it_stands_on() -> None:
    verdict = Verdict(kind="regressed", question="regression", summary="Slower.", details=("By much.",))
    changed = record(verdicts=(verdict,), changes=("version tf: 1 -> 2",))
    assert list(answers(changed)) == [
        "regressed (regression): Slower. By much.",
        "single_stream, 100 calls; compiled in 1 min 0 s, loaded in 1.5 s, first inference 40 ms, 20 calls to warm up.",
        "Budgets: p99_ms=7.",
        "Changed from the baseline: version tf: 1 -> 2.",
    ]
