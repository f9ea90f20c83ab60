from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_accel.facts.records import Budgets, Conditions
from pytest_accel.regression.pacemaker import yardstick_pace
from pytest_accel.regression.question import Anchor, Contest, Standing
from tests.unit import facts
from tests.unit.regression.test_pacemaker import baseline_of, forget, inputs
from tests.unit.verdict.test_gate import launch

if TYPE_CHECKING:
    from pytest_accel.facts.records import DuetLaunch
    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.verdict.gate import Gate
    from tests.unit.conftest import Workshop

pytestmark = pytest.mark.usefixtures("few_pairs")

LIMIT = Budgets(max_regression=0.05)
NO_ANCHOR = Anchor("")


def beside(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, *, cores: float, cached: bool) -> Verdict:
    """The answer about a model that takes 1.3 times as long, while others use so many cores."""
    then = workshop.compile(workshop.model(latency_ms=1.0))
    baseline = baseline_of(then, yardstick_pace(then, inputs("x")))
    if not cached:
        forget(workshop, then)
    monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: cores)
    now = workshop.compile(workshop.model(latency_ms=1.3))
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    (answer,) = Contest(now, inputs("x"), measurement, LIMIT).stand(baseline, NO_ANCHOR).verdicts
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
    (answer,) = Contest(candidate, inputs("x"), measurement, LIMIT).stand(baseline, NO_ANCHOR).verdicts
    assert answer.kind == "regressed"
    assert any("both share is the machine, as no version changed" in detail for detail in answer.details)


def asked(workshop: Workshop, *, baseline: Baseline, anchor: Anchor, latency_ms: float = 1.04) -> Standing:
    """The answers about a model, where 5 % is allowed beside the baseline and 10 % beside the anchor."""
    candidate = workshop.compile(workshop.model(latency_ms=latency_ms))
    budgets = Budgets(max_regression=0.05, max_creep=0.1)
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    return Contest(candidate, inputs("x"), measurement, budgets).stand(baseline, anchor)


def saved(workshop: Workshop, latency_ms: float) -> Baseline:
    return baseline_of(workshop.compile(workshop.model(latency_ms=latency_ms)))


def kinds(standing: Standing) -> list[tuple[str, str]]:
    return [(answer.question, answer.kind) for answer in standing.verdicts]


@pytest.mark.parametrize(("release_ms", "kind"), [(0.9, "regressed"), (1.0, "pass")])
def test_what_adds_up_since_the_anchor_is_regressed_although_it_passes_beside_the_baseline(
    workshop: Workshop, release_ms: float, kind: str
) -> None:
    anchor = Anchor("v1", saved(workshop, release_ms))
    standing = asked(workshop, baseline=saved(workshop, 1.03), anchor=anchor)
    assert kinds(standing) == [("regression", "pass"), ("creep", kind)]
    assert standing.crept is not None
    assert standing.crept.ratio is not None
    assert standing.crept.ratio.estimate == pytest.approx(1.04 / release_ms)


def test_launches_beside_one_artefact_are_played_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after a release the baseline and the anchor are the same."""
    played: list[int] = []

    def play(*_: object) -> DuetLaunch:
        played.append(1)
        return launch(1.0)

    monkeypatch.setattr("pytest_accel.regression.pacemaker.play", play)
    release = saved(workshop, 1.0)
    standing = asked(workshop, baseline=release, anchor=Anchor("v1", release), latency_ms=1.0)
    assert kinds(standing) == [("regression", "pass"), ("creep", "pass")]
    assert standing.compared is not None
    assert standing.crept is not None
    assert standing.crept.duet == standing.compared.duet
    assert len(played) == len(standing.crept.duet.launches)


def test_both_questions_share_the_error_of_the_test(workshop: Workshop) -> None:
    """A run with creep asks twice as often, so each answer has to be surer."""
    baseline = saved(workshop, 1.0)
    alone = beside_anchor(workshop, baseline, Budgets(max_regression=0.05))
    both = beside_anchor(workshop, baseline, Budgets(max_regression=0.05, max_creep=0.1))
    assert (alone.tests, both.tests) == (1, 2)


def beside_anchor(workshop: Workshop, baseline: Baseline, budgets: Budgets) -> Gate:
    candidate = workshop.compile(workshop.model(latency_ms=1.0))
    return Contest(candidate, inputs("x"), facts.measurement(), budgets)._gate


def test_an_anchor_without_the_variant_is_told_beside_the_other_answer(workshop: Workshop) -> None:
    standing = asked(workshop, baseline=saved(workshop, 1.04), anchor=Anchor("v1"))
    assert kinds(standing) == [("regression", "pass"), ("creep", "no-baseline")]
    assert standing.crept is None


def test_an_anchor_that_is_lost_is_incomparable(workshop: Workshop) -> None:
    release = workshop.compile(workshop.model(latency_ms=1.0))
    anchor = Anchor("v1", baseline_of(release))
    forget(workshop, release)
    standing = asked(workshop, baseline=saved(workshop, 1.04), anchor=anchor)
    assert kinds(standing) == [("regression", "pass"), ("creep", "incomparable")]


def test_a_lost_anchor_is_judged_by_its_pace_beside_the_yardstick(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: 0.0)
    release = workshop.compile(workshop.model(latency_ms=0.5))
    anchor = Anchor("v1", baseline_of(release, yardstick_pace(release, inputs("x"))))
    forget(workshop, release)
    standing = asked(workshop, baseline=saved(workshop, 1.04), anchor=anchor)
    assert kinds(standing) == [("regression", "pass"), ("creep", "regressed")]


def test_without_a_limit_nobody_asks_for_the_anchor(workshop: Workshop) -> None:
    candidate = workshop.compile(workshop.model(latency_ms=1.0))
    contest = Contest(candidate, inputs("x"), facts.measurement(), LIMIT)
    assert kinds(contest.stand(saved(workshop, 1.0), Anchor("v1"))) == [("regression", "pass")]


@pytest.mark.parametrize(("saved_ms", "times"), [(1.0, 1), (1.1, 2)], ids=["one artefact", "two artefacts"])
def test_operators_are_looked_for_once_beside_one_artefact(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, saved_ms: float, times: int
) -> None:
    profiled: list[str] = []

    def name_one(verdicts: list[Verdict], _: object, opponent: str = "the baseline") -> list[Verdict]:
        profiled.append(opponent)
        return verdicts

    monkeypatch.setattr("pytest_accel.regression.question.with_operators", name_one)
    anchor = Anchor("v1", saved(workshop, 1.0))
    standing = asked(workshop, baseline=saved(workshop, saved_ms), anchor=anchor, latency_ms=1.3)
    assert kinds(standing) == [("regression", "regressed"), ("creep", "regressed")]
    assert profiled == ["the baseline", "the anchor v1"][:times]
