"""The candidate's outputs beside the reference's, sample by sample where they have samples, else call by call.

`Comparison` takes one call at a time and keeps sums and one answer a sample, not the outputs (a user's metric is the
exception: it needs them all). Whether the result is good enough is decided in `pytest_accel.verdict.accuracy`.

What an answer is, taken from the first output, in the reference's order, that has one:

* class scores, floating of shape ``(n, k)`` or ``(n, 1, ..., k)`` with k > 1: the arg-max of the last axis;
* class numbers, integer of shape ``(n,)`` or ``(n, 1)``: the number itself;
* one floating score a sample, shape ``(n,)`` or ``(n, 1)``, only where labels are all 0 or 1: whether it lies over 0.5
  when every score of the reference lies in [0, 1] (probabilities), else over 0 (logits).

Anything else, such as a regression or a segmentation, has numeric errors and the user's metric only, and its
``agreement`` is None.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_accel import stats
from pytest_accel.facts.errors import DatasetError
from pytest_accel.facts.records import Accuracy, OutputErrors
from pytest_accel.inputs.dataset_elements import item_shape
from pytest_accel.measuring.last_place import LastPlace
from pytest_accel.measuring.metric_of_calls import Metric, MetricOfCalls, joined_labels

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Array

#: _KINDS is the kind of a dtype by NumPy's letter for it.
_KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "c": "complex"}
#: SMALLEST_REFERENCE is the least magnitude that an error is taken relative to, since nothing is relative to zero.
SMALLEST_REFERENCE = 1e-6
#: SAME_RUN is the normalised L2 distance up to which two runs of one artefact on one input count as the same: atomics
#: reorder sums.
SAME_RUN = 1e-2
#: NO_ANSWER is the class number of no answer: a sample whose scores hold NaN is never right.
NO_ANSWER = -1


class Comparison:
    """Candidate beside reference, one call after the other: ``add`` each, then ask for the ``result``.

    ``axes`` has the axis of the batch by output, None for an output that is compared call by call; it is the first one
    where nothing is said. ``varying`` names the outputs that the model does not repeat: they hold no answers, and may
    have any number of rows. ``confidence`` is that of the interval which unseen samples are said to lie in.
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        confidence: float,
        axes: Mapping[str, int | None] | None = None,
        varying: frozenset[str] = frozenset(),
    ) -> None:
        self._axes = axes or {}
        self._varying = varying
        self._samples = 0
        self._outputs: tuple[str, ...] = ()
        self._errors: dict[str, _ErrorSums] = {}
        self._non_finite: dict[str, int] = {}
        self._shared_non_finite: dict[str, int] = {}
        self._mismatches: dict[str, None] = {}  # a set that keeps its order
        self._labels: list[Array] = []
        self._answers = _Answers(confidence)
        self._metric = None if metric is None else MetricOfCalls(metric, self._axes)
        self._resized: dict[str, str] = {}

    def add(
        self, candidate: Mapping[str, Array], reference: Mapping[str, Array], labels: Array | None, rows: int
    ) -> None:
        """Compare the first ``rows`` samples of a call; what follows them is padding.

        An output that cannot be split into samples is compared as a whole. ``labels`` are class numbers of shape
        ``(rows,)`` or ``(rows, 1)``, one-hot rows, or whatever the user's metric takes. Raises `DatasetError` when
        labels do not fit the outputs.
        """
        if self._samples and (labels is None) == bool(self._labels):
            raise DatasetError("Some batches have labels and some have none: give labels for all or none.")
        candidate, self._outputs = _renamed(candidate, reference), tuple(reference)
        self._note_mismatches(candidate, reference, rows)
        self._samples += rows
        if labels is not None:
            labels = np.asarray(labels)[:rows]
            if len(labels) != rows:
                raise DatasetError(f"A batch of {rows} samples came with {len(labels)} labels.")
            self._require_rows(reference)
            self._labels.append(labels)
        if self._mismatches:
            return
        pairs = {name: (self._real(name, candidate, rows), self._real(name, reference, rows)) for name in reference}
        for name, (outputs, expected) in pairs.items():
            if outputs.shape == expected.shape:
                self._add_errors(name, outputs, expected)
        if self._metric is not None:
            self._metric.add(pairs, labels, rows)
        in_rows = {
            name: (np.moveaxis(outputs, axis, 0), np.moveaxis(expected, axis, 0))
            for name, (outputs, expected) in pairs.items()
            if (axis := self._axis(name)) is not None and name not in self._varying
        }
        self._answers.add(in_rows, labels, of=reference)

    def result(self, dataset_digest: str) -> Accuracy:
        """Everything that the calls so far tell.

        Raises `DatasetError` when there were none, or when the reference gives nothing to compare with.
        """
        if not self._samples:
            raise DatasetError("The dataset has no samples: nothing can be compared.")
        labelled = bool(self._labels)
        plain = Accuracy(
            samples=self._samples,
            dataset_digest=dataset_digest,
            labelled=labelled,
            agreement=None,
            non_finite={name: count for name, count in self._non_finite.items() if count},
            shared_non_finite={name: count for name, count in self._shared_non_finite.items() if count},
            mismatches=tuple(self._mismatches),
            resized=tuple(self._resized.values()),
            by_call=tuple(name for name in self._outputs if self._axis(name) is None),
        )
        if self._mismatches:
            return plain
        self._require_finite()
        facts: dict[str, Any] = {"outputs": tuple(sums.errors(name) for name, sums in self._errors.items())}
        has_metric = self._metric is not None
        facts |= self._answers.facts(self._labels if labelled else None, has_metric=has_metric)
        if self._metric is not None and not plain.non_finite:
            facts |= self._metric.facts()
        return msgspec.structs.replace(plain, **facts)

    def _axis(self, name: str) -> int | None:
        return self._axes.get(name, 0)

    def _real(self, name: str, outputs: Mapping[str, Array], rows: int) -> Array:
        """Return an output without padding, as far as that can be told apart."""
        axis, output = self._axis(name), np.asarray(outputs[name])
        return output if axis is None else output[(*[slice(None)] * axis, slice(rows))]

    def _require_rows(self, reference: Mapping[str, Array]) -> None:
        """Raise `DatasetError` where labels have nothing to be compared with."""
        if self._metric is None and all(self._axis(name) is None for name in reference):
            raise DatasetError(
                f"The labels are of samples, and no output has a row for each: {', '.join(map(repr, reference))} can "
                "only be compared call by call. Give a metric of outputs and labels, or leave the labels out."
            )

    def _require_finite(self) -> None:
        for name, sums in self._errors.items():
            if not sums.values and self._shared_non_finite.get(name):
                raise DatasetError(
                    f"The reference itself gives nothing but NaN or infinity in output {name!r}: nothing can be "
                    "compared with it. Check the model and the inputs."
                )

    def _note_mismatches(self, candidate: Mapping[str, Array], reference: Mapping[str, Array], rows: int) -> None:
        for name in reference:
            if name not in candidate:
                self._mismatches[f"output {name!r} is missing; there are {', '.join(map(repr, candidate))}"] = None
                continue
            outputs, expected = np.asarray(candidate[name]), np.asarray(reference[name])
            shapes = f"output {name!r} has shape {outputs.shape}, the reference's {expected.shape}"
            axis = self._axis(name)
            if axis is None:
                self._note_resized(name, outputs, expected)
            elif not (_fits(outputs, axis, rows) and _fits(expected, axis, rows)) or (
                item_shape(outputs, axis) != item_shape(expected, axis)
            ):
                self._mismatches[f"{shapes}, for {rows} samples"] = None
            if _kind(outputs) != _kind(expected):
                self._mismatches[f"output {name!r} is {outputs.dtype}, the reference's {expected.dtype}"] = None
        for name in candidate:
            if name not in reference:
                self._mismatches[f"output {name!r} is not among the reference's"] = None

    def _note_resized(self, name: str, outputs: Array, expected: Array) -> None:
        """Note the first call in which an output has another shape. A metric can judge even that, nothing else can."""
        if outputs.shape == expected.shape or name in self._resized:
            return
        where = f"in the call from sample {self._samples} on"
        sentence = f"output {name!r} has shape {outputs.shape} {where}, the reference's {expected.shape}"
        self._resized[name] = sentence
        judged = self._metric is not None or name in self._varying
        if not judged or outputs.ndim != expected.ndim:
            self._mismatches[sentence] = None

    def _add_errors(self, name: str, outputs: Array, expected: Array) -> None:
        x, y = outputs.astype(np.float64), expected.astype(np.float64)
        sums = self._errors.setdefault(name, _ErrorSums())
        both = np.isfinite(x) & np.isfinite(y)
        # NaN for what is missing and infinity for what is masked are answers: an error only where one side has them.
        shared = ~both & ((x == y) | (np.isnan(x) & np.isnan(y)))
        self._non_finite[name] = self._non_finite.get(name, 0) + int(np.count_nonzero(~both & ~shared))
        self._shared_non_finite[name] = self._shared_non_finite.get(name, 0) + int(np.count_nonzero(shared))
        sums.add(x[both], y[both])


def first_difference(validated: Mapping[str, Array], timed: Mapping[str, Array], varying: Collection[str] = ()) -> str:
    """Return how outputs of a timed call differ from validated ones of the same inputs; empty when they do not.

    Those that vary are left out; an output that is alone may have another name here.
    """
    if varying and len(validated) == 1:
        return ""
    for name, expected in validated.items():
        if name in varying:
            continue
        if name not in timed:
            return f"output {name!r} is missing"
        x, y = np.asarray(timed[name]), np.asarray(expected)
        if x.shape != y.shape:
            return f"output {name!r} has shape {x.shape}, validated was {y.shape}"
        if not same_where_not_finite(x, y):
            return f"output {name!r} is not finite where it was when validated"
        finite = np.isfinite(y)
        errors = errors_of(name, x[finite], y[finite])
        if errors.normalised_l2 > SAME_RUN and not errors.is_rounding:
            return f"output {name!r} is off by {errors.normalised_l2:.2g} (normalised L2)"
    return ""


def same_where_not_finite(outputs: Array, expected: Array) -> bool:
    """Return whether two arrays of one shape have the same NaN and infinities in the same places."""
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(outputs), finite):
        return False
    return np.array_equal(outputs[~finite], expected[~finite], equal_nan=True)


def errors_of(name: str, outputs: Array, expected: Array) -> OutputErrors:
    """Return how far finite values are from those expected."""
    sums = _ErrorSums()
    sums.add(outputs.astype(np.float64), expected.astype(np.float64))
    return sums.errors(name)


class _ErrorSums:
    """The sums behind one output's numeric errors."""

    def __init__(self) -> None:
        self.values = 0
        self.max_abs = self.max_rel = 0.0
        self.error = self.signal = self.power = self.product = 0.0
        self._last_place = LastPlace()

    def add(self, x: Array, y: Array) -> None:
        """Add finite elements of the candidate and of the reference."""
        if not x.size:
            return
        self.values += x.size
        self._last_place.add(x, y)
        distance = np.abs(x - y)
        self.max_abs = max(self.max_abs, float(distance.max()))
        self.max_rel = max(self.max_rel, float((distance / np.maximum(np.abs(y), SMALLEST_REFERENCE)).max()))
        self.error += float(np.sum(distance**2))
        self.signal += float(np.sum(y**2))
        self.power += float(np.sum(x**2))
        self.product += float(np.sum(x * y))

    def errors(self, name: str) -> OutputErrors:
        signal = max(self.signal, SMALLEST_REFERENCE**2)  # a reference of zeros still gives a finite distance
        size = math.sqrt(self.power * self.signal)
        return OutputErrors(
            name=name,
            max_abs=self.max_abs,
            max_rel=self.max_rel,
            normalised_l2=math.sqrt(self.error / signal),
            cosine=self.product / size if size else float(self.error == 0.0),
            snr_db=10.0 * math.log10(signal / self.error) if self.error else None,
            rounding=self._last_place.rounding,
        )


class _Answers:
    """One answer a sample from either side, from the first output that has one."""

    def __init__(self, confidence: float) -> None:
        self._confidence = confidence
        self._name: str | None = None
        self._others: tuple[str, ...] = ()
        self._kind = ""
        self._classes = 0
        self._sides: tuple[list[Array], list[Array]] = ([], [])
        self._top5: tuple[list[Array], list[Array]] = ([], [])

    def add(self, pairs: Mapping[str, tuple[Array, Array]], labels: Array | None, *, of: Mapping[str, Array]) -> None:
        """Take the answers of the outputs that have rows. ``of`` holds all outputs of the reference."""
        if not self._kind:
            self._choose({name: expected for name, (_, expected) in pairs.items()}, of)
        if self._name is None:
            return
        classes = None if labels is None else _class_numbers(labels, self._classes)
        if classes is not None and self._kind == "scores":
            self._require_range(classes)
        for side, top5, values in zip(self._sides, self._top5, pairs[self._name], strict=True):
            if self._kind != "scores":
                side.append(values.reshape(-1))
                continue
            scores = values.reshape(len(values), -1)
            answers = np.where(np.isnan(scores).any(axis=1), NO_ANSWER, scores.argmax(axis=1))
            side.append(answers)
            if classes is not None and self._classes > 5:
                top5.append((_rank(scores, classes) < 5) & (answers != NO_ANSWER))

    def _require_range(self, classes: Array) -> None:
        outside = np.flatnonzero((classes < 0) | (classes >= self._classes))
        if outside.size:
            row = sum(map(len, self._sides[0])) + outside[0]
            raise DatasetError(
                f"Label {classes[outside[0]]} in row {row} is out of range: output {self._name!r} has classes 0 to "
                f"{self._classes - 1}. Number the classes from 0, and leave out rows that have none."
            )

    def facts(self, labels_of_calls: list[Array] | None, *, has_metric: bool) -> dict[str, Any]:
        """Return the fields of `Accuracy` that come from answers; none without answers."""
        if self._name is None:
            return {}
        labels = None if labels_of_calls is None else joined_labels(labels_of_calls)
        if labels_of_calls is not None and labels is None:
            if has_metric:
                return {}
            raise DatasetError(
                f"Labels that differ in shape from batch to batch are not class numbers for output {self._name!r}: "
                "give one integer for each sample, or a metric that knows what they are."
            )
        classes = None if labels is None else _class_numbers(labels, self._classes)
        if self._kind == "single" and not _all_binary(classes):
            return {}
        if labels is not None and classes is None:
            if has_metric:
                return {}
            raise DatasetError(
                f"Labels of shape {labels.shape} and dtype {labels.dtype} are not class numbers for output "
                f"{self._name!r}: give integers of shape ({len(labels)},), or a metric that knows what they are."
            )
        answers, expected = (np.concatenate(side) for side in self._sides)
        if self._kind == "single":
            known = expected[~np.isnan(expected)]
            threshold = 0.5 if known.size and known.min() >= 0.0 and known.max() <= 1.0 else 0.0
            answers, expected = (np.where(np.isnan(side), NO_ANSWER, side > threshold) for side in (answers, expected))
        agreement = float(np.mean(answers == expected))
        if classes is None:
            return {"agreement": agreement, "flips_lost": int(np.count_nonzero(answers != expected))}
        top5 = [float(np.mean(np.concatenate(side))) if side else None for side in self._top5]
        return {
            "agreement": agreement,
            "unscored": self._others,
            **_paired(answers == classes, expected == classes, self._confidence),
            "top5": top5[0],
            "reference_top5": top5[1],
        }

    def _choose(self, reference: Mapping[str, Array], all_outputs: Mapping[str, Array]) -> None:
        self._kind = "none"
        for name, values in reference.items():
            kind = _answer_kind(values)
            if kind:
                self._name, self._kind = name, kind
                self._classes = {"scores": values.shape[-1], "single": 2, "numbers": 0}[kind]
                # The numbers of classes are answers too, of which a distance says nothing.
                self._others = tuple(
                    other for other, scores in all_outputs.items() if other != name and _kind(scores) == "float"
                )
                return


def _answer_kind(values: Array) -> str:
    """Return what kind of answer an output of the reference holds, as the module's docstring says; empty for none."""
    if values.size == len(values):
        return {"float": "single", "int": "numbers"}.get(_kind(values), "")
    one_row_each = values.size == len(values) * values.shape[-1]
    return "scores" if one_row_each and _kind(values) == "float" else ""


def _paired(right: Array, expected_right: Array, confidence: float) -> dict[str, Any]:
    samples = len(right)
    both = int(np.count_nonzero(right & expected_right))
    lost = int(np.count_nonzero(expected_right & ~right))
    gained = int(np.count_nonzero(right & ~expected_right))
    return {
        "top1": float(np.mean(right)),
        "reference_top1": float(np.mean(expected_right)),
        "flips_lost": lost,
        "flips_gained": gained,
        "drop_interval": tuple(
            stats.paired_drop_interval(both, lost, gained, samples - both - lost - gained, confidence)
        ),
        "right": base64.b64encode(np.packbits(right).tobytes()).decode("ascii"),
    }


def _class_numbers(labels: Array, classes: int) -> Array | None:
    """Return labels as integers of shape ``(n,)``, made of integers, whole floats or one-hot rows; else None."""
    if labels.ndim == 2 and labels.shape[1] == classes > 1:
        one_hot = bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
        return labels.argmax(axis=1) if one_hot else None
    if labels.size != len(labels) or labels.dtype.kind not in "iufb":
        return None
    flat = labels.reshape(-1)
    with np.errstate(invalid="ignore"):
        numbers = flat.astype(np.int64)
    return numbers if np.array_equal(numbers, flat) else None


def _all_binary(classes: Array | None) -> bool:
    return classes is not None and bool(np.isin(classes, (0, 1)).all())


def _rank(scores: Array, classes: Array) -> Array:
    """Return how many classes come before each label's; of equal scores the lower number is first, as in arg-max."""
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < classes[:, None]))
    return np.asarray(before.sum(axis=1))


def _renamed(candidate: Mapping[str, Array], reference: Mapping[str, Array]) -> Mapping[str, Array]:
    """Give outputs the reference's names where each side has one alone, because a compiler may rename it."""
    if len(candidate) == len(reference) == 1:
        return dict(zip(reference, candidate.values(), strict=True))
    return candidate


def _kind(values: Array) -> str:
    """Return what has to be the same on both sides. Widths may differ: float16 is a precision, not an error."""
    return _KINDS.get(values.dtype.kind) or str(values.dtype)


def _fits(values: Array, axis: int, rows: int) -> bool:
    return values.ndim > axis and values.shape[axis] >= rows
