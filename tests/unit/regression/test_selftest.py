from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from pytest_accel.facts.records import Ratio
from pytest_accel.regression import selftest
from pytest_accel.regression.selftest import EXTRA, GateTrial, Proof, Unproven, prove, prove_all
from pytest_accel.report.selftest import describe
from pytest_accel.store.locks import if_free
from pytest_accel.verdict.gate import Decision
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from pytest_accel.regression.duet import Side
    from tests.unit.conftest import Workshop


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short launches: what happens within one is told in test_duet."""
    monkeypatch.setattr("pytest_accel.regression.duet.planned_pairs", lambda _: 3)


def ratio(estimate: float = 1.0, smallest_caught: float = 0.06) -> Ratio:
    return Ratio(
        estimate=estimate, lower=0.99, upper=1.01, confidence=0.95, launches=3, smallest_caught=smallest_caught
    )


def trials(*decisions: Decision) -> tuple[GateTrial, ...]:
    return tuple(GateTrial(decision, ratio()) for decision in decisions)


def proof(unchanged: tuple[GateTrial, ...], slowed: tuple[GateTrial, ...]) -> Proof:
    return Proof("fake", 0.1, unchanged, slowed)


def test_an_unchanged_network_stays_green_and_one_with_more_work_turns_red(workshop: Workshop) -> None:
    found = prove(workshop.session, "fake", clock=count(step=1000).__next__)
    (unchanged,), (slowed,) = found.unchanged, found.slowed
    assert (unchanged.decision, slowed.decision) == ("pass", "regressed")
    assert slowed.ratio is not None
    assert slowed.ratio.estimate == pytest.approx(1.0 + found.extra_work)
    assert found.holds
    assert workshop.count("add_work") == slowed.ratio.launches


def test_the_limit_is_the_projects_and_the_work_is_twice_that(workshop: Workshop) -> None:
    workshop.start_again(budgets={"max_regression": 0.2}, selftest_budget_s=0.0)
    found = prove(workshop.session, "fake")
    assert found.extra_work == EXTRA * 0.2
    assert found.holds


def test_rounds_end_before_the_next_one_would_break_the_time_budget(workshop: Workshop) -> None:
    workshop.start_again(selftest_budget_s=120)
    # Read at the start and after each round: after three rounds 90 s have passed, and four would take 120 s.
    found = prove(workshop.session, "fake", clock=count(step=30).__next__)
    assert (len(found.unchanged), len(found.slowed)) == (4, 4)
    assert any(text.startswith("testing the gate on fake, round 4, slowed: launch 1") for text in workshop.told)


def test_nobody_else_has_the_device_meanwhile(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []

    def racing(*sides: Any, title: str) -> Any:
        (path,) = (workshop.folder / "locks").glob("device-*.lock")
        with if_free(filelock.FileLock(path, is_singleton=False)) as free:
            held.append("" if free else title)
        return ()

    monkeypatch.setattr(selftest, "race", racing)
    workshop.start_again(selftest_budget_s=0)
    prove(workshop.session, "fake")
    assert held
    assert all(held)


@pytest.mark.parametrize(
    ("unchanged", "slowed", "holds", "green", "red"),
    [
        (trials("pass", "improved"), trials("regressed", "regressed"), True, 2, 2),
        (trials("inconclusive"), trials("regressed"), True, 1, 1),
        (trials("pass", "regressed"), trials("regressed", "regressed"), False, 1, 2),
        (trials("pass"), trials("inconclusive"), False, 1, 0),
        (trials("pass"), trials("pass"), False, 1, 0),
    ],
)
def test_it_holds_where_every_answer_was_right(
    unchanged: tuple[GateTrial, ...], slowed: tuple[GateTrial, ...], holds: bool, green: int, red: int
) -> None:
    found = proof(unchanged, slowed)
    assert (found.holds, found.green, found.red) == (holds, green, red)


def test_the_rates_and_the_smallest_effect_are_told() -> None:
    unchanged = tuple(GateTrial("pass", ratio(smallest_caught=caught)) for caught in (0.2, 0.051, 0.062))
    assert list(describe(proof(unchanged, trials("regressed", "regressed", "regressed")))) == [
        "fake holds: 3 of 3 unchanged stayed green, 3 of 3 with 10 % more work turned red",
        "  the smallest slowdown that would have been caught: 5.1%",
    ]


def test_the_host_is_told_with_the_accelerator() -> None:
    first, *_ = describe(proof(trials("pass"), trials("regressed")), "me@gpu-box")
    assert first.startswith("fake on me@gpu-box holds: 1 of 1 unchanged stayed green")


def test_a_wrong_answer_is_told_with_what_to_do() -> None:
    lines = list(describe(proof(trials("regressed"), trials("inconclusive"))))
    assert lines[0] == "fake cannot hold: 0 of 1 unchanged stayed green, 0 of 1 with 10 % more work turned red"
    assert "judge no regressions" in lines[2]
    assert "too noisy now" in lines[3]


def test_an_absent_accelerator_is_unproven_only_when_it_was_asked_for(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = '{"missing": {"kind": "no-sdk", "reason": "no fake-sdk", "action": "pip install it"}}'
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, missing)
    workshop.start_again(accelerators=("fake",))
    assert list(prove_all(workshop.session)) == [Unproven("fake", "absent: no fake-sdk; pip install it")]
    workshop.start_again()
    assert list(prove_all(workshop.session)) == [Unproven("the gate", "no accelerator is here; --accel-list says why")]


def test_an_accelerator_without_a_yardstick_is_unproven(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Side:
        raise NotImplementedError

    monkeypatch.setattr("pytest_accel.worker.accelerators.fake.FakeAccelerator.yardstick", none)
    (found,) = prove_all(workshop.session)
    assert isinstance(found, Unproven)
    assert "NotImplementedError" in found.reason
    assert list(describe(found)) == [f"fake not proven: {found.reason}"]
