from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_accel.facts.records import Budgets, Conditions
from pytest_accel.facts.settings import Opponent
from pytest_accel.regression import operators
from pytest_accel.regression.operators import compare_operators
from pytest_accel.regression.pacemaker import side_of, yardstick_pace
from pytest_accel.regression.question import Anchor, Contest
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerator import OperatorTime
from tests.unit import facts
from tests.unit.regression.test_pacemaker import baseline_of, forget, inputs

if TYPE_CHECKING:
    from pytest_accel.facts.verdicts import Verdict
    from tests.unit.conftest import Workshop

pytestmark = pytest.mark.usefixtures("few_pairs")

LIMIT = Budgets(max_regression=0.05)
NO_ANCHOR = Anchor("")
BEFORE = {"conv": ("Conv", 0.6), "relu": ("Relu", 0.4)}
AFTER = {"conv": ("Conv", 0.9), "relu": ("Relu", 0.4)}
HEADING = "All operators together: 1.00 -> 1.30 ms, by the runtime's own profiler in a launch that is not judged."
NAMED = "  conv (Conv): 0.600 -> 0.900 ms (+0.300 ms, 100 % of the slowdown)"


def beside_its_baseline(workshop: Workshop, *, cached: bool = True, after_ms: float = 1.3, **script: Any) -> Verdict:
    """The answer about a model that takes ``after_ms`` where its baseline took one."""
    before = workshop.compile(workshop.model(latency_ms=1.0, operator_ms=BEFORE))
    baseline = baseline_of(before, yardstick_pace(before, inputs("x")))
    if not cached:
        forget(workshop, before)
    after = workshop.compile(workshop.model(**{"latency_ms": after_ms, "operator_ms": AFTER, **script}))
    workshop.asked.clear()
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    (answer,) = Contest(after, inputs("x"), measurement, LIMIT).stand(baseline, NO_ANCHOR).verdicts
    return answer


def test_a_regression_names_the_operator_that_got_slower(workshop: Workshop) -> None:
    answer = beside_its_baseline(workshop)
    assert answer.kind == "regressed"
    assert answer.details[-2].startswith(HEADING)
    assert answer.details[-1] == NAMED
    assert workshop.count("operator_times") == 2 * operators.TURNS
    last_judged = len(workshop.asked) - 1 - workshop.asked[::-1].index("time_block")
    assert "operator_times" not in workshop.asked[:last_judged], "no launch with a profiler is judged"


def test_an_opponent_of_the_run_is_profiled_too(workshop: Workshop) -> None:
    older = workshop.model("older", latency_ms=1.0, operator_ms=BEFORE)
    workshop.start_again(against=Opponent("model", older.path, "older.fake.json"))
    after = workshop.compile(workshop.model(latency_ms=1.3, operator_ms={**AFTER, "more": ("Add", 0.1)}))
    (answer,) = Contest(after, inputs("x"), facts.measurement(), LIMIT).stand(None, NO_ANCHOR).verdicts
    assert answer.details[-3:] == (
        NAMED.replace("100 %", "75 %"),
        "  more (Add), in this model alone: 0.000 -> 0.100 ms (+0.100 ms, 25 % of the slowdown)",
        "Operators without a partner of their name and type, as other fusions have: 0 ms of older.fake.json, 0.100 ms "
        "of this model.",
    )


def test_what_has_crept_in_since_the_anchor_is_named_too(workshop: Workshop) -> None:
    before = workshop.compile(workshop.model(latency_ms=1.0, operator_ms=BEFORE))
    anchor = Anchor("v1", baseline_of(before, yardstick_pace(before, inputs("x"))))
    after = workshop.compile(workshop.model(latency_ms=1.3, operator_ms={"merged": ("Gelu", 1.3)}))
    measurement = msgspec.structs.replace(facts.measurement(), conditions=Conditions())
    _, creep = Contest(after, inputs("x"), measurement, Budgets(max_creep=0.1)).stand(None, anchor).verdicts
    assert (creep.question, creep.kind) == ("creep", "regressed")
    assert creep.details[-1].endswith("as other fusions have: 1.00 ms of the anchor v1, 1.30 ms of this model.")


@pytest.mark.parametrize(
    "given", [{"after_ms": 1.0}, {"after_ms": 0.8}, {"cached": False}], ids=["pass", "improved", "beside the yardstick"]
)
def test_nothing_is_profiled_where_there_is_nothing_to_tell(workshop: Workshop, given: dict[str, Any]) -> None:
    answer = beside_its_baseline(workshop, **given)
    assert not any("perator" in detail for detail in answer.details)
    assert workshop.count("operator_times") == 0


def test_it_can_be_switched_off(workshop: Workshop) -> None:
    workshop.start_again(profile_regressions=False)
    answer = beside_its_baseline(workshop)
    assert answer.kind == "regressed"
    assert not any("perator" in detail for detail in answer.details)
    assert workshop.count("operator_times") == 0


@pytest.mark.parametrize("how", ["error", "refused"])
def test_a_profiler_that_fails_changes_no_verdict_and_its_words_are_told(workshop: Workshop, how: str) -> None:
    answer = beside_its_baseline(workshop, failures={"profile": {"how": how, "message": "no counters left"}})
    assert answer.kind == "regressed"
    assert answer.details[-1].startswith("Which operators got slower is not known: the launch with the profiler failed")
    assert "no counters left" in answer.details[-1]


def test_a_profiler_that_tells_nothing_is_asked_once(workshop: Workshop) -> None:
    answer = beside_its_baseline(workshop, operator_ms={})
    assert answer.kind == "regressed"
    assert answer.details[-1] == (
        "Which operators got slower is not known: the profiler tells nothing of them for these options."
    )
    assert workshop.count("operator_times") == 2, "once each side"


def test_an_accelerator_without_a_profiler_is_not_started_for_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeAccelerator, "profiles_operators", False)
    answer = beside_its_baseline(workshop)
    assert answer.details[-1] == ("Which operators got slower is not known: nothing profiles the operators of fake.")
    assert workshop.asked[-1] == "time_block"


def test_a_device_of_one_process_has_one_side_after_the_other(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeAccelerator, "exclusive", True)
    before = side_of(workshop.compile(workshop.model(operator_ms=BEFORE)), inputs("x"))
    after = side_of(workshop.compile(workshop.model(operator_ms=AFTER)), inputs("x"))
    workshop.asked.clear()
    found = compare_operators(after, before, calls=4)
    assert found is not None
    assert found.changes[0].name == "conv"
    assert workshop.asked == 2 * ["load", "stage", "predict", "operator_times"]


def test_of_several_turns_the_faster_half_counts() -> None:
    turns = [[OperatorTime("conv", "Conv", ns)] for ns in (6.0, 900.0, 4.0, 70.0)]
    assert operators._fastest(turns) == [OperatorTime("conv", "Conv", 5.0)]


@pytest.mark.parametrize(("p50_ms", "calls"), [(0.1, 20), (100.0, 10), (5000.0, 4)])
def test_a_slow_model_gets_few_calls(p50_ms: float, calls: int) -> None:
    played = facts.duet()
    launches = tuple(msgspec.structs.replace(each, candidate_p50_ms=p50_ms) for each in played.launches)
    assert operators._calls(msgspec.structs.replace(played, launches=launches)) == calls


def test_turns_end_with_their_time(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "BUDGET_S", 0.0)
    side = side_of(workshop.compile(workshop.model(operator_ms=BEFORE)), inputs("x"))
    workshop.asked.clear()
    compare_operators(side, replace(side), calls=4)
    assert workshop.count("operator_times") == 2
