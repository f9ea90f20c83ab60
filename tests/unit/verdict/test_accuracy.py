"""Outputs of other kinds: several, all next to zero, of a whole call. The rest of accuracy is in `test_verdict`."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_accel import verdict
from pytest_accel.facts.records import Accuracy, Budgets, OutputErrors


def errors(name: str, distance: float) -> OutputErrors:
    return OutputErrors(name=name, max_abs=0.1, max_rel=0.2, normalised_l2=distance, cosine=0.99, snr_db=40.0)


def scored(boxes: float, **changes: Any) -> Accuracy:
    """Scores that have not lost an answer, beside boxes that are so far away."""
    facts: dict[str, Any] = {
        "samples": 100,
        "dataset_digest": "d",
        "labelled": True,
        "agreement": 1.0,
        "top1": 0.9,
        "reference_top1": 0.9,
        "outputs": (errors("scores", 0.5), errors("boxes", boxes)),
        "unscored": ("boxes",),
    }
    return Accuracy(**{**facts, **changes})


@pytest.mark.parametrize(
    ("precision", "distance", "kind"),
    [("float32", 5e-4, "pass"), ("float32", 2e-3, "inaccurate"), ("int8", 0.1, "pass"), ("int8", 0.3, "inaccurate")],
)
def test_what_labels_do_not_score_is_judged_by_its_distance(precision: str, distance: float, kind: str) -> None:
    top1, other = verdict.judge_accuracy(scored(distance), Budgets(), precisions={precision: 9}, confidence=0.95)
    assert top1.kind == "pass"
    assert other.kind == kind
    assert other.summary.startswith(f"Output 'boxes' is {distance:.2g} away from the reference's (normalised L2)")


@pytest.mark.parametrize(
    "changes",
    [{"unscored": ()}, {"metric_name": "map", "metric": 0.4, "reference_metric": 0.4}],
    ids=["one output", "the user's metric"],
)
def test_what_is_scored_is_not_judged_twice(changes: dict[str, Any]) -> None:
    (only,) = verdict.judge_accuracy(scored(0.9, **changes), Budgets(), confidence=0.95)
    assert only.kind == "pass"


def unlabelled(*outputs: OutputErrors, **changes: Any) -> Accuracy:
    return Accuracy(samples=9, dataset_digest="d", labelled=False, agreement=None, outputs=outputs, **changes)


def near_zero(off: float, rounding: float) -> OutputErrors:
    return OutputErrors(
        name="map", max_abs=off, max_rel=0.1, normalised_l2=0.14, cosine=0.99, snr_db=16.8, rounding=rounding
    )


@pytest.mark.parametrize(
    ("off", "rounding", "kind"),
    [(1.2e-7, 2.4e-7, "pass"), (3e-7, 2.4e-7, "inaccurate"), (1e-7, 0.0, "inaccurate")],
)
def test_an_error_that_rounding_explains_is_none(off: float, rounding: float, kind: str) -> None:
    (only,) = verdict.judge_accuracy(unlabelled(near_zero(off, rounding)), Budgets(), confidence=0.95)
    assert only.kind == kind
    if kind == "pass":
        assert only.summary == (
            "Output 'map' is off by 1.2e-07 at most, which is rounding: all of it is next to zero, and FP32 loses up "
            "to 2.4e-07 on the scale that it was computed on."
        )


def test_rounding_of_one_output_hides_no_error_of_another() -> None:
    outputs = near_zero(1e-7, 2.4e-7), errors("boxes", 0.01)
    (only,) = verdict.judge_accuracy(unlabelled(*outputs), Budgets(), confidence=0.95)
    assert only.kind == "inaccurate"
    assert only.summary.startswith("Output 'boxes' is 0.01 away")


def test_a_model_that_does_not_repeat_itself_is_not_judged() -> None:
    off = unlabelled(errors("y", 0.9), unrepeatable="the model draws numbers", varying=("y",), resized=("other",))
    (only,) = verdict.judge_accuracy(off, Budgets(min_accuracy=0.9), confidence=0.95)
    assert (only.kind, only.summary) == ("inconclusive", "Accuracy is not judged: the model draws numbers.")
    ratio = verdict.judge_calibration(off, Budgets(max_error_ratio=2), confidence=0.95)
    assert [(answer.kind, answer.summary) for answer in ratio] == [
        ("inconclusive", "max_error_ratio=2 is not judged: the model draws numbers.")
    ]


def test_nor_is_it_excused_from_the_outputs_of_the_reference() -> None:
    off = unlabelled(unrepeatable="the model draws numbers", varying=("y",), mismatches=("output 'y' is missing",))
    (only,) = verdict.judge_accuracy(off, Budgets(), confidence=0.95)
    assert only.kind == "inaccurate"


@pytest.mark.parametrize(("distance", "kind"), [(1e-5, "pass"), (0.5, "inaccurate")])
def test_the_outputs_that_it_repeats_are_judged(distance: float, kind: str) -> None:
    outputs = errors("mean", distance), errors("sample", 0.9)
    half = unlabelled(*outputs, unrepeatable="the model draws numbers", varying=("sample",))
    told, judged = verdict.judge_accuracy(half, Budgets(), confidence=0.95)
    assert (told.kind, told.summary) == (
        "inconclusive",
        "Of output 'sample' nothing is judged: the model draws numbers.",
    )
    assert judged.kind == kind
    assert judged.summary.startswith(f"Output 'mean' is {distance:.2g} away")


def test_a_metric_of_outputs_that_it_does_not_repeat_is_not_judged() -> None:
    outputs = errors("mean", 0.5), errors("sample", 0.9)
    metric = {"metric_name": "m", "metric": 0.1, "reference_metric": 0.9}
    half = unlabelled(*outputs, unrepeatable="the model draws numbers", varying=("sample",), **metric)
    (told,) = verdict.judge_accuracy(half, Budgets(), confidence=0.95)
    assert told.kind == "inconclusive"


def test_what_was_compared_otherwise_than_by_sample_is_told() -> None:
    accuracy = unlabelled(
        errors("boxes", 1e-5),
        by_call=("boxes",),
        metric_name="found",
        metric=1.0,
        reference_metric=1.0,
        metric_by_call=True,
        resized=("output 'boxes' has shape (2, 4)",),
        shared_non_finite={"boxes": 3},
    )
    (only,) = verdict.judge_accuracy(accuracy, Budgets(), confidence=0.95)
    assert only.kind == "pass"
    assert only.details[1:] == (
        "3 values of output 'boxes' are NaN or infinite on both sides.",
        "Compared call by call, since it cannot be split into samples: output 'boxes'.",
        "The metric is the mean over the calls, whose outputs differ in shape.",
        "Output 'boxes' has shape (2, 4): only the metric judges it.",
    )
