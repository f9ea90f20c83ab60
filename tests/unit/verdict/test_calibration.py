from __future__ import annotations

from typing import Any

import pytest

from pytest_accel import verdict
from pytest_accel.facts.records import Accuracy, Budgets, OutputErrors


def errors(normalised_l2: float, name: str = "y") -> OutputErrors:
    return OutputErrors(name=name, max_abs=0.1, max_rel=0.2, normalised_l2=normalised_l2, cosine=0.99, snr_db=40.0)


def calibrated(error: float = 0.01, of_control: float = 0.01, **changes: Any) -> Accuracy:
    facts: dict[str, Any] = {
        "samples": 100,
        "dataset_digest": "d1",
        "labelled": True,
        "agreement": 1.0,
        "outputs": (errors(error),),
        "control": (errors(of_control),),
        "calibration_samples": 300,
    }
    return Accuracy(**{**facts, **changes})


def judged(accuracy: Accuracy, **budgets: float) -> list[str]:
    return [answer.kind for answer in verdict.judge_calibration(accuracy, Budgets(**budgets), confidence=0.95)]


@pytest.mark.parametrize(
    ("error", "budgets", "kind"),
    [
        (0.020, {}, "pass"),
        (0.021, {}, "inaccurate"),
        (0.021, {"max_error_ratio": 3.0}, "pass"),
        (0.031, {"max_error_ratio": 3.0}, "inaccurate"),
    ],
)
def test_the_error_is_held_against_the_controls(error: float, budgets: dict[str, float], kind: str) -> None:
    assert judged(calibrated(error), **budgets) == [kind]


def test_a_ratio_that_is_too_large_is_told_with_both_errors_and_what_to_do() -> None:
    (answer,) = verdict.judge_calibration(calibrated(0.117, 0.0072), Budgets(), confidence=0.95)
    assert answer.summary == (
        "The error is 16.2 times that of the same variant with ranges learnt from the evaluation data, "
        "default max_error_ratio 2."
    )
    assert answer.details == (
        "Output 'y' is 0.12 away from the reference's (normalised L2), the control's 0.0072.",
        "Calibrate with more samples, preprocessed like those to be served.",
    )


def test_the_worst_output_counts() -> None:
    outputs = (errors(0.01, "scores"), errors(0.04, "boxes"))
    accuracy = calibrated(outputs=outputs, control=(errors(0.01, "scores"), errors(0.01, "boxes")))
    assert accuracy.error_ratio == pytest.approx(4.0)
    assert judged(accuracy) == ["inaccurate"]


@pytest.mark.parametrize(("error", "ratio"), [(0.0009, 0.9), (0.003, 3.0)])
def test_two_nearly_exact_models_are_not_told_apart(error: float, ratio: float) -> None:
    assert calibrated(error, 1e-9).error_ratio == pytest.approx(ratio)


def test_the_error_beside_the_frameworks_own_is_judged_where_a_limit_is_given() -> None:
    bf16 = calibrated(0.04, 0.01, calibration_samples=None)
    assert judged(bf16) == []
    assert judged(bf16, max_error_ratio=5.0) == ["pass"]
    (answer,) = verdict.judge_calibration(bf16, Budgets(max_error_ratio=3.0), confidence=0.95)
    assert answer.kind == "inaccurate"
    assert answer.summary == (
        "The error is 4 times that of the same precision in the model's own framework, max_error_ratio 3."
    )
    assert not any("Calibrate" in detail for detail in answer.details)


@pytest.mark.parametrize(
    ("samples", "kinds"),
    [(1, ["inaccurate"]), (4, ["inaccurate"]), (5, ["inconclusive"]), (28, ["inconclusive"]), (29, [])],
)
def test_few_samples_cannot_know_a_range(samples: int, kinds: list[str]) -> None:
    assert judged(calibrated(calibration_samples=samples)) == ["pass", *kinds]


def test_few_samples_are_told_with_what_they_can_know() -> None:
    _, answer = verdict.judge_calibration(calibrated(calibration_samples=2), Budgets(), confidence=0.95)
    assert answer.summary == (
        "Calibrated with 2 distinct samples: it is only certain (95 %) that the ranges hold for 22.4 % of unseen "
        "samples; 29 are enough for 90%."
    )


def test_a_budget_that_cannot_be_judged_is_inconclusive() -> None:
    without = calibrated(control=(), calibration_samples=None)
    assert judged(without) == []
    assert judged(without, max_error_ratio=1.5) == ["inconclusive"]


def test_more_confidence_needs_more_samples() -> None:
    enough = calibrated(calibration_samples=22)
    assert [answer.kind for answer in verdict.judge_calibration(enough, Budgets(), confidence=0.9)] == ["pass"]
    _, answer = verdict.judge_calibration(enough, Budgets(), confidence=0.99)
    assert (answer.kind, "it is only certain (99 %)" in answer.summary) == ("inconclusive", True)
