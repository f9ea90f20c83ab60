from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_accel.facts.records import Conditions
from pytest_accel.regression.pacemaker import yardstick_pace
from pytest_accel.regression.question import Contest
from tests.unit import facts
from tests.unit.regression.test_pacemaker import baseline_of, forget, inputs

if TYPE_CHECKING:
    from pytest_accel.facts.verdicts import Verdict
    from tests.unit.conftest import Workshop

pytestmark = pytest.mark.usefixtures("few_pairs")


def beside(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, *, cores: float, cached: bool) -> Verdict:
    """The answer about a model that takes 1.3 times as long, while others use so many cores."""
    then = workshop.compile(workshop.model(latency_ms=1.0))
    baseline = baseline_of(then, yardstick_pace(then, inputs("x")))
    if not cached:
        forget(workshop, then)
    monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: cores)
    now = workshop.compile(workshop.model(latency_ms=1.3))
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    (answer,) = Contest(now, inputs("x"), measurement, 0.05).stand(baseline).verdicts
    return answer


@pytest.mark.parametrize(
    ("cores", "cached", "kind"),
    [
        pytest.param(0.1, False, "regressed", id="yardstick on a quiet machine"),
        pytest.param(1.2, False, "inconclusive", id="yardstick on a busy machine"),
        pytest.param(1.2, True, "regressed", id="the baseline's own artefact on a busy machine"),
    ],
)
def test_a_busy_machine_leaves_a_pace_beside_the_yardstick_undecided(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, cores: float, cached: bool, kind: str
) -> None:
    answer = beside(workshop, monkeypatch, cores=cores, cached=cached)
    assert answer.kind == kind
    told = "other processes used 1.2 cores, which slow the model and the yardstick by different amounts"
    assert (told in answer.summary) == (kind == "inconclusive")


def test_a_slower_machine_is_not_taken_for_another_sdk(workshop: Workshop) -> None:
    saved = workshop.compile(workshop.model(latency_ms=1.0))
    pace = yardstick_pace(saved, inputs("x"))
    twice_as_fast = tuple(
        msgspec.structs.replace(
            launch, candidate_p50_ms=launch.candidate_p50_ms / 2, pacemaker_p50_ms=launch.pacemaker_p50_ms / 2
        )
        for launch in pace.launches
    )
    baseline = msgspec.structs.replace(
        baseline_of(saved, msgspec.structs.replace(pace, launches=twice_as_fast)), versions=saved.versions
    )
    candidate = workshop.compile(workshop.model(latency_ms=1.3))
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    (answer,) = Contest(candidate, inputs("x"), measurement, 0.05).stand(baseline).verdicts
    assert answer.kind == "regressed"
    assert any("no version changed, so it is the machine" in detail for detail in answer.details)
