"""The answers: from records to verdicts, each one sentence that a user can act on.

Every function here is pure: facts in, verdicts out. An empty list means that a question was not asked, and a check
without any verdict counts as not measured, so that nothing passes silently. The statistics live in `stats`, the
decision about regressions in `gate`.
"""

from __future__ import annotations

from pytest_accel.facts.verdicts import FAILING, UNDECIDED, VerdictKind
from pytest_accel.verdict.accuracy import judge_accuracy, score_beside_reference
from pytest_accel.verdict.calibration import judge_calibration
from pytest_accel.verdict.compiled import Compiled, as_prediction, judge_since, judged_without_running, not_run
from pytest_accel.verdict.measurement import judge_measurement
from pytest_accel.verdict.operators import OperatorComparison, operators_unknown, slower_operators
from pytest_accel.verdict.placement import judge_placement, peak_flops
from pytest_accel.verdict.plausibility import disturbances, uneven_load
from pytest_accel.verdict.regression import (
    attribution,
    interval,
    judge_creep,
    judge_regression,
    left_out,
    no_anchor,
    no_baseline,
    no_pacemaker,
    other_pacemaker,
    times,
    with_anchor,
    with_baseline,
)
from pytest_accel.verdict.resources import judge_resources, peak_memory_mb
from pytest_accel.verdict.sla import further_calls, judge_sla, throughput_bounds

__all__ = [
    "Compiled",
    "OperatorComparison",
    "as_prediction",
    "attribution",
    "disturbances",
    "fails",
    "further_calls",
    "interval",
    "judge_accuracy",
    "judge_calibration",
    "judge_creep",
    "judge_measurement",
    "judge_placement",
    "judge_regression",
    "judge_resources",
    "judge_since",
    "judge_sla",
    "judged_without_running",
    "left_out",
    "no_anchor",
    "no_baseline",
    "no_pacemaker",
    "not_run",
    "operators_unknown",
    "other_pacemaker",
    "peak_flops",
    "peak_memory_mb",
    "score_beside_reference",
    "slower_operators",
    "throughput_bounds",
    "times",
    "uneven_load",
    "with_anchor",
    "with_baseline",
]


def fails(kind: VerdictKind, strict: bool) -> bool:
    """Return whether a test with this verdict fails; what is undecided fails under ``--accel-strict``."""
    return kind in FAILING or (strict and kind in UNDECIDED)
