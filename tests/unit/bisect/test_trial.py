from __future__ import annotations

import pytest

from pytest_accel.bisect.trial import FAULTS, Answer, FaultKind, Given, reason_of, verdicts_of, why_unusable
from pytest_accel.facts.records import Failure
from pytest_accel.facts.verdicts import Verdict
from tests.unit import facts
from tests.unit.bisect.scripted import CLOSE, GOOD, INACCURATE, NOTHING, REFUSED, REGRESSED, trial


@pytest.mark.parametrize(
    ("hunted", "verdicts", "answer"),
    [
        ("regressed", REGRESSED, "bad"),
        ("regressed", GOOD, "good"),
        ("regressed", (Given(kind="improved", question="regression"),), "good"),
        ("regressed", CLOSE, "undecided"),
        ("regressed", INACCURATE, "good"),
        ("regressed", REFUSED, "undecided"),
        ("regressed", NOTHING, "undecided"),
        ("inaccurate", INACCURATE, "bad"),
        ("inaccurate", REGRESSED, "good"),
        ("inaccurate", REFUSED, "undecided"),
        ("refused", REFUSED, "bad"),
        ("refused", INACCURATE, "good"),
        ("refused", NOTHING, "undecided"),
        ("refused", (Given(kind="not-measured", question="measurement"),), "undecided"),
        ("sla-breach", (Given(kind="pass", question="sla"), Given(kind="sla-breach", question="sla")), "bad"),
        ("sla-breach", (Given(kind="pass", question="sla"), Given(kind="inconclusive", question="sla")), "undecided"),
    ],
)
def test_answers(hunted: FaultKind, verdicts: tuple[Given, ...], answer: Answer) -> None:
    assert trial(verdicts=verdicts).answer(FAULTS[hunted]) == answer


def test_a_budget_of_resources_is_hunted_by_its_own_question() -> None:
    shown = trial(verdicts=(Given(kind="pass", question="sla"), Given(kind="sla-breach", question="resources")))
    (fault,) = shown.faults()
    assert (fault.kind, fault.question) == ("sla-breach", "resources")
    assert shown.answer(fault) == "bad"


def test_faults_are_ordered_by_severity_and_named_once() -> None:
    shown = trial(verdicts=(*REGRESSED, *REGRESSED, *INACCURATE))
    assert [fault.kind for fault in shown.faults()] == ["inaccurate", "regressed"]
    assert trial(verdicts=CLOSE).faults() == ()


def test_only_a_comparison_without_an_answer_is_close() -> None:
    assert trial(verdicts=CLOSE).is_close
    assert not trial(verdicts=(Given(kind="inconclusive", question="accuracy"),)).is_close


@pytest.mark.parametrize("kind", ["refused", "not-measured"])
def test_a_check_that_ended_at_the_compiler_is_refused_however_the_marker_calls_it(kind: str) -> None:
    verdict = Verdict(kind=kind, question="measurement", summary="The compiler refused it: no")  # type: ignore[arg-type]
    record = facts.record(verdicts=(verdict,), artefact=None, measurement=None)
    assert verdicts_of(record) == REFUSED


def test_a_measurement_that_was_spoilt_is_not_refused() -> None:
    verdict = Verdict(kind="not-measured", question="measurement", summary="faster than the device can be")
    record = facts.record(verdicts=(verdict,), measurement=facts.measurement())
    assert verdicts_of(record) == (Given(kind="not-measured", question="measurement"),)


def test_why_a_run_is_no_trial() -> None:
    one, two = facts.record(test="t.py::t[a]"), facts.record(test="t.py::t[b]")
    failure = Failure(test="t.py::t", file="t.py", line=1, message="no model\nmore")
    assert why_unusable(facts.run(one), 0) == ""
    assert why_unusable(facts.run(one, two), 1) == "2 checks were selected: t.py::t[a], t.py::t[b]"
    assert why_unusable(facts.run(failures=(failure,)), 1) == "no model"
    assert why_unusable(facts.run(absent={"gpu": "no device"}), 0) == "gpu absent: no device"
    assert why_unusable(facts.run(absent={}), 4) == "there is no such test, or it cannot be collected"
    assert why_unusable(facts.run(absent={}), 5) == "no test was selected"
    assert why_unusable(facts.run(absent={}), 1) == "no check of a model was made; pytest ended with status 1"
    assert why_unusable(None, 3) == "pytest ended with status 3 before it could write a record"


def test_the_reason_is_the_worst_verdict() -> None:
    verdicts = (
        Verdict(kind="pass", question="sla", summary="p99 holds"),
        Verdict(kind="inaccurate", question="accuracy", summary="wrong\nmore"),
    )
    assert reason_of(facts.record(verdicts=verdicts)) == "inaccurate: wrong"
    assert reason_of(facts.record(verdicts=())) == "not judged"
