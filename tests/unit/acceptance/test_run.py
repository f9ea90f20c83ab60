"""One check after the other: whatever one of them does, the others are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance import run
from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
from pytest_accel.acceptance.run import accept, checks_of, chosen, left_open, made
from pytest_accel.facts.acceptance import Acceptance, CheckResult
from pytest_accel.facts.errors import UsageError, WorkerError
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def raising(error: BaseException) -> run.Check:
    def check(subject: object) -> Finding:
        raise error

    return check


def held(subject: object) -> Finding:
    return Finding("as it should", {"p50_ms": 1.23456789})


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (Broken("it does not hold"), "failed", "it does not hold"),
        (NotApplicable("there is none"), "not-applicable", "there is none"),
        (WorkerError("it said\n  no"), "failed", "WorkerError: it said no"),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
    ],
    ids=["broken", "not applicable", "worker", "anything"],
)
def test_an_exception_is_a_result(subject: FakeSubject, error: Exception, outcome: str, reason: str) -> None:
    result = made("some-check", raising(error), subject)
    assert (result.check, result.outcome, result.reason) == ("some-check", outcome, reason)


def test_a_reason_names_no_folder_of_this_run(subject: FakeSubject) -> None:
    result = made("some-check", raising(Broken(f"{subject.folder}/model.onnx is none")), subject)
    assert result.reason == ".../model.onnx is none"


def test_a_finding_is_kept_with_its_time_and_few_digits(subject: FakeSubject) -> None:
    times_s = iter([10.0, 12.5])
    result = made("some-check", held, subject, clock=lambda: next(times_s))
    assert (result.outcome, result.seconds, result.numbers) == ("held", 2.5, {"p50_ms": 1.23457})


def with_checks(monkeypatch: pytest.MonkeyPatch, **checks: run.Check) -> None:
    monkeypatch.setattr(run, "checks_of", lambda _: checks)


def test_a_check_that_fails_does_not_end_the_others(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, first=held, second=raising(Broken("no")), third=held)
    *_, last = accept(subject)
    assert [result.outcome for result in last.results] == ["held", "failed", "held"]
    assert last.standing == "failed"


def test_what_was_known_before_ctrl_c_has_been_given(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, first=held, second=raising(KeyboardInterrupt()))
    known: list[Acceptance] = []
    with pytest.raises(KeyboardInterrupt):
        _collect(accept(subject), known)
    assert [result.check for result in known[-1].results] == ["first"]
    assert known[-1].standing == "partial"


def _collect(acceptances: Iterator[Acceptance], known: list[Acceptance]) -> None:
    for acceptance in acceptances:
        known.append(acceptance)


@pytest.mark.parametrize(
    ("second", "standing"),
    [
        (held, "accepted"),
        (raising(NotApplicable("none")), "accepted"),
        (lambda _: Finding("noise", outcome="inconclusive"), "undecided"),
    ],
    ids=["held", "not applicable", "inconclusive"],
)
def test_all_that_can_be_made_has_to_be_decided(
    subject: FakeSubject, monkeypatch: pytest.MonkeyPatch, second: run.Check, standing: str
) -> None:
    with_checks(monkeypatch, first=held, second=second)
    *_, last = accept(subject)
    assert last.standing == standing
    assert last.hardware == subject.session.hardware("fake")
    assert last.versions["fake-sdk"] == "1.0"


def test_an_acceptance_of_a_few_checks_is_partial(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, first=held, second=held)
    *_, last = accept(subject, ["sec"])
    assert [result.check for result in last.results] == ["second"]
    assert last.standing == "partial"


def test_an_accelerator_that_is_absent_has_no_checks(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = '{"missing": {"kind": "no-hardware", "reason": "no fake device", "action": "plug one in"}}'
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, missing)
    (only,) = accept(subject)
    assert (only.standing, only.absent, only.results) == ("absent", "no fake device; plug one in", ())


def test_an_sdk_that_crashes_when_it_is_asked_is_absent(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, '{"failures": {"probe": {"how": "sigsegv"}}}')
    (only,) = accept(in_processes)
    assert only.standing == "absent"
    assert "SIGSEGV" in only.absent


def test_there_is_a_check_for_each_precision() -> None:
    assert {"yardstick-fp32", "yardstick-int8", "resnet50-fp32", "resnet50-int8"} < checks_of(["fp32", "int8"]).keys()


def test_a_name_that_is_no_check_is_an_error_that_names_them() -> None:
    with pytest.raises(UsageError, match=r"--only=contrakt is no check, did you mean 'contract'.* Checks: identity, "):
        chosen(checks_of(["fp32"]), ["contrakt"])


@pytest.mark.parametrize(
    ("decided", "open_checks"),
    [
        ([], ["contract", "saved-baseline", "unchanged"]),
        (["contract"], ["saved-baseline", "unchanged"]),
        (["contract", "saved-baseline"], ["saved-baseline", "unchanged"]),
        (["contract", "unchanged"], ["saved-baseline", "unchanged"]),
        (["saved-baseline", "unchanged"], ["contract"]),
        (["contract", "saved-baseline", "unchanged"], []),
    ],
)
def test_a_comparison_is_repeated_with_its_baseline(decided: list[str], open_checks: list[str]) -> None:
    results = tuple(CheckResult(check=name, outcome="held", reason="", seconds=0.0) for name in decided)
    known = Acceptance(accelerator="fake", date="2026-11-30", checks=3, results=results)
    assert left_open(["contract", "saved-baseline", "unchanged"], known) == open_checks
