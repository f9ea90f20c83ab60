from __future__ import annotations

from collections.abc import Callable
from math import fsum
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.bisect.bisection import Bisection, Finding, NotAsNamed, Step
from pytest_accel.bisect.kept_trials import KeptTrials
from pytest_accel.bisect.trial import Given
from tests.unit.bisect.scripted import CLOSE, GOOD, INACCURATE, NOTHING, REFUSED, REGRESSED, Points, Script, number

Verdicts = tuple[Given, ...]


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Bisection]:
    def search(script: Script, last: int = 64, **more: Any) -> Bisection:
        return Bisection(Points(last), script, KeptTrials(tmp_path), more.pop("follow", lambda _: None), **more)

    return search


def planted(at: int, bad: Verdicts = REGRESSED) -> Script:
    return Script(lambda point, _: bad if point >= at else GOOD)


@pytest.mark.parametrize("at", [1, 2, 31, 32, 33, 41, 63, 64])
def test_the_first_of_64_is_found_in_6_steps_after_both_ends_were_verified(
    search: Callable[..., Bisection], at: int
) -> None:
    script = planted(at)
    finding = search(script).find()
    assert (finding.first_bad, finding.undecided) == (f"p{at}", ())
    assert script.points[:2] == ["p64", "p0"]
    assert len(script.points) <= 8
    assert finding.decisions == len(script.points)
    assert len(set(script.points)) == len(script.points), "nothing is measured twice"


def test_the_trials_there_and_before_are_told(search: Callable[..., Bisection]) -> None:
    finding = search(planted(41)).find()
    assert [(trial.point, trial.verdicts) for trial in finding.trials] == [("p41", REGRESSED), ("p40", GOOD)]


def test_neighbours_are_compared_with_nothing_between(search: Callable[..., Bisection]) -> None:
    script = planted(1)
    assert search(script, last=1).find().first_bad == "p1"
    assert script.points == ["p1", "p0"]


@pytest.mark.parametrize("undecided", [0, 1, 5, 20])
def test_all_runs_together_spend_no_more_error_than_was_asked_for(
    search: Callable[..., Bisection], undecided: int
) -> None:
    script = Script(lambda point, _: CLOSE if 30 <= point < 30 + undecided else REGRESSED if point >= 60 else GOOD)
    finding = search(script, confidence=0.9).find()
    spent = fsum(1.0 - confidence for _, confidence, _ in script.asked)
    assert spent < 0.1
    assert finding.confidence == 0.9
    if undecided == 0:
        assert spent == pytest.approx(0.1 * len(script.asked) / (len(script.asked) + 1))


def test_a_close_comparison_gets_twice_the_time_once(search: Callable[..., Bisection]) -> None:
    script = Script(lambda point, tries: CLOSE if point == 32 and tries == 1 else REGRESSED if point >= 20 else GOOD)
    assert search(script, compare_budget_s=100.0).find().first_bad == "p20"
    assert [budget_s for point, _, budget_s in script.asked if point == "p32"] == [100.0, 200.0]
    assert {budget_s for point, _, budget_s in script.asked if point != "p32"} == {100.0}


def test_what_stays_undecided_is_passed_over_for_a_neighbour(search: Callable[..., Bisection]) -> None:
    script = Script(lambda point, _: CLOSE if point == 32 else REGRESSED if point >= 41 else GOOD)
    assert search(script).find().first_bad == "p41"
    at = script.points.index("p32")
    assert script.points[at : at + 2] == ["p32", "p32"]
    assert abs(number(script.points[at + 2]) - 32) == 1


def test_what_cannot_be_run_is_not_tried_again(search: Callable[..., Bisection]) -> None:
    script = Script(lambda point, _: NOTHING if point == 32 else REGRESSED if point >= 41 else GOOD)
    assert search(script).find().first_bad == "p41"
    assert script.points.count("p32") == 1


def test_undecided_points_before_the_first_bad_one_are_a_range(search: Callable[..., Bisection]) -> None:
    script = Script(lambda point, _: NOTHING if 38 <= point < 42 else REGRESSED if point >= 42 else GOOD)
    finding = search(script).find()
    assert finding.first_bad == "p42"
    assert sorted(finding.undecided) == ["p38", "p39", "p40", "p41"]


def test_the_most_severe_fault_of_bad_is_hunted(search: Callable[..., Bisection]) -> None:
    both = (Given(kind="inaccurate", question="accuracy"), Given(kind="regressed", question="regression"))
    script = Script(lambda point, _: both if point >= 50 else REGRESSED if point >= 10 else GOOD)
    finding = search(script).find()
    assert (finding.fault.kind, finding.first_bad) == ("inaccurate", "p50")


def test_another_fault_can_be_asked_for(search: Callable[..., Bisection]) -> None:
    both = (Given(kind="inaccurate", question="accuracy"), Given(kind="regressed", question="regression"))
    script = Script(lambda point, _: both if point >= 50 else REGRESSED if point >= 10 else GOOD)
    finding = search(script, hunt="regressed").find()
    assert (finding.fault.kind, finding.first_bad) == ("regressed", "p10")


@pytest.mark.parametrize(("fault", "kind"), [(INACCURATE, "inaccurate"), (REFUSED, "refused")])
def test_a_fault_that_is_no_slowdown_is_found_without_waiting_for_comparisons(
    search: Callable[..., Bisection], fault: Verdicts, kind: str
) -> None:
    script = planted(9, fault)
    finding = search(script).find()
    assert (finding.fault.kind, finding.first_bad) == (kind, "p9")
    assert {budget_s for _, _, budget_s in script.asked[1:]} == {1.0}


def test_a_bad_end_that_is_not_bad_ends_the_search(search: Callable[..., Bisection]) -> None:
    script = planted(100)
    with pytest.raises(NotAsNamed, match=r"BAD is not bad, so there is nothing to look for: scripted"):
        search(script).find()
    assert script.points == ["p64"]


def test_a_bad_end_without_the_wanted_fault_ends_the_search(search: Callable[..., Bisection]) -> None:
    with pytest.raises(NotAsNamed, match="BAD is not inaccurate, so there is nothing to look for"):
        search(planted(9), hunt="inaccurate").find()


@pytest.mark.parametrize("verdicts", [NOTHING, CLOSE])
def test_a_bad_end_without_an_answer_ends_the_search(search: Callable[..., Bisection], verdicts: Verdicts) -> None:
    with pytest.raises(NotAsNamed, match=r"BAD could not be decided: scripted; .* --reset has it run again"):
        search(Script(lambda *_: verdicts)).find()


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        (REGRESSED, "GOOD is regressed too"),
        (CLOSE, r"GOOD could not be decided: .* --reset has it run again"),
    ],
)
def test_a_good_end_that_is_not_good_ends_the_search(
    search: Callable[..., Bisection], verdicts: Verdicts, found: str
) -> None:
    with pytest.raises(NotAsNamed, match=found):
        search(Script(lambda point, _: verdicts if point == 0 else REGRESSED)).find()


@pytest.mark.parametrize("after", range(8))
def test_an_interrupted_search_goes_on_and_measures_nothing_again(
    search: Callable[..., Bisection], tmp_path: Path, after: int
) -> None:
    def verdicts(point: int, _: int) -> Verdicts:
        return NOTHING if point == 48 else REGRESSED if point >= 41 else GOOD

    whole = Script(verdicts)
    expected = Bisection(Points(64), whole, KeptTrials(tmp_path / "whole"), lambda _: None).find()
    first = Script(verdicts, interrupt_after=after)
    with pytest.raises(KeyboardInterrupt):
        search(first).find()
    second = Script(verdicts)
    finding: Finding = search(second).find()
    assert first.asked + second.asked == whole.asked, "the same points with the same shares of the error"
    assert finding == expected


def test_a_second_try_that_was_interrupted_is_made(search: Callable[..., Bisection]) -> None:
    def verdicts(point: int, _: int) -> Verdicts:
        return CLOSE if point == 32 else REGRESSED if point >= 41 else GOOD

    with pytest.raises(KeyboardInterrupt):
        search(Script(verdicts, interrupt_after=3)).find()
    script = Script(verdicts)
    search(script, compare_budget_s=100.0).find()
    assert script.asked[0][0] == "p32"
    assert script.asked[0][2] == 200.0


def test_each_decision_is_followed(search: Callable[..., Bisection]) -> None:
    steps: list[Step] = []
    search(planted(41), follow=steps.append).find()
    assert [(step.title, step.trial.point, step.answer, step.steps_left) for step in steps[:4]] == [
        ("BAD", "p64", "bad", 7),
        ("GOOD beside itself", "p0", "good", 6),
        ("one of 64", "p32", "good", 5),
        ("one of 32", "p48", "bad", 4),
    ]
    assert steps[-1].steps_left == 0
    assert not any(step.is_kept for step in steps)
    again: list[Step] = []
    search(planted(41), follow=again.append).find()
    assert [(step.title, step.is_kept) for step in again] == [("BAD", True), ("GOOD beside itself", True)]


def test_a_try_that_is_made_again_is_followed_too(search: Callable[..., Bisection]) -> None:
    steps: list[Step] = []
    script = Script(lambda point, tries: CLOSE if point == 32 and tries == 1 else REGRESSED if point >= 20 else GOOD)
    search(script, follow=steps.append).find()
    assert [step.answer for step in steps if step.trial.point == "p32"] == ["undecided", "bad"]
