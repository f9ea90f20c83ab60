from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.measuring import output_comparison
from pytest_accel.measuring.output_comparison import Comparison

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy
    from pytest_accel.measuring.metric_of_calls import Metric

Array = npt.NDArray[Any]


def scores(answers: list[int], classes: int = 3) -> Array:
    return np.eye(classes, dtype=np.float32)[answers]


def f32(values: Any) -> Array:
    return np.asarray(values, np.float32)


def compare(candidate: Any, reference: Any, labels: Any = None, metric: Metric | None = None) -> Accuracy:
    ours = candidate if isinstance(candidate, dict) else {"y": np.asarray(candidate)}
    theirs = reference if isinstance(reference, dict) else {"y": np.asarray(reference)}
    comparison = Comparison(metric, confidence=0.95)
    rows = len(next(iter(theirs.values())))
    comparison.add(ours, theirs, None if labels is None else np.asarray(labels), rows)
    return comparison.result("digest")


def test_flips_are_counted_in_both_directions() -> None:
    result = compare(scores([0, 1, 2, 0, 1]), scores([0, 1, 1, 1, 2]), labels=[0, 0, 1, 0, 2])
    assert (result.top1, result.reference_top1) == (2 / 5, 3 / 5)
    assert (result.flips_lost, result.flips_gained) == (2, 1)
    assert result.agreement == 2 / 5
    assert (result.labelled, result.samples, result.dataset_digest) == (True, 5, "digest")
    assert result.drop_interval is not None
    assert result.drop_interval[0] < 0.2 < result.drop_interval[1]


def test_right_is_one_bit_a_sample() -> None:
    result = compare(scores([0, 1, 2]), scores([0, 1, 2]), labels=[0, 0, 2])
    assert base64.b64decode(result.right) == bytes([0b10100000])


def test_batches_add_up_and_padding_is_left_out() -> None:
    whole = compare(scores([0, 1, 2, 0]), scores([0, 1, 1, 0]), labels=[0, 1, 1, 2])
    comparison = Comparison(confidence=0.95)
    comparison.add({"y": scores([0, 1, 2])}, {"y": scores([0, 1, 1])}, np.array([0, 1, 1]), 3)
    comparison.add({"y": scores([0, 2, 2])}, {"y": scores([0, 1, 1])}, np.array([2, 1, 1]), 1)
    assert comparison.result("digest") == whole


def test_without_labels_a_flip_is_a_changed_answer() -> None:
    result = compare(scores([0, 1, 2, 0]), scores([0, 1, 1, 0]))
    assert (result.agreement, result.flips_lost, result.flips_gained) == (0.75, 1, 0)
    assert (result.labelled, result.top1, result.drop_interval, result.right) == (False, None, None, "")


def test_top5_needs_more_than_five_classes() -> None:
    ranked = np.array([[9, 8, 7, 6, 5, 4, 3]] * 3, dtype=np.float32)
    result = compare(ranked, ranked[:, ::-1], labels=[0, 4, 5])
    assert (result.top5, result.reference_top5) == (2 / 3, 2 / 3)
    assert compare(scores([0], 5), scores([0], 5), labels=[0]).top5 is None


def test_a_constant_output_is_not_right_by_ties() -> None:
    dead = np.zeros((10, 10), dtype=np.float32)
    result = compare(dead, scores(list(range(10)), 10), labels=list(range(10)))
    assert (result.top1, result.top5) == (0.1, 0.5)


@pytest.mark.parametrize("labels", [[[0], [2]], [[1, 0, 0], [0, 0, 1]], [0.0, 2.0], np.array([0, 2], dtype=np.uint8)])
def test_forms_of_labels(labels: Any) -> None:
    assert compare(scores([0, 1]), scores([0, 2]), labels=labels).reference_top1 == 1.0


def test_scores_may_have_axes_of_one() -> None:
    assert compare(scores([0, 1])[:, None, None], scores([0, 2])[:, None, None], labels=[0, 2]).top1 == 0.5


@pytest.mark.parametrize(
    ("reference", "candidate", "right"),
    [
        ([0.1, 0.9, 0.6], [0.2, 0.4, 0.6], 2 / 3),  # probabilities: 0.5 divides
        ([-2.0, 0.3, 0.2], [-2.0, -0.1, 0.2], 2 / 3),  # logits: 0 divides
    ],
)
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_score_answers_yes_or_no(
    reference: list[float], candidate: list[float], right: float, shape: tuple[int, ...]
) -> None:
    result = compare(np.reshape(f32(candidate), shape), np.reshape(f32(reference), shape), labels=[0, 1, 1])
    assert (result.top1, result.reference_top1, result.flips_lost) == (right, 1.0, 1)


def test_a_regression_has_numeric_errors_only() -> None:
    for labels in (None, [2.5, 7.0]):
        result = compare(f32([2.0, 7.0]), f32([2.0, 8.0]), labels=labels)
        assert (result.agreement, result.top1) == (None, None)
        assert result.outputs[0].max_abs == 1.0


def test_class_numbers_are_answers() -> None:
    result = compare(np.array([3, 900]), np.array([3, 4]), labels=[3, 4])
    assert (result.top1, result.reference_top1) == (0.5, 1.0)


def test_a_segmentation_has_numeric_errors_only() -> None:
    values = np.random.default_rng(0).random((2, 4, 4, 3), dtype=np.float32)
    assert compare(values, values).agreement is None


def test_numeric_errors() -> None:
    errors = compare(f32([[3.0, 0.0]]), f32([[4.0, 0.0]])).outputs[0]
    assert errors.name == "y"
    assert (errors.max_abs, errors.max_rel, errors.normalised_l2) == (1.0, 0.25, 0.25)
    assert errors.cosine == 1.0
    assert errors.snr_db == pytest.approx(20 * math.log10(4))


def test_identical_outputs_have_no_error() -> None:
    errors = compare(scores([0, 1]), scores([0, 1])).outputs[0]
    assert (errors.max_abs, errors.normalised_l2, errors.cosine, errors.snr_db) == (0.0, 0.0, 1.0, None)


def test_a_reference_of_zeros_gives_finite_errors() -> None:
    errors = compare(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)).outputs[0]
    assert math.isfinite(errors.normalised_l2)
    assert errors.normalised_l2 > 1e3
    assert errors.cosine == 0.0
    assert errors.snr_db is not None
    assert errors.snr_db < -60


def test_several_outputs_are_compared_by_name() -> None:
    reference = {"boxes": np.ones((2, 4, 4), np.float32), "classes": scores([0, 1])}
    candidate = {"classes": scores([0, 2]), "boxes": np.full((2, 4, 4), 1.5, np.float32)}
    result = compare(candidate, reference, labels=[0, 1])
    assert [(errors.name, errors.max_abs) for errors in result.outputs] == [("boxes", 0.5), ("classes", 1.0)]
    assert result.top1 == 0.5
    assert result.unscored == ("boxes",)


def test_numbers_of_classes_beside_the_scores_are_answers_too() -> None:
    outputs = {"scores": scores([0, 1]), "classes": np.array([0, 1]), "features": np.ones((2, 8), np.float32)}
    assert compare(outputs, outputs, labels=[0, 1]).unscored == ("features",)
    assert compare(outputs, outputs).unscored == (), "without labels every output is judged alike"


def test_a_single_output_may_be_renamed() -> None:
    result = compare({"Identity": scores([1])}, {"predictions": scores([1])})
    assert (result.outputs[0].name, result.agreement, result.mismatches) == ("predictions", 1.0, ())


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        ({"a": scores([0]), "b": scores([0], 4)}, r"'b' has shape \(1, 4\), the reference's \(1, 3\)"),
        ({"a": scores([0]), "b": np.float32(0)}, r"'b' has shape \(\), .* for 1 samples"),
        ({"a": scores([0])}, r"'b' is missing; there are 'a'"),
        ({"a": scores([0]), "b": scores([0]), "c": scores([0])}, "'c' is not among the reference's"),
        ({"a": scores([0]), "b": scores([0]).astype(int)}, "'b' is int64, the reference's float32"),
    ],
)
def test_outputs_that_do_not_match_stop_all_averaging(candidate: dict[str, Array], says: str) -> None:
    result = compare(candidate, {"a": scores([0]), "b": scores([0])}, labels=[0])
    assert len(result.mismatches) == 1
    assert re.search(says, result.mismatches[0])
    assert (result.outputs, result.top1, result.agreement) == ((), None, None)


def test_a_narrower_float_is_a_precision_and_no_mismatch() -> None:
    result = compare(scores([0]).astype(np.float16), scores([0]), labels=[0])
    assert (result.mismatches, result.top1) == ((), 1.0)


def test_non_finite_values_are_counted_and_never_right() -> None:
    broken = scores([0, 1, 0])
    broken[0, 0] = np.nan  # numpy's arg-max would call it the answer
    broken[1, 2] = np.inf
    result = compare(broken, scores([0, 1, 0]), labels=[0, 1, 0])
    assert result.non_finite == {"y": 2}
    assert result.top1 == 1 / 3
    assert result.flips_lost == 2
    assert math.isfinite(result.outputs[0].max_abs)


def test_an_infinity_that_the_reference_has_too_is_a_mask() -> None:
    masked = f32([[1.0, -np.inf, 0.0]])
    assert compare(masked, masked).non_finite == {}


def test_nan_in_the_same_place_on_both_sides_is_equal() -> None:
    missing = f32([[1.0, np.nan, 3.0]])
    result = compare(missing, missing)
    assert (result.non_finite, result.shared_non_finite) == ({}, {"y": 1})
    assert result.outputs[0].max_abs == 0.0


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [(0.0, np.nan), (np.nan, 0.0), (0.0, -np.inf), (np.inf, -np.inf), (np.nan, np.inf)],
)
def test_what_is_not_finite_on_one_side_alone_is_a_difference(candidate: float, reference: float) -> None:
    result = compare(f32([[1.0, candidate]]), f32([[1.0, reference]]))
    assert (result.non_finite, result.shared_non_finite) == ({"y": 1}, {})


def test_a_sample_of_which_the_reference_scores_nan_is_answered_by_neither() -> None:
    unknown = scores([0, 1])
    unknown[1, 0] = np.nan
    result = compare(unknown, unknown, labels=[0, 1])
    assert (result.top1, result.reference_top1, result.agreement) == (0.5, 0.5, 1.0)


def test_a_reference_of_nothing_but_nan_cannot_be_compared_with() -> None:
    nothing = f32([[np.nan, np.nan]])
    with pytest.raises(DatasetError, match="reference itself gives nothing but NaN or infinity in output 'y'"):
        compare(nothing, nothing)


def test_metric_sees_the_whole_dataset_at_once() -> None:
    seen = []

    def share_over_half(outputs: Array, labels: Array) -> float:
        seen.append((outputs.shape, labels.shape))
        return float(np.mean(outputs > 0.5))

    comparison = Comparison(share_over_half, confidence=0.95)
    for value in (0.2, 0.9):
        comparison.add(
            {"y": np.full((2, 1), value)}, {"y": np.ones((2, 1))}, np.array([[1.5], [2.5]]), 2 if value < 0.5 else 1
        )
    result = comparison.result("d")
    assert seen == [((3, 1), (3, 1))] * 2
    assert (result.metric_name, result.metric, result.reference_metric) == ("share_over_half", 1 / 3, 1.0)


def test_metric_gets_a_dict_of_several_outputs() -> None:
    outputs = {"a": np.ones((2, 3), np.float32), "b": np.ones((2,), np.float32)}
    result = compare(outputs, outputs, labels=["cat", "dog"], metric=lambda out, labels: len(out) + len(labels))
    assert result.metric == 4.0


def test_metric_has_to_give_a_number() -> None:
    with pytest.raises(DatasetError, match="gave nan"):
        compare(scores([0]), scores([0]), metric=lambda *_: math.nan)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 3], "Label 3 in row 1 is out of range: output 'y' has classes 0 to 2"),
        ([-1, 0], "Label -1 in row 0 is out of range"),
        ([0.5, 1.0], "not class numbers for output 'y'"),
        ([0], "2 samples came with 1 labels"),
        ([[0, 1], [1, 1]], "not class numbers"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: Any, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        compare(scores([0, 1]), scores([0, 1]), labels=labels)


def test_labels_for_some_batches_only_are_an_error() -> None:
    for first, second in ((np.array([0]), None), (None, np.array([0]))):
        comparison = Comparison(confidence=0.95)
        comparison.add({"y": scores([0])}, {"y": scores([0])}, first, 1)
        with pytest.raises(DatasetError, match="for all or none"):
            comparison.add({"y": scores([0])}, {"y": scores([0])}, second, 1)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no samples"):
        Comparison(confidence=0.95).result("d")


def test_a_timed_output_that_is_not_the_validated_one() -> None:
    validated = {"y": scores([0, 1])}
    assert output_comparison.first_difference(validated, {"y": scores([0, 1]) * np.float32(1.001)}) == ""
    assert "off by 1.4" in output_comparison.first_difference(validated, {"y": scores([1, 0])})
    assert "has shape (1, 3)" in output_comparison.first_difference(validated, {"y": scores([0])})
    assert "missing" in output_comparison.first_difference(validated, {"z": scores([0])})
    assert "not finite" in output_comparison.first_difference(validated, {"y": scores([0, 1]) * np.float32(np.nan)})


def test_metric_is_not_asked_about_broken_outputs() -> None:
    result = compare(f32([[np.nan, 1.0]]), f32([[0.0, 1.0]]), labels=[1], metric=lambda *_: 1.0)
    assert (result.metric, result.reference_metric) == (None, None)


def by_call(*calls: tuple[Any, Any], labels: Any = None, metric: Metric | None = None) -> Accuracy:
    """Compare calls of two samples each, whose output cannot be split into them."""
    comparison = Comparison(metric, confidence=0.95, axes={"y": None})
    for candidate, reference in calls:
        comparison.add({"y": np.asarray(candidate)}, {"y": np.asarray(reference)}, labels, 2)
    return comparison.result("digest")


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [(f32(3), f32(2)), (f32([2, 2, 3]), f32([2, 2, 2])), (f32([[2], [2], [2], [3]]), f32([[2], [2], [2], [2]]))],
    ids=["rank 0", "more rows than samples", "the last one"],
)
def test_every_value_of_an_output_without_a_batch_is_compared(candidate: Array, reference: Array) -> None:
    result = by_call((reference, reference), (candidate, reference))
    assert (result.outputs[0].max_abs, result.by_call, result.samples) == (1.0, ("y",), 4)


def test_calls_may_differ_in_shape() -> None:
    result = by_call((np.ones((3, 4)), np.ones((3, 4))), (np.ones((1, 4)), np.full((1, 4), 2.0)))
    assert (result.outputs[0].max_abs, result.mismatches) == (1.0, ())


def test_a_call_in_which_only_one_side_has_another_shape_is_told_with_both() -> None:
    calls = [(np.ones((3, 4)), np.ones((3, 4))), (np.ones((2, 4)), np.ones((3, 4)))]
    result = by_call(*calls)
    assert result.mismatches == ("output 'y' has shape (2, 4) in the call from sample 2 on, the reference's (3, 4)",)
    judged = by_call(*calls, metric=lambda outputs, _: len(outputs))
    assert (judged.mismatches, judged.resized) == ((), result.mismatches)
    assert (judged.metric, judged.reference_metric) == (2.5, 3.0)


def test_an_output_that_has_another_shape_in_every_call_is_named_all_the_same() -> None:
    result = by_call((np.ones((2, 4)), np.ones((3, 4))), metric=lambda outputs, _: len(outputs))
    assert (result.by_call, result.outputs, len(result.resized)) == (("y",), (), 1)


def test_labels_without_an_output_that_has_rows_name_the_way_out() -> None:
    call = (np.ones((3, 4)), np.ones((3, 4)))
    with pytest.raises(DatasetError, match=r"no output has a row for each: 'y' can only .* Give a metric of outputs"):
        by_call(call, labels=np.array([0, 1]))
    assert by_call(call, labels=np.array([0, 1]), metric=lambda _, labels: labels.sum()).metric == 1.0


def test_what_varies_holds_no_answers_and_may_have_any_number_of_rows() -> None:
    comparison = Comparison(confidence=0.95, axes={"y": 0, "found": None}, varying=frozenset({"y", "found"}))
    comparison.add({"y": scores([0]), "found": f32([1])}, {"y": scores([1]), "found": f32([1, 2])}, None, 1)
    result = comparison.result("d")
    assert (result.agreement, result.mismatches, len(result.resized)) == (None, (), 1)
    assert [errors.name for errors in result.outputs] == ["y"]


def test_the_batch_may_be_another_axis() -> None:
    reference = np.moveaxis(scores([0, 1, 2])[:, None], 0, 1)
    comparison = Comparison(confidence=0.95, axes={"y": 1})
    comparison.add({"y": np.moveaxis(scores([0, 1, 1])[:, None], 0, 1)}, {"y": reference}, np.array([0, 2]), 2)
    result = comparison.result("d")
    assert (reference.shape, result.top1, result.outputs[0].max_abs) == ((1, 3, 3), 0.5, 0.0)


def test_a_scalar_beside_scores_is_judged_by_its_distance() -> None:
    comparison = Comparison(confidence=0.95, axes={"loss": None, "y": 0})
    comparison.add({"loss": f32(1.5), "y": scores([0])}, {"loss": f32(1.0), "y": scores([0])}, np.array([0]), 1)
    result = comparison.result("d")
    assert (result.top1, result.unscored, result.by_call) == (1.0, ("loss",), ("loss",))


def test_labels_of_another_shape_in_each_batch_are_no_class_numbers() -> None:
    comparison = Comparison(confidence=0.95)
    for labels in (np.array([[0, 1]]), np.array([[0, 1, 2]])):
        comparison.add({"y": scores([0])}, {"y": scores([0])}, labels, 1)
    with pytest.raises(DatasetError, match=r"Labels that differ in shape from batch to batch .* or a metric"):
        comparison.result("d")


def test_of_timed_outputs_those_that_vary_are_left_out() -> None:
    validated, timed = {"y": f32([[1.0]]), "z": f32([[1.0]])}, {"y": f32([[9.0]]), "z": f32([[1.0]])}
    assert output_comparison.first_difference(validated, timed, ("y",)) == ""
    assert "'y' is off" in output_comparison.first_difference(validated, timed, ("z",))
    renamed = {"Identity": f32([[1.0]])}, {"Identity": f32([[9.0]])}
    assert output_comparison.first_difference(*renamed, ("y",)) == ""
    assert "off" in output_comparison.first_difference(*renamed)


def test_a_timed_output_may_hold_the_nan_that_the_validated_one_holds() -> None:
    masked = {"y": f32([[np.nan, -np.inf, 1.0]])}
    assert output_comparison.first_difference(masked, masked) == ""
    assert "not finite" in output_comparison.first_difference(masked, {"y": f32([[np.nan, np.inf, 1.0]])})


def test_a_timed_output_next_to_zero_may_be_off_by_rounding() -> None:
    grid = np.float32(2.0**-25)
    validated, timed = {"y": f32([[1, 2, 3]]) * grid}, {"y": f32([[2, 2, 3]]) * grid}
    assert output_comparison.first_difference(validated, timed) == ""
