from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks.raw_answers import check_raw_answers
from pytest_accel.acceptance.finding import NotApplicable
from pytest_accel.testing import FakeAccelerator

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_what_the_vendor_says_is_kept(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeAccelerator, "raw_answers", lambda _: {"inspector.json": "[]"})
    assert check_raw_answers(subject).reason == "kept: inspector.json"
    assert subject.raw_answers == {"inspector.json": "[]"}


def test_one_with_nothing_to_ask_has_nothing_to_keep(subject: FakeSubject) -> None:
    with pytest.raises(NotApplicable, match="no interface of its vendor"):
        check_raw_answers(subject)
