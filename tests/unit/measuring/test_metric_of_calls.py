from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.measuring.metric_of_calls import MetricOfCalls, joined_labels


def asked(metric: Any, axes: dict[str, int | None], *calls: dict[str, Any], labels: Any = None) -> dict[str, Any]:
    """What a metric gives for two equal sides."""
    whole = MetricOfCalls(metric, axes)
    for number, outputs in enumerate(calls):
        pairs = {name: (np.asarray(value), np.asarray(value)) for name, value in outputs.items()}
        whole.add(pairs, None if labels is None else np.asarray(labels[number]), rows=1 + number)
    return whole.facts()


def test_rows_are_joined_along_their_own_axis() -> None:
    seen: list[Any] = []

    def kept(outputs: Any, labels: Any) -> float:
        seen.append((outputs.shape, labels))
        return 1.0

    facts = asked(kept, {"y": 1}, {"y": np.ones((2, 1, 3))}, {"y": np.ones((2, 2, 3))})
    assert seen == [((2, 3, 3), None)] * 2
    assert (facts["metric_name"], facts["metric_by_call"]) == ("kept", False)


def test_calls_of_one_shape_are_stacked() -> None:
    def kinds(outputs: dict[str, Any], labels: Any) -> float:
        assert outputs["boxes"].shape == (2, 5, 4)
        assert outputs["mean"].shape == (2,)
        return float(len(labels))

    call = {"boxes": np.ones((5, 4)), "mean": np.float32(1)}
    facts = asked(kinds, {"boxes": None, "mean": None}, call, call, labels=[[1], [2, 3]])
    assert (facts["metric"], facts["reference_metric"], facts["metric_by_call"]) == (3.0, 3.0, False)


@pytest.mark.parametrize("labels", [None, [[0], [1, 2]]])
def test_calls_of_different_shapes_are_asked_about_one_by_one(labels: Any) -> None:
    facts = asked(
        lambda outputs, _: len(outputs), {"y": None}, {"y": np.ones((6, 4))}, {"y": np.ones((3, 4))}, labels=labels
    )
    assert (facts["metric"], facts["metric_by_call"]) == ((6 * 1 + 3 * 2) / 3, True)


def test_so_are_those_with_labels_of_different_shapes() -> None:
    calls = [{"y": np.ones((1, 2))}, {"y": np.ones((2, 2))}]
    facts = asked(lambda _, labels: labels.size, {}, *calls, labels=[np.zeros((1, 4)), np.zeros((2, 1))])
    assert (facts["metric"], facts["metric_by_call"]) == ((4 * 1 + 2 * 2) / 3, True)


def test_it_has_to_give_a_number_for_each() -> None:
    with pytest.raises(DatasetError, match="The metric '<lambda>' gave nan; it has to give a finite number"):
        asked(lambda *_: np.nan, {"y": None}, {"y": np.ones(2)}, {"y": np.ones(3)})


def test_labels_of_one_shape_are_joined() -> None:
    joined = joined_labels([np.zeros((1, 2)), np.zeros((3, 2))])
    assert joined is not None
    assert joined.shape == (4, 2)
    assert joined_labels([np.zeros((1, 2)), np.zeros((1, 3))]) is None
