from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.acceptance.checks.precision import MOST_TIMES, check_resnet50, check_yardstick
from pytest_accel.check.accel_model import CompiledModel
from pytest_accel.check.failed import CheckFailed
from pytest_accel.facts.errors import CompileFailed
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.unit import facts

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.verdicts import VerdictKind
    from tests.unit.acceptance.conftest import FakeSubject

HALF = {"precisions": {"float16": 2}, "operators": {"dense": "fake:float16", "softmax": "fake:float16"}}


def scripted(monkeypatch: pytest.MonkeyPatch, **script: Any) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(script))


def test_the_default_precision_is_the_first(in_processes: FakeSubject) -> None:
    assert in_processes.precisions == ["fp32", "fp16", "int8"]


def test_a_model_that_passes_is_told_with_its_time_and_precision(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, by_precision={"fp16": HALF}, device_state={"sm_clock_mhz": 585, "p_state": "P0"})
    found = check_yardstick(in_processes, "fp16")
    assert (found.outcome, found.reason) == ("held", "p50 1 ms; operators: 2 float16")
    assert found.numbers == {"p50_ms": 1.0, "compile_s": 2.0, "sm_clock_mhz": 585}


def test_one_that_computes_in_another_precision_fails(in_processes: FakeSubject) -> None:
    with pytest.raises(CheckFailed, match="in fp32"):
        check_yardstick(in_processes, "fp16")


@pytest.mark.parametrize("check", [check_yardstick, check_resnet50])
def test_a_precision_that_the_vendor_refuses_is_told_in_its_words(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch, check: Any
) -> None:
    refused = {"failures": {"compile": {"how": "refused", "message": "no tensor cores here"}}}
    scripted(monkeypatch, by_precision={"int8": refused})
    found = check(in_processes, "int8")
    assert found.outcome == "refused"
    assert "no tensor cores here" in found.reason


def test_the_accelerators_own_precision_may_not_be_refused(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, failures={"compile": {"how": "refused", "message": "no"}})
    with pytest.raises(CompileFailed):
        check_yardstick(in_processes, "fp32")


def test_a_wrong_answer_fails(in_processes: FakeSubject) -> None:
    in_processes.scripts["resnet50"] = {"nan": True, "by_precision": {"fp16": HALF}}
    with pytest.raises(CheckFailed):
        check_resnet50(in_processes, "fp16")


def test_what_could_not_be_decided_is_inconclusive(subject: FakeSubject) -> None:
    found = check_yardstick(subject, "fp32")
    assert found.outcome == "inconclusive"
    assert "shared the test's process" in found.reason


def fail_first(times: int, kind: VerdictKind, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let so many checks fail before one is really made; return the list of all that were asked for."""
    asked: list[str] = []
    check = CompiledModel.check

    def failing(model: CompiledModel) -> TestRecord:
        asked.append(kind)
        if len(asked) <= times:
            raise CheckFailed(facts.record(verdicts=(Verdict(kind=kind, question="measurement", summary=""),)), kind)
        return check(model)

    monkeypatch.setattr(CompiledModel, "check", failing)
    return asked


def test_a_measurement_that_a_neighbour_disturbs_is_made_again(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fail_first(MOST_TIMES - 1, "not-measured", monkeypatch)
    assert check_yardstick(in_processes, "fp32").outcome == "held"
    assert len(asked) == MOST_TIMES


@pytest.mark.parametrize(("kind", "times"), [("not-measured", MOST_TIMES), ("inaccurate", 1)])
def test_what_is_never_true_or_is_wrong_fails(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch, kind: VerdictKind, times: int
) -> None:
    asked = fail_first(MOST_TIMES, kind, monkeypatch)
    with pytest.raises(CheckFailed, match=kind):
        check_yardstick(in_processes, "fp32")
    assert len(asked) == times
