"""A baseline is saved, the same model is compared with it, and 5 % more work is seen.

Each of the three is a check of its own, and they are made in this order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
from pytest_accel.acceptance.subject import YARDSTICK
from pytest_accel.check.failed import CheckFailed
from pytest_accel.facts.records import Duet
from pytest_accel.facts.settings import Saving
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.regression.pacemaker import OWN_ARTEFACT, race, side_of
from pytest_accel.verdict.gate import Gate

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.facts.records import Ratio, TestRecord

#: MORE_WORK is the work that is added to each call, as a share of its time.
MORE_WORK = 0.05
#: TOLERATED is the regression that is tolerated, so that the work is twice as much, as in the self-test.
TOLERATED = MORE_WORK / 2


def check_saved_baseline(subject: Subject) -> Finding:
    """Hold where a check saves a baseline."""
    with subject.with_settings(save=Saving("all")) as saving:
        record = _check(saving)
    if record.kind == "inconclusive":
        return Finding(record.baseline, outcome="inconclusive")
    if not record.baseline.endswith(" saved"):
        raise Broken(record.baseline or "no baseline was saved, and nothing says why")
    return Finding(record.baseline)


def check_unchanged(subject: Subject) -> Finding:
    """Hold where the same model is not called slower than its baseline."""
    try:
        record = _check(subject)
    except CheckFailed as error:
        record = error.record
    if record.ratio is None:
        raise NotApplicable("there is no baseline to compare with: the check before this one has saved none")
    (kind,) = {verdict.kind for verdict in record.verdicts if verdict.question == "regression"} or {"inconclusive"}
    if kind == "regressed":
        raise Broken(f"the same artefact is called slower: {_said(record.ratio)}")
    return Finding(_said(record.ratio), _numbers(record.ratio), "inconclusive" if kind == "inconclusive" else "held")


def check_more_work(subject: Subject) -> Finding:
    """Hold where the model is called slower than itself once each of its calls does 5 % more work."""
    gate = Gate(max_regression=TOLERATED, confidence=subject.session.settings.confidence)
    with subject.alone():
        candidate = subject.compiled_yardstick()
        with candidate.load_shared() as loaded:
            batches = synthetic(loaded.signature, candidate.variant.batch_size)
        side = side_of(candidate, batches)
        title = f"comparing {candidate} with {MORE_WORK:.0%} more work"
        launches = race(replace(side, extra_work=MORE_WORK), side, gate, title=title)
    ratio = gate.ratio(Duet(pacemaker=OWN_ARTEFACT, pacemaker_digest=candidate.artefact.key, launches=launches))
    decision = gate.decide(ratio)
    if ratio is None or decision == "inconclusive":
        return Finding(f"not decided: {_said(ratio) if ratio else 'every launch was disturbed'}", {}, "inconclusive")
    if decision != "regressed":
        raise Broken(f"{MORE_WORK:.0%} more work is not seen: {_said(ratio)}")
    return Finding(_said(ratio), _numbers(ratio))


def _check(subject: Subject) -> TestRecord:
    with subject.opened() as accel_model:
        return accel_model(subject.yardstick, name=YARDSTICK).check()


def _said(ratio: Ratio) -> str:
    return f"{ratio.estimate:.3f} [{ratio.lower:.3f}, {ratio.upper:.3f}] times the time, {ratio.launches} launches"


def _numbers(ratio: Ratio) -> dict[str, float]:
    return {"ratio": ratio.estimate, "launches": ratio.launches, "smallest_caught": ratio.smallest_caught}
