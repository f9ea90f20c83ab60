from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Failure, Ratio, TestRecord, Variant
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.overview import Overview
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


# Did everything pass?


def test_a_run_without_failures_has_passed() -> None:
    overview = Overview.of([facts.run(record(), record(accelerator="gpu"))])
    assert (overview.outcome, overview.headline) == ("passed", "Passed: none of 2 tests failed")


def test_a_test_that_failed_without_a_record_counts_too() -> None:
    overview = Overview.of([facts.run(record(), failures=(failure("test_crash.py::test_it"),))])
    assert (overview.outcome, overview.headline) == ("failed", "Failed: 1 of 2 tests")


def test_what_failed_the_run_as_a_whole_is_its_headline() -> None:
    overview = Overview.of([facts.run(record(), faults=("the run was interrupted",)), facts.run(record())])
    assert (overview.outcome, overview.headline) == ("failed", "Failed: the run was interrupted")


def test_one_test_on_two_machines_is_two() -> None:
    runs = [facts.run(record("sla-breach"), failures=(failure(),)), facts.run(record())]
    assert Overview.of(runs).headline == "Failed: 1 of 2 tests"


@pytest.mark.parametrize("tests", [(), (record("refused", measurement=None),)])
def test_where_nothing_was_measured_nothing_has_passed(tests: tuple[TestRecord, ...]) -> None:
    overview = Overview.of([facts.run(*tests)])
    assert (overview.outcome, overview.headline) == ("undecided", "Nothing was measured")


def test_verdicts_are_counted_from_the_mildest() -> None:
    kinds: tuple[VerdictKind, ...] = ("sla-breach", "pass", "no-baseline", "pass")
    counts = Overview.of([facts.run(*map(record, kinds))]).counts
    assert list(counts.items()) == [("pass", 2), ("no-baseline", 1), ("sla-breach", 1)]


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


def test_runs_of_different_confidence_are_not_put_side_by_side() -> None:
    with pytest.raises(UsageError, match=r"their accel_confidence is 0\.9 and 0\.95; make a report of each"):
        Overview.of([facts.run(record()), facts.run(record(), confidence=0.9)])


# Failures and notes


def test_every_failure_says_how_to_see_it_again_and_says_it_once() -> None:
    own = f"Slow.\nReproduce: pytest '{TEST}' --accelerator=cpu"
    failures = Overview.of([facts.run(failures=(failure(), failure(message=own)))]).failures
    assert [entry.message for entry in failures] == [f"No.\nReproduce: pytest '{TEST}'", own]


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


def test_a_run_that_only_compiled_has_not_passed() -> None:
    overview = Overview.of([facts.run(facts.compiled(), facts.compiled(test="test_it.py::test_other[gpu]"))])
    assert (overview.outcome, overview.headline) == ("left-out", "Compiled and not run: none of 2 tests failed")
    assert overview.counts == {"compiled": 2}


def test_what_was_only_compiled_is_counted_beside_what_was_measured() -> None:
    overview = Overview.of([facts.run(record()), facts.run(facts.compiled())])
    assert overview.headline == "Passed: none of 2 tests failed; 1 of them only compiled"


def test_the_page_has_what_changed_where_nothing_was_run() -> None:
    changed = facts.compiled(changes=("artefact size in MB: 1 -> 2",))
    assert (
        "changed since the baseline: artefact size in MB: 1 -> 2 (resnet50[gpu-trt-int8-b8])"
        in Overview.of([facts.run(changed)]).notes
    )
