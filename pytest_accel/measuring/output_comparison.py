"""The candidate's outputs beside the reference's, sample by sample.

`Comparison` takes one batch at a time and keeps sums and one answer a sample, not the outputs (a user's metric is the
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
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from pytest_accel import stats
from pytest_accel.facts.errors import DatasetError
from pytest_accel.facts.records import Accuracy, OutputErrors

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Array

#: Metric is a user's function of all outputs (an array, or a dict by name where there are several) and the labels;
#: higher is better.
Metric: TypeAlias = Callable[[Any, Any], float]

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
    """Candidate beside reference, one batch after the other: ``add`` each, then ask for the ``result``.

    ``confidence`` is that of the interval which unseen samples are said to lie in.
    """

    def __init__(self, metric: Metric | None = None, *, confidence: float) -> None:
        self._metric = metric
        self._samples = 0
        self._names: tuple[str, ...] = ()
        self._errors: dict[str, _ErrorSums] = {}
        self._non_finite: dict[str, int] = {}
        self._mismatches: dict[str, None] = {}  # a set that keeps its order
        self._labels: list[Array] = []
        self._answers = _Answers(confidence)
        self._kept: tuple[dict[str, list[Array]], dict[str, list[Array]]] = ({}, {})

    def add(
        self, candidate: Mapping[str, Array], reference: Mapping[str, Array], labels: Array | None, rows: int
    ) -> None:
        """Compare the first ``rows`` samples of a batch; what follows them is padding.

        ``labels`` are class numbers of shape ``(rows,)`` or ``(rows, 1)``, one-hot rows, or whatever the user's metric
        takes. Raises `DatasetError` when labels do not fit the outputs or the reference itself gives NaN.
        """
        if self._samples and (labels is None) == bool(self._labels):
            raise DatasetError("Some batches have labels and some have none: give labels for all or none.")
        candidate = _renamed(candidate, reference)
        self._note_mismatches(candidate, reference, rows)
        self._samples += rows
        if labels is not None:
            labels = np.asarray(labels)[:rows]
            if len(labels) != rows:
                raise DatasetError(f"A batch of {rows} samples came with {len(labels)} labels.")
            self._labels.append(labels)
        if self._mismatches:
            return
        pairs = {name: (np.asarray(candidate[name])[:rows], np.asarray(reference[name])[:rows]) for name in reference}
        for name, (outputs, expected) in pairs.items():
            self._add_errors(name, outputs, expected)
            if self._metric is not None:
                for side, values in zip(self._kept, (outputs, expected), strict=True):
                    side.setdefault(name, []).append(values)
        self._answers.add(pairs, labels)

    def result(self, dataset_digest: str) -> Accuracy:
        """Everything that the batches so far tell. Raises `DatasetError` when there were none."""
        if not self._samples:
            raise DatasetError("The dataset has no samples: nothing can be compared.")
        labelled = bool(self._labels)
        plain = Accuracy(
            samples=self._samples,
            dataset_digest=dataset_digest,
            labelled=labelled,
            agreement=None,
            non_finite={name: count for name, count in self._non_finite.items() if count},
            mismatches=tuple(self._mismatches),
        )
        if self._mismatches:
            return plain
        facts: dict[str, Any] = {"outputs": tuple(sums.errors(name) for name, sums in self._errors.items())}
        facts |= self._answers.facts(np.concatenate(self._labels) if labelled else None, metric=self._metric)
        if self._metric is not None and not plain.non_finite:
            facts |= self._metrics(self._metric)
        return msgspec.structs.replace(plain, **facts)

    def _note_mismatches(self, candidate: Mapping[str, Array], reference: Mapping[str, Array], rows: int) -> None:
        for name in reference:
            if name not in candidate:
                self._mismatches[f"output {name!r} is missing; there are {', '.join(map(repr, candidate))}"] = None
                continue
            outputs, expected = np.asarray(candidate[name]), np.asarray(reference[name])
            if outputs.shape[1:] != expected.shape[1:] or not _holds(outputs, rows) or not _holds(expected, rows):
                shapes = f"has shape {outputs.shape}, the reference's {expected.shape}"
                self._mismatches[f"output {name!r} {shapes}, for {rows} samples"] = None
            elif _kind(outputs) != _kind(expected):
                self._mismatches[f"output {name!r} is {outputs.dtype}, the reference's {expected.dtype}"] = None
        for name in candidate:
            if name not in reference:
                self._mismatches[f"output {name!r} is not among the reference's"] = None

    def _add_errors(self, name: str, outputs: Array, expected: Array) -> None:
        x, y = outputs.astype(np.float64), expected.astype(np.float64)
        if np.isnan(y).any():
            raise DatasetError(
                f"The reference itself gives NaN in output {name!r}: nothing can be compared with it. "
                "Check the model and the inputs."
            )
        finite = np.isfinite(x)
        # An infinity that the reference has too is a mask, not an error.
        self._non_finite[name] = self._non_finite.get(name, 0) + int(np.count_nonzero(~finite & (x != y)))
        both = finite & np.isfinite(y)
        self._errors.setdefault(name, _ErrorSums()).add(x[both], y[both])

    def _metrics(self, metric: Metric) -> dict[str, Any]:
        labels = np.concatenate(self._labels) if self._labels else None
        name = getattr(metric, "__name__", type(metric).__name__)
        values = []
        for side in self._kept:
            outputs = {output: np.concatenate(batches) for output, batches in side.items()}
            value = float(metric(next(iter(outputs.values())) if len(outputs) == 1 else outputs, labels))
            if not math.isfinite(value):
                raise DatasetError(f"The metric {name!r} gave {value}; it has to give a finite number.")
            values.append(value)
        return {"metric_name": name, "metric": values[0], "reference_metric": values[1]}


def first_difference(validated: Mapping[str, Array], timed: Mapping[str, Array]) -> str:
    """Return how outputs of a timed call differ from validated ones of the same inputs; empty when they do not."""
    for name, expected in validated.items():
        if name not in timed:
            return f"output {name!r} is missing"
        x, y = np.asarray(timed[name]), np.asarray(expected)
        if x.shape != y.shape:
            return f"output {name!r} has shape {x.shape}, validated was {y.shape}"
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return f"output {name!r} is not finite where it was when validated"
        finite = np.isfinite(y)
        sums = _ErrorSums()
        sums.add(x[finite].astype(np.float64), y[finite].astype(np.float64))
        distance = sums.errors(name).normalised_l2
        if distance > SAME_RUN:
            return f"output {name!r} is off by {distance:.2g} (normalised L2)"
    return ""


class _ErrorSums:
    """The sums behind one output's numeric errors."""

    def __init__(self) -> None:
        self.max_abs = self.max_rel = 0.0
        self.error = self.signal = self.power = self.product = 0.0

    def add(self, x: Array, y: Array) -> None:
        """Add finite elements of the candidate and of the reference."""
        if not x.size:
            return
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

    def add(self, pairs: Mapping[str, tuple[Array, Array]], labels: Array | None) -> None:
        if not self._kind:
            self._choose({name: expected for name, (_, expected) in pairs.items()})
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

    def facts(self, labels: Array | None, *, metric: Metric | None) -> dict[str, Any]:
        """Return the fields of `Accuracy` that come from answers; none without answers."""
        classes = None if labels is None else _class_numbers(labels, self._classes)
        if self._name is None or (self._kind == "single" and not _all_binary(classes)):
            return {}
        if labels is not None and classes is None:
            if metric is not None:
                return {}
            raise DatasetError(
                f"Labels of shape {labels.shape} and dtype {labels.dtype} are not class numbers for output "
                f"{self._name!r}: give integers of shape ({len(labels)},), or a metric that knows what they are."
            )
        answers, expected = (np.concatenate(side) for side in self._sides)
        if self._kind == "single":
            threshold = 0.5 if expected.min() >= 0.0 and expected.max() <= 1.0 else 0.0
            answers = np.where(np.isnan(answers), NO_ANSWER, answers > threshold)
            expected = (expected > threshold).astype(int)
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

    def _choose(self, reference: Mapping[str, Array]) -> None:
        self._kind = "none"
        for name, values in reference.items():
            kind = _answer_kind(values)
            if kind:
                self._name, self._kind = name, kind
                self._classes = {"scores": values.shape[-1], "single": 2, "numbers": 0}[kind]
                # The numbers of classes are answers too, of which a distance says nothing.
                self._others = tuple(
                    other for other, scores in reference.items() if other != name and _kind(scores) == "float"
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


def _holds(values: Array, rows: int) -> bool:
    return values.ndim > 0 and len(values) >= rows
