"""Several outputs, of which labels score one. The rest of what is judged of accuracy is in `test_verdict`."""

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
