from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks import baseline
from pytest_accel.acceptance.checks.baseline import check_more_work, check_saved_baseline, check_unchanged
from pytest_accel.acceptance.finding import Broken, NotApplicable
from pytest_accel.regression import pacemaker

if TYPE_CHECKING:
    from pytest_accel.facts.records import DuetLaunch
    from tests.unit.acceptance.conftest import FakeSubject

pytestmark = pytest.mark.usefixtures("few_pairs")


def test_without_a_baseline_there_is_nothing_to_compare_with(subject: FakeSubject) -> None:
    with pytest.raises(NotApplicable, match="the check before this one has saved none"):
        check_unchanged(subject)


@pytest.mark.slow
def test_a_model_is_compared_with_the_baseline_that_it_saved(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacemaker, "SAVED_LAUNCHES", 1)
    assert check_saved_baseline(in_processes).reason.endswith(" saved")
    found = check_unchanged(in_processes)
    assert found.outcome == "held"
    assert found.numbers["ratio"] == pytest.approx(1.0)
    monkeypatch.setattr(pacemaker, "race", slowed(pacemaker.race))
    with pytest.raises(Broken, match=r"the same artefact is called slower: 1[.]3"):
        check_unchanged(in_processes)


def slowed(race: Callable[..., tuple[DuetLaunch, ...]]) -> Callable[..., tuple[DuetLaunch, ...]]:
    """Launches whose candidate has 30 % more work than it should have."""
    return lambda candidate, *given, **more: race(replace(candidate, extra_work=0.3), *given, **more)


def test_more_work_is_seen(subject: FakeSubject) -> None:
    found = check_more_work(subject)
    assert found.outcome == "held"
    assert found.numbers["ratio"] == pytest.approx(1.05, abs=0.002)


def test_work_that_is_not_seen_fails(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MORE_WORK", 0.001)
    with pytest.raises(Broken, match="more work is not seen"):
        check_more_work(subject)


def test_noise_is_inconclusive(subject: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "race", lambda *_, **__: ())
    assert check_more_work(subject).outcome == "inconclusive"


def test_a_run_that_decides_nothing_saves_nothing_and_is_no_fault(subject: FakeSubject) -> None:
    found = check_saved_baseline(subject)  # in the controller's own process, where no speed is judged
    assert found.outcome == "inconclusive"
    assert "not saved: inconclusive" in found.reason
