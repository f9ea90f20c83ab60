"""A model in one precision: compiled, as accurate as the precision allows, really computed in it, and timed."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from pytest_accel.acceptance.finding import Finding
from pytest_accel.acceptance.subject import YARDSTICK
from pytest_accel.check.failed import CheckFailed
from pytest_accel.facts.errors import CompileFailed
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.session.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.check.accel_model import CompiledModel
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.worker.accelerator import Arrays

#: CALIBRATION_SAMPLES is the number of samples that INT8 learns its ranges from.
CALIBRATION_SAMPLES = 32
#: MOST_TIMES is how often a model is measured at most: a neighbour scatters calls once, and a device that does not wait
#: for its results does it each time.
MOST_TIMES = 3
#: _CALIBRATION_SEED makes them others than those that accuracy is judged on.
_CALIBRATION_SEED = 1


def check_yardstick(subject: Subject, precision: str) -> Finding:
    """Hold where the yardstick network passes a check in a precision."""
    return _in_precision(subject, subject.yardstick, YARDSTICK, precision)


def check_resnet50(subject: Subject, precision: str) -> Finding:
    """Hold where ResNet-50 passes a check in a precision."""
    return _in_precision(subject, subject.example("resnet50"), "resnet50", precision)


def _in_precision(subject: Subject, path: Path, name: str, precision: str) -> Finding:
    """Check the model; the hardware may lack any precision but the first, which is the accelerator's own."""
    try:
        return checked(subject, path, name, precision=precision)
    except CompileFailed as error:
        if precision == subject.precisions[0]:
            raise
        return Finding(str(error).partition("\n")[0], outcome="refused")


def checked(subject: Subject, path: Path, name: str, *, precision: str, **options: int) -> Finding:
    """Check a model as a test does, on made-up inputs. Raises what the check raises."""
    needs_data = precision in subject.implementation.calibrated
    data = calibration(subject, path, precision) if needs_data else None
    with subject.opened(precision=precision, **options) as accel_model:
        model = accel_model(path, name=name, calibration=data, calibration_samples=CALIBRATION_SAMPLES)
        return described(_measured(model))


def _measured(model: CompiledModel) -> TestRecord:
    """Check a model, again where its measurement cannot be true."""
    for _ in range(MOST_TIMES - 1):
        try:
            return model.check()
        except CheckFailed as error:
            if error.record.kind != "not-measured":
                raise
    return model.check()


def calibration(subject: Subject, path: Path, precision: str) -> Sequence[Arrays]:
    """Return made-up samples for calibrating a model."""
    model = subject.resolved(path, path.stem)
    signature = Reference(subject.session, model, subject.variant(precision=precision)).signature
    return synthetic(signature, 1, batches=CALIBRATION_SAMPLES, seed=_CALIBRATION_SEED)


def described(record: TestRecord) -> Finding:
    """Return what a check that passed has measured."""
    assert record.measurement is not None  # it has been judged
    placement = record.placement
    computed = ", ".join(f"{count} {name}" for name, count in sorted(placement.precisions.items())) if placement else ""
    state = record.measurement.conditions.device_state
    undecided = [verdict.summary for verdict in record.verdicts if verdict.kind == "inconclusive"]
    numbers = {
        "p50_ms": median(record.measurement.latencies_ns) / 1e6,
        "compile_s": record.measurement.phases.compile_s,
        **{name: value for name, value in state.items() if isinstance(value, int | float)},
    }
    if undecided:
        return Finding(undecided[0], numbers, "inconclusive")
    return Finding(f"p50 {numbers['p50_ms']:.3g} ms; operators: {computed or 'unknown'}", numbers)
