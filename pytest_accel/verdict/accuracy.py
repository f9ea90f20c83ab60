"""Is the compiled model still right, against the reference and against the baseline?

With labels the share of right answers counts (or the user's metric, where there is one). Without them the distance of
the outputs from the reference's does, and a drop can only be bounded by the share of changed answers. Of several
outputs the labels score one, and the distance counts for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_accel import stats
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.verdict.flips import flips_since
from pytest_accel.verdict.placement import coarsest

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Budgets, OutputErrors

#: DEFAULT_MAX_ACCURACY_DROP is the drop that is allowed where labels are given and no budget is, as a share.
DEFAULT_MAX_ACCURACY_DROP = 0.01
#: DEFAULT_DISTANCES is the largest normalised L2 distance from the FP32 reference where there are no labels, by the
#: coarsest precision observed.
DEFAULT_DISTANCES = {"fp64": 1e-3, "fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 2e-2, "fp8": 0.2, "int8": 0.2}
#: TIMES_FRAMEWORK is how many times the distance of the same precision in the model's own framework is allowed, where
#: that is known and more.
TIMES_FRAMEWORK = 2.0
#: ROUNDING is the part of a drop, which is a difference of shares, that may be rounding.
ROUNDING = 1e-9
#: _OTHER_DATA is said of a baseline that has seen other samples, which says nothing about these.
_OTHER_DATA = "The baseline's accuracy is from another dataset: not compared."


def judge_accuracy(
    accuracy: Accuracy,
    budgets: Budgets,
    *,
    confidence: float,
    precisions: Mapping[str, int] | None = None,
    baseline: Accuracy | None = None,
    has_baseline: bool = False,
) -> list[Verdict]:
    """Judge what was asked for, and by default the drop (with labels) or the distance (without).

    ``baseline`` is what the baseline knows of its accuracy. One that knows nothing (``has_baseline`` alone), or that
    answered other questions, is incomparable: whether an answer was lost cannot be told.

    ``precisions`` are the observed ones, in the runtime's names, or ``{asked: 1}`` where it does not tell; they choose
    the default distance. ``max_flips`` counts lost answers: a whole number of samples, or below 1.0 a share.
    """
    broken = _broken(accuracy)
    if broken:
        return [_verdict("inaccurate", broken)]
    if accuracy.varying:
        unjudged, rest = _not_repeated(accuracy), _without_varying(accuracy)
        judged = judge_accuracy(rest, budgets, confidence=confidence, precisions=precisions, baseline=baseline)
        return [unjudged, *(judged if rest.outputs and accuracy.metric is None else [])]
    score = score_beside_reference(accuracy)
    if score is not None:
        verdicts = [_judge_drop(score, accuracy, budgets, confidence)]
        if baseline is not None:
            verdicts.append(_judge_drop_since(baseline, score, accuracy, budgets))
        verdicts += _judge_unscored(accuracy, precisions or {}, confidence)
    else:
        verdicts = [_judge_distance(accuracy, precisions or {}, confidence), *_questions_of(baseline, accuracy)]
        if budgets.max_accuracy_drop is not None:
            verdicts.append(_judge_changed_answers(accuracy, budgets.max_accuracy_drop))
    if has_baseline and baseline is None:
        verdicts.append(_verdict("incomparable", "The baseline holds no accuracy to compare with."))
    if budgets.min_accuracy is not None:
        verdicts.append(_judge_least(score, budgets.min_accuracy))
    if budgets.max_flips is not None:
        verdicts.append(_judge_flips(accuracy, budgets.max_flips))
    return verdicts


class Score(NamedTuple):
    """What stands for accuracy: the user's metric where there is one, else top-1."""

    name: str
    value: float
    reference: float

    def text(self, value: float) -> str:
        """Write a value of this measure."""
        return f"{100 * value:.2f} %" if self.name == "top-1" else f"{value:.4g}"

    def points(self, difference: float) -> str:
        """Write a difference of two values."""
        return f"{100 * difference:.2f} points" if self.name == "top-1" else f"{difference:.4g}"


def score_beside_reference(accuracy: Accuracy) -> Score | None:
    """Return what stands for accuracy, None where neither a metric nor labels are known of both sides."""
    if accuracy.metric is not None and accuracy.reference_metric is not None:
        return Score(accuracy.metric_name, accuracy.metric, accuracy.reference_metric)
    if accuracy.top1 is not None and accuracy.reference_top1 is not None:
        return Score("top-1", accuracy.top1, accuracy.reference_top1)
    return None


def _broken(accuracy: Accuracy) -> str:
    if accuracy.mismatches:
        return f"The outputs are not the reference's: {'; '.join(accuracy.mismatches)}."
    if accuracy.non_finite:
        counts = ", ".join(f"{count} in output {name!r}" for name, count in accuracy.non_finite.items())
        return f"Values that are NaN or infinite on one side alone, here or in the reference: {counts}."
    return ""


def _not_repeated(accuracy: Accuracy) -> Verdict:
    """Say that the model does not repeat itself, and in which outputs."""
    others = [errors.name for errors in accuracy.outputs if errors.name not in accuracy.varying]
    summary = f"Accuracy is not judged: {accuracy.unrepeatable}."
    if others:
        summary = f"Of output {', '.join(map(repr, accuracy.varying))} nothing is judged: {accuracy.unrepeatable}."
    return _verdict("inconclusive", summary, *_errors_texts(accuracy))


def _without_varying(accuracy: Accuracy) -> Accuracy:
    """Return what there is to judge of a model that repeats only some of its outputs."""
    return msgspec.structs.replace(
        accuracy,
        outputs=tuple(errors for errors in accuracy.outputs if errors.name not in accuracy.varying),
        unscored=tuple(name for name in accuracy.unscored if name not in accuracy.varying),
        varying=(),
    )


def _judge_drop(score: Score, accuracy: Accuracy, budgets: Budgets, confidence: float) -> Verdict:
    summary, kind = _drop(score, score.reference, "reference", budgets)
    details = [_flips_text(accuracy.flips_lost, accuracy.flips_gained, accuracy.samples)] if accuracy.right else []
    if accuracy.drop_interval is not None:
        low, high = accuracy.drop_interval
        sure = f"{100 * confidence:.4g} % confidence"
        details.append(f"On unseen data top-1 drops by {100 * low:.2f} to {100 * high:.2f} points ({sure}).")
    if accuracy.top5 is not None and accuracy.reference_top5 is not None:
        details.append(f"top-5 {100 * accuracy.top5:.2f} %, reference {100 * accuracy.reference_top5:.2f} %.")
    return _verdict(kind, summary, *details, *_errors_texts(accuracy))


def _questions_of(baseline: Accuracy | None, accuracy: Accuracy) -> list[Verdict]:
    """Say where a run without labels has nothing beside the score of its baseline, or answers other questions."""
    if baseline is None:
        return []
    before = score_beside_reference(baseline)
    if before is None:
        return [] if baseline.dataset_digest == accuracy.dataset_digest else [_verdict("incomparable", _OTHER_DATA)]
    stored = f"The baseline has {before.name} {before.text(before.value)}"
    return [_verdict("incomparable", f"{stored}, and this run has no labels or metric to compare with it.")]


def _judge_drop_since(baseline: Accuracy, score: Score, accuracy: Accuracy, budgets: Budgets) -> Verdict:
    before = score_beside_reference(baseline)
    if baseline.dataset_digest != accuracy.dataset_digest:
        return _verdict("incomparable", _OTHER_DATA)
    if before is None or before.name != score.name:
        return _verdict("incomparable", f"The baseline holds no {score.name} to compare with.")
    summary, kind = _drop(score, before.value, "baseline", budgets)
    flips = flips_since(baseline, accuracy)
    since = _verdict(kind, summary, *([_flips_text(*flips, accuracy.samples)] if flips is not None else []))
    return msgspec.structs.replace(since, since_baseline=True)


def _drop(score: Score, expected: float, whose: str, budgets: Budgets) -> tuple[str, VerdictKind]:
    given = budgets.max_accuracy_drop
    limit = DEFAULT_MAX_ACCURACY_DROP if given is None else given
    drop = expected - score.value
    label = "max_accuracy_drop" if given is not None else "default max_accuracy_drop"
    summary = (
        f"{score.name} {score.text(score.value)}, {whose} {score.text(expected)}: "
        f"drop {score.points(drop)}, {label} {score.points(limit)}."
    )
    return summary, "pass" if drop <= limit + ROUNDING else "inaccurate"


def _judge_least(score: Score | None, least: float) -> Verdict:
    if score is None:
        return _verdict("inconclusive", f"min_accuracy={least:g} is not judged: it needs labels or a metric.")
    kind: VerdictKind = "pass" if score.value >= least - ROUNDING else "inaccurate"
    return _verdict(kind, f"{score.name} {score.text(score.value)}, min_accuracy {score.text(least)}.")


def _judge_distance(accuracy: Accuracy, precisions: Mapping[str, int], confidence: float) -> Verdict:
    if not accuracy.outputs:
        return _verdict("inconclusive", "No output was compared: accuracy is not judged.")
    precision = coarsest(precisions) or "fp32"
    limit = DEFAULT_DISTANCES[precision]
    limits = {errors.name: limit for errors in accuracy.outputs}
    limits |= {errors.name: max(limit, TIMES_FRAMEWORK * errors.normalised_l2) for errors in _in_framework(accuracy)}
    worst = max(
        accuracy.outputs, key=lambda errors: (not errors.is_rounding, errors.normalised_l2 / limits[errors.name])
    )
    limit = limits[worst.name]
    summary = (
        f"Output {worst.name!r} is {worst.normalised_l2:.2g} away from the reference's (normalised L2), "
        f"default limit for {precision} {limit:.2g}."
    )
    passes = worst.normalised_l2 <= limit
    if not passes and worst.is_rounding:
        passes = True
        summary = (
            f"Output {worst.name!r} is off by {worst.max_abs:.2g} at most, which is rounding: all of it is next to "
            f"zero, and FP32 loses up to {worst.rounding:.2g} on the scale that it was computed on."
        )
    details = _errors_texts(accuracy)
    if accuracy.agreement is not None:
        changed = stats.wilson_interval(accuracy.flips_lost, accuracy.samples, confidence)
        details.append(
            f"{accuracy.flips_lost} of {accuracy.samples} answers changed; of unseen samples like these "
            f"{100 * changed.lower:.2f} to {100 * changed.upper:.2f} % do ({100 * confidence:.4g} % confidence)."
        )
    return _verdict("pass" if passes else "inaccurate", summary, *details)


def _judge_unscored(accuracy: Accuracy, precisions: Mapping[str, int], confidence: float) -> list[Verdict]:
    """Return the distance of the outputs beside the one that labels score; the user's metric has seen them all."""
    others = tuple(errors for errors in accuracy.outputs if errors.name in accuracy.unscored)
    if not others or accuracy.metric is not None:
        return []
    unlabelled = msgspec.structs.replace(accuracy, outputs=others, agreement=None)
    return [_judge_distance(unlabelled, precisions, confidence)]


def _judge_changed_answers(accuracy: Accuracy, limit: float) -> Verdict:
    if accuracy.agreement is None:
        reason = "it needs labels, a metric or outputs that are class scores"
        return _verdict("inconclusive", f"max_accuracy_drop={limit:g} is not judged: {reason}.")
    changed = 1.0 - accuracy.agreement
    kind: VerdictKind = "pass" if changed <= limit + ROUNDING else "inaccurate"
    summary = f"{100 * changed:.2f} % of the answers changed, max_accuracy_drop {100 * limit:.2f} %."
    return _verdict(kind, summary, "Without labels every changed answer counts as a wrong one.")


def _judge_flips(accuracy: Accuracy, limit: float) -> Verdict:
    if accuracy.agreement is None:
        return _verdict("inconclusive", f"max_flips={limit:g} is not judged: the outputs hold no answers.")
    allowed = limit * accuracy.samples if isinstance(limit, float) and limit < 1.0 else limit
    kind: VerdictKind = "pass" if accuracy.flips_lost <= allowed + ROUNDING else "inaccurate"
    what = "answers lost" if accuracy.labelled else "answers changed"
    return _verdict(kind, f"{accuracy.flips_lost} of {accuracy.samples} {what}, max_flips {limit:g}.")


def _in_framework(accuracy: Accuracy) -> tuple[OutputErrors, ...]:
    """Return the errors of the same precision in the model's own framework, which a calibrated control is not."""
    return accuracy.control if accuracy.calibration_samples is None else ()


def _errors_texts(accuracy: Accuracy) -> list[str]:
    texts = [_errors_text(errors) for errors in accuracy.outputs]
    texts += [
        f"{count} values of output {name!r} are NaN or infinite on both sides."
        for name, count in accuracy.shared_non_finite.items()
    ]
    if accuracy.by_call:
        names = ", ".join(map(repr, accuracy.by_call))
        texts.append(f"Compared call by call, since it cannot be split into samples: output {names}.")
    if accuracy.metric_by_call:
        texts.append("The metric is the mean over the calls, whose outputs differ in shape.")
    if not accuracy.mismatches:
        texts += [f"{sentence[0].upper()}{sentence[1:]}: only the metric judges it." for sentence in accuracy.resized]
    own = "In the model's own framework the same precision puts output"
    return texts + [f"{own} {errors.name!r} {errors.normalised_l2:.2g} away." for errors in _in_framework(accuracy)]


def _errors_text(errors: OutputErrors) -> str:
    snr = "" if errors.snr_db is None else f", SNR {errors.snr_db:.1f} dB"
    return (
        f"Output {errors.name!r}: normalised L2 {errors.normalised_l2:.2g}, cosine {errors.cosine:.6f}{snr}, "
        f"largest error {errors.max_abs:.3g} absolute, {errors.max_rel:.3g} relative."
    )


def _flips_text(lost: int, gained: int, samples: int) -> str:
    return f"Of {samples} answers {lost} went from right to wrong and {gained} from wrong to right."


def _verdict(kind: VerdictKind, summary: str, *details: str) -> Verdict:
    return Verdict(kind=kind, question="accuracy", summary=summary, details=details)
