"""Is the compiled model still right? Its outputs beside the reference's, on the same samples.

What INT8 costs differs from model to model, so no fixed error is too large. A model that learnt its ranges from
calibration data is therefore held against a control too: the same variant that learnt them from the evaluation data. It
is no candidate, since it has seen the exam, but it shows what good calibration data would have reached. For another
precision the control is the model in its own framework, where that has the precision on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.facts.records import OutputErrors
from pytest_accel.inputs.calibration import choose_from
from pytest_accel.measuring.output_comparison import Comparison
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference
from pytest_accel.store.cache import cache_key

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Variant
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.inputs.models import Model
    from pytest_accel.measuring.metric_of_calls import Metric
    from pytest_accel.session.candidate import Candidate, LoadedModel
    from pytest_accel.session.session import Session


def evaluate(loaded: LoadedModel, dataset: Dataset, metric: Metric | None) -> Accuracy:
    """Run the whole dataset through a candidate and compare it with the reference, sample by sample.

    Raises `DatasetError` when some of the samples were calibrated with.
    """
    candidate = loaded.candidate
    if candidate.calibration is not None:
        candidate.calibration.require_disjoint(dataset)
    accuracy = _compare(loaded, dataset, metric, f"checking the accuracy of {candidate}")
    if candidate.calibration is None:
        control = _in_framework(candidate)
        return msgspec.structs.replace(accuracy, control=control.errors(dataset) if control is not None else ())
    return msgspec.structs.replace(
        accuracy,
        calibration_samples=len(candidate.calibration.rows),
        # Ranges learnt from noise say nothing about those of real data.
        control=() if dataset.made_up else _well_calibrated(candidate).errors(dataset),
    )


def predict(loaded: LoadedModel, candidate: Candidate, dataset: Dataset, metric: Metric | None) -> Accuracy:
    """Compare with the candidate's reference what another runtime computes: ``loaded`` is the file that was compiled.

    There is no control, which only the candidate's own device has. Raises `DatasetError` as `evaluate` does.
    """
    if candidate.calibration is not None:
        candidate.calibration.require_disjoint(dataset)
    step = f"predicting the accuracy of {candidate}"
    accuracy = _compare(loaded, dataset, metric, step, reference=Reference.of(candidate))
    samples = len(candidate.calibration.rows) if candidate.calibration is not None else None
    return msgspec.structs.replace(accuracy, calibration_samples=samples)


def _compare(
    loaded: LoadedModel,
    dataset: Dataset,
    metric: Metric | None,
    step: str,
    *,
    reference: Reference | None = None,
) -> Accuracy:
    """Run the dataset through a loaded model, and compare it with its own reference where no other is given."""
    candidate, session = loaded.candidate, loaded.session
    expected = (reference or Reference.of(candidate)).outputs(dataset)
    layout = expected.layout
    comparison = Comparison(
        metric, confidence=session.settings.confidence, axes=layout.axes, varying=frozenset(layout.varying)
    )
    done = 0
    calls = expected.calls(candidate.variant.batch_size)
    for batch in dataset:
        of_reference = next(calls, None)
        if of_reference is None:
            continue  # the dataset has grown since, and says so when it ends
        comparison.add(loaded.predict(batch.inputs), of_reference, batch.labels, batch.rows)
        done += batch.rows
        session.tell(step, f"{done} of {dataset.samples} samples", share=done / dataset.samples)
    accuracy = comparison.result(dataset.digest)
    return msgspec.structs.replace(accuracy, unrepeatable=layout.unrepeatable, varying=layout.varying)


@dataclass(frozen=True)
class _Control:
    """A model whose errors show what a candidate's precision costs at best. Progress calls running it ``step``."""

    session: Session
    model: Model
    variant: Variant
    calibrated: bool
    step: str

    def errors(self, dataset: Dataset) -> tuple[OutputErrors, ...]:
        """Return what each output is off by; computed once for a variant and a dataset, and kept in the cache.

        Empty where this machine cannot compile the control.
        """
        name = self.variant.accelerator
        key = cache_key(
            "control",
            model=self.model.digest,
            accelerator=name,
            options=self.variant.options,
            versions=self.session.versions(name),
            hardware=self.session.hardware(name).fingerprint,
            code=self.session.code_digest(name),
            dataset=dataset.digest,
        )
        label = f"control of {self.model.name} for {self.variant.id}"
        try:
            return self.session.cache.value(key, tuple[OutputErrors, ...], partial(self._measure, dataset), label=label)
        except CompileFailed:
            if self.calibrated:
                raise
            return ()

    def _measure(self, dataset: Dataset) -> tuple[OutputErrors, ...]:
        with self._compile(dataset).load() as loaded:
            return _compare(loaded, dataset, None, self.step).outputs

    def _compile(self, dataset: Dataset) -> Candidate:
        if not self.calibrated:
            return compile_candidate(self.session, self.model, self.variant)
        self.session.tell(f"learning the ranges of {self.model.name} anew, from the evaluation data")
        calibration = choose_from(dataset, batch_size=self.variant.batch_size)
        return compile_candidate(self.session, self.model, self.variant, calibration)


def _in_framework(candidate: Candidate) -> _Control | None:
    """Return the model in its own framework, in the candidate's precision; None where that is no other model."""
    session, model, variant = candidate.session, candidate.model, candidate.variant
    reference = Reference.of(candidate).variant
    precisions = session.registry.find(reference.accelerator).options()["precision"].choices
    if reference.accelerator == variant.accelerator or variant.precision not in precisions:
        return None
    if reference.precision == variant.precision:
        return None
    control = msgspec.structs.replace(reference, options={**reference.options, "precision": variant.precision})
    step = f"finding out what {variant.precision} costs {model.name} on {control.accelerator}"
    return _Control(session, model, control, calibrated=False, step=step)


def _well_calibrated(candidate: Candidate) -> _Control:
    """Return the same variant, which learns its ranges from the evaluation data."""
    step = f"finding out what {candidate.variant.precision} costs {candidate.model.name}"
    return _Control(candidate.session, candidate.model, candidate.variant, calibrated=True, step=step)
