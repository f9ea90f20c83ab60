"""Is the compiled model still right? Its outputs beside the reference's, on the same samples.

What INT8 costs differs from model to model, so no fixed error is too large. A model that learnt its ranges from
calibration data is therefore held against a control too: the same variant that learnt them from the evaluation data. It
is no candidate, since it has seen the exam, but it shows what good calibration data would have reached. For another
precision the control is the model in its own framework, where that has the precision on the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.facts.records import OutputErrors
from pytest_accel.inputs.calibration import choose_from
from pytest_accel.measuring.output_comparison import Comparison
from pytest_accel.session.compilation import compile_candidate, renamed, running
from pytest_accel.session.reference import reference_outputs, reference_variant
from pytest_accel.store.cache import artefact_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_accel.facts.records import Accuracy, Variant
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.inputs.models import Model
    from pytest_accel.measuring.output_comparison import Metric
    from pytest_accel.session.compilation import Candidate, Running
    from pytest_accel.session.session import Session

_ERRORS = "errors.json"


def evaluate(session: Session, candidate: Candidate, now: Running, dataset: Dataset, metric: Metric | None) -> Accuracy:
    """Run the whole dataset through the candidate and compare with the reference, sample by sample.

    Raises `DatasetError` when some of the samples were calibrated with.
    """
    if candidate.calibration is not None:
        candidate.calibration.require_disjoint(dataset)
    doing = f"checking the accuracy of {candidate.model.name} on {candidate.variant.id}"
    accuracy = _compared(session, candidate, now, dataset, metric, doing)
    if candidate.calibration is None:
        return msgspec.structs.replace(accuracy, control=_errors_in_framework(session, candidate, dataset))
    return msgspec.structs.replace(
        accuracy,
        calibration_samples=len(candidate.calibration.rows),
        # Ranges learnt from noise say nothing about those of real data.
        control=() if dataset.made_up else _control_errors(session, candidate, dataset),
    )


def _compared(
    session: Session, candidate: Candidate, now: Running, dataset: Dataset, metric: Metric | None, doing: str
) -> Accuracy:
    expected = reference_outputs(session, candidate.model, candidate.variant, dataset)
    comparison = Comparison(metric=metric)
    at = 0
    for batch in dataset:
        reference = {name: rows[at : at + batch.rows] for name, rows in expected.items()}
        (inputs,) = renamed([batch.inputs], now.signature)
        comparison.add(now.launch.predict(inputs), reference, batch.labels, batch.rows)
        at += batch.rows
        session.tell(doing, f"{at} of {dataset.samples} samples", share=at / dataset.samples)
    return comparison.result(dataset.digest)


def _errors_in_framework(session: Session, candidate: Candidate, dataset: Dataset) -> tuple[OutputErrors, ...]:
    """What the outputs are off by in the reference's framework in the candidate's precision; none for its own."""
    model, variant = candidate.model, candidate.variant
    reference, precision = reference_variant(session, model, variant), variant.options["precision"]
    if reference.accelerator == variant.accelerator or reference.options["precision"] == precision:
        return ()
    if precision not in session.registry.find(reference.accelerator).options()["precision"].choices:
        return ()
    control = msgspec.structs.replace(reference, options={**reference.options, "precision": precision})

    def build(folder: Path) -> None:
        compiled = compile_candidate(session, model, control)
        with running(session, control.accelerator, compiled.folder, control.options) as its:
            doing = f"finding out what {precision} costs {model.name} on {control.accelerator}"
            accuracy = _compared(session, compiled, its, dataset, None, doing)
        (folder / _ERRORS).write_bytes(msgspec.json.encode(accuracy.outputs))

    try:
        return _kept_errors(session, model, control, dataset, build)
    except CompileFailed:  # this machine has not got the precision in the framework
        return ()


def _control_errors(session: Session, candidate: Candidate, dataset: Dataset) -> tuple[OutputErrors, ...]:
    """What the outputs of the same variant are off by when it learns its ranges from the evaluation data."""
    model, variant = candidate.model, candidate.variant

    def build(folder: Path) -> None:
        session.tell(f"learning the ranges of {model.name} anew, from the evaluation data")
        batch_size = int(variant.options["batch_size"] or 1)
        control = compile_candidate(session, model, variant, choose_from(dataset, batch_size=batch_size))
        with running(session, variant.accelerator, control.folder, variant.options) as its:
            doing = f"finding out what {variant.options['precision']} costs {model.name}"
            accuracy = _compared(session, control, its, dataset, None, doing)
        (folder / _ERRORS).write_bytes(msgspec.json.encode(accuracy.outputs))

    return _kept_errors(session, model, variant, dataset, build)


def _kept_errors(
    session: Session, model: Model, variant: Variant, dataset: Dataset, build: Callable[[Path], None]
) -> tuple[OutputErrors, ...]:
    """The errors of a control: computed once for a variant and a dataset, and kept in the cache."""
    key = artefact_key(
        model.digest,
        f"control of {variant.accelerator}",
        variant.options,
        versions=session.versions(variant.accelerator),
        hardware=session.hardware(variant.accelerator),
        calibration_digest=dataset.digest,
    )
    entry = session.cache.entry(key, build, label=f"control of {model.name} for {variant.id}")
    return msgspec.json.decode((entry.path / _ERRORS).read_bytes(), type=tuple[OutputErrors, ...])
