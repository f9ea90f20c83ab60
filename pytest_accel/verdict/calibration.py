"""Is the error what the precision has to cost? Above all: did the calibration data serve the model well?

Top-1 and a fixed distance can both hide that they did not: few answers are close enough to change, and an error usual
for INT8 can be many times what this model has to pay. So the error is held against the control's, which has learnt its
ranges from the evaluation data. And few samples do not know a range, however well they happened to do on these data.
Without ranges to learn, the control is the model's own framework in that precision, and judged where a limit is given:
how much of a graph a framework leaves in FP32 is its own choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel import stats
from pytest_accel.facts.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Budgets

#: DEFAULT_MAX_ERROR_RATIO is the largest error, as a multiple of the control's. Other samples of the same kind were
#: seen to give up to 1.3, and two controls to differ by 1.4; ranges three times too wide gave 2.3, ranges twenty times
#: too wide 5 and 17.
DEFAULT_MAX_ERROR_RATIO = 2.0
#: LEAST_COVERED is the share of unseen samples that the ranges have to be known to hold for: below, nothing was learnt
#: at all.
LEAST_COVERED = 0.5
#: COVERED is the share of unseen samples that is enough to decide.
COVERED = 0.9


def judge_calibration(accuracy: Accuracy, budgets: Budgets, *, confidence: float) -> list[Verdict]:
    """Judge the error beside the control's and the number of samples; empty where neither was learnt nor asked for."""
    ratio = None if accuracy.unrepeatable else accuracy.error_ratio
    verdicts = []
    if ratio is not None and (accuracy.calibration_samples is not None or budgets.max_error_ratio is not None):
        verdicts.append(_judge_ratio(ratio, accuracy, budgets.max_error_ratio))
    elif budgets.max_error_ratio is not None:
        reason = accuracy.unrepeatable or (
            "it needs a precision that learns its ranges or that the model's own framework has too, and data"
        )
        summary = f"max_error_ratio={budgets.max_error_ratio:g} is not judged: {reason}."
        verdicts.append(_verdict("inconclusive", summary))
    if accuracy.calibration_samples is not None:
        verdicts += _judge_samples(accuracy.calibration_samples, confidence)
    return verdicts


def _judge_ratio(ratio: float, accuracy: Accuracy, given: float | None) -> Verdict:
    limit = DEFAULT_MAX_ERROR_RATIO if given is None else given
    label = "default max_error_ratio" if given is None else "max_error_ratio"
    calibrated = accuracy.calibration_samples is not None
    control_is = "the same variant with ranges learnt from the evaluation data"
    if not calibrated:
        control_is = "the same precision in the model's own framework"
    summary = f"The error is {ratio:.3g} times that of {control_is}, {label} {limit:g}."
    control = {errors.name: errors.normalised_l2 for errors in accuracy.control}
    details = [
        f"Output {errors.name!r} is {errors.normalised_l2:.2g} away from the reference's (normalised L2), "
        f"the control's {control[errors.name]:.2g}."
        for errors in accuracy.outputs
        if errors.name in control
    ]
    kind: VerdictKind = "pass" if ratio <= limit else "inaccurate"
    if kind == "inaccurate" and calibrated:
        details.append("Calibrate with more samples, preprocessed like those to be served.")
    return _verdict(kind, summary, *details)


def _judge_samples(samples: int, confidence: float) -> list[Verdict]:
    least, enough = (stats.required_samples(share, confidence) for share in (LEAST_COVERED, COVERED))
    if samples >= enough:
        return []
    # The largest of n values lies over the p-quantile with probability 1 - p^n.
    covered = (1.0 - confidence) ** (1.0 / samples)
    summary = (
        f"Calibrated with {samples} distinct sample{'s' if samples > 1 else ''}: it is only certain "
        f"({100 * confidence:.4g} %) that the ranges hold for {100 * covered:.1f} % of unseen samples; {enough} are "
        f"enough for {COVERED:.0%}."
    )
    return [_verdict("inaccurate" if samples < least else "inconclusive", summary)]


def _verdict(kind: VerdictKind, summary: str, *details: str) -> Verdict:
    return Verdict(kind=kind, question="accuracy", summary=summary, details=details)
