from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks.contract import check_contract
from pytest_accel.acceptance.finding import Broken
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_an_accelerator_that_keeps_the_contract_holds(subject: FakeSubject) -> None:
    found = check_contract(subject)
    assert found.numbers["tests_passed"] >= 15
    assert "tests pass" in found.reason


def test_one_that_breaks_it_is_told_with_the_test(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"returned_dtype": "float64"}))
    with pytest.raises(Broken, match=r"the first is test_outputs_are_what_the_signature_says: .*float64"):
        check_contract(subject)


def test_a_contract_of_which_nothing_ran_does_not_hold(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"kind": "no-hardware", "reason": "no fake device", "action": "plug one in"}
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"missing": missing}))
    subject.session.absence("fake")
    monkeypatch.setattr(type(subject), "alone", lambda _: nullcontext())
    with pytest.raises(Broken, match="no fake device"):
        check_contract(subject)
