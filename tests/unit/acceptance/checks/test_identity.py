from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.acceptance.checks.identity import check_identity
from pytest_accel.acceptance.finding import Broken
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_a_device_with_an_identity_and_versions_holds(subject: FakeSubject) -> None:
    found = check_identity(subject)
    assert found.reason.startswith(subject.session.hardware("fake").fingerprint)
    assert found.numbers["free_memory_mb"] > 0


@pytest.mark.parametrize(
    ("script", "message"),
    [({"identity_facts": {}}, "tells nothing by which"), ({"versions": {}}, "tells no version of what is under test")],
)
def test_one_without_them_does_not(
    subject: FakeSubject, monkeypatch: pytest.MonkeyPatch, script: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(script))
    with pytest.raises(Broken, match=message):
        check_identity(subject)
