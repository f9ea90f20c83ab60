from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks.work_ahead import check_work_ahead
from pytest_accel.acceptance.finding import Broken
from pytest_accel.processes.client import WorkAhead, WorkerClient
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


@pytest.mark.parametrize("script", [{}, {"asynchronous": True}], ids=["synchronous", "awaited"])
def test_work_that_a_call_waits_for_shows(
    subject: FakeSubject, monkeypatch: pytest.MonkeyPatch, script: dict[str, bool]
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(script))
    found = check_work_ahead(subject)
    assert found.outcome == "held"
    assert found.numbers["shown"] == pytest.approx(1.0, abs=0.01)


def test_a_call_that_nobody_waits_for_fails(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = WorkAhead(call_ns=1_000, work_ns=1_000, both_ns=1_000)
    monkeypatch.setattr(WorkerClient, "put_work_ahead", lambda *_: unseen)
    with pytest.raises(Broken, match="0% of the work before a call shows in its latency"):
        check_work_ahead(subject)


def test_more_than_there_was_is_noise(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = WorkAhead(call_ns=1_000, work_ns=1_000, both_ns=9_000)
    monkeypatch.setattr(WorkerClient, "put_work_ahead", lambda *_: noisy)
    assert check_work_ahead(subject).outcome == "inconclusive"
