"""The check of a model that is compiled and not run: what the artefact tells is judged, compared and saved.

Nothing is loaded on the device, so the device need not be here. Its verdict says that nothing was run.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pytest_accel import verdict
from pytest_accel.check.saving import claim, saved
from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Budgets, TestRecord
from pytest_accel.inputs.variants import with_defaults
from pytest_accel.measuring.prediction import Prediction, predict_accuracy
from pytest_accel.session.baseline_owners import BaselineOwner
from pytest_accel.session.reference import Reference
from pytest_accel.store.baseline import make_compiled_baseline
from pytest_accel.store.changes import changes_of_compiled

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.measuring.metric_of_calls import Metric
    from pytest_accel.processes.client import Inspection
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.store.baseline import CompiledBaseline


class CompileOnlyCheck:
    """One check of a compiled model that is not run."""

    def __init__(self, candidate: Candidate, *, plan: Plan, budgets: Budgets, test: str) -> None:
        self._candidate = candidate
        self._session = candidate.session
        self._plan = plan
        self._budgets = with_defaults(budgets, candidate.session.settings.budgets)
        self._test = test

    def run(self, data: Any, metric: Metric | None) -> TestRecord:
        """Judge what the artefact tells, save a baseline if this run is asked to, and return the record of it."""
        candidate = self._candidate
        self._session.tell(f"inspecting {candidate}")
        client = self._session.shared_client(candidate.variant.accelerator)
        inspection = client.inspect(candidate.folder, candidate.variant.options)
        prediction = self._predict(inspection, data, metric)
        accuracy = prediction.accuracy
        self._claim_baseline("" if accuracy is None else accuracy.dataset_digest)
        compiled = verdict.Compiled(candidate.artefact, inspection.placement, accuracy)
        return self._saved(self._record(compiled, self._judge(compiled, prediction)))

    def _predict(self, inspection: Inspection, data: Any, metric: Metric | None) -> Prediction:
        if inspection.model is None:
            return Prediction(why_not="what was compiled is no file that runs here")
        return predict_accuracy(self._candidate, inspection.model, data, metric, input_shapes=self._plan.input_shapes)

    def _judge(self, compiled: verdict.Compiled, prediction: Prediction) -> tuple[Verdict, ...]:
        """Ask every question that can be asked without running, and say that nothing was run."""
        candidate, baseline = self._candidate, self._baseline
        budgets = verdict.judged_without_running(self._budgets, compiled)
        return (
            *self._judge_placement(compiled, budgets),
            *self._judge_prediction(compiled, prediction, budgets),
            *verdict.judge_resources(budgets, measurement=None, artefact=candidate.artefact),
            *(self._without_baseline() if baseline is None else [self._judge_since(baseline, compiled)]),
            verdict.not_run(
                compiled,
                self._budgets,
                compiled_for=candidate.compiled_for,
                cached=candidate.cached,
                unpredicted=prediction.why_not,
            ),
        )

    def _judge_placement(self, compiled: verdict.Compiled, budgets: Budgets) -> list[Verdict]:
        variant = self._candidate.variant
        if compiled.placement is None:
            return []
        return verdict.judge_placement(
            compiled.placement,
            budgets,
            precision=variant.precision,
            source=self._source_precisions,
            named="precision" in variant.named,
            baseline=self._baseline.placement if self._baseline is not None else None,
            timed=False,
        )

    def _judge_prediction(self, compiled: verdict.Compiled, prediction: Prediction, budgets: Budgets) -> list[Verdict]:
        if compiled.prediction is None:
            return []
        precision = self._candidate.variant.precision
        observed = compiled.placement.precisions if compiled.placement is not None else {}
        judged = verdict.judge_accuracy(
            compiled.prediction,
            budgets,
            confidence=self._session.settings.confidence,
            # The reference is no finer than the model itself.
            precisions={**dict.fromkeys(self._source_precisions, 1), **(observed or {precision: 1})},
            baseline=self._baseline.prediction if self._baseline is not None else None,
            has_baseline=self._baseline is not None,
        )
        return verdict.as_prediction(judged, prediction.runtime)

    def _judge_since(self, baseline: CompiledBaseline, compiled: verdict.Compiled) -> Verdict:
        return verdict.judge_since(
            verdict.Compiled(baseline.artefact, baseline.placement, baseline.prediction),
            compiled,
            saved=baseline.saved,
            other_machine=baseline.hardware.fingerprint != self._candidate.hardware.fingerprint,
        )

    def _without_baseline(self) -> list[Verdict]:
        candidate, baselines = self._candidate, self._session.compiled_baselines
        elsewhere = baselines.elsewhere(candidate.model.name, candidate.variant.id)
        return verdict.no_baseline(candidate.compiled_for, elsewhere)

    @cached_property
    def _source_precisions(self) -> Sequence[str]:
        """The precisions that the uncompiled model has itself, none where this machine has no reference to ask."""
        try:
            return Reference.of(self._candidate).precisions
        except UsageError:
            return ()

    @property
    def _kept_as(self) -> tuple[str, str, str]:
        """What the baseline is kept for, and the names of the model and the variant."""
        candidate = self._candidate
        return candidate.compiled_for, candidate.model.name, candidate.variant.id

    @cached_property
    def _baseline(self) -> CompiledBaseline | None:
        return self._session.compiled_baselines.find(*self._kept_as)

    def _claim_baseline(self, dataset_digest: str) -> None:
        """Require that nobody uses the same baseline for something else, where there is or will be one."""
        session = self._session
        owner = BaselineOwner(self._test, self._candidate.model.digest, dataset_digest)
        compared = session.compiled_baselines if self._baseline is not None else None
        claim(session, owner, self._kept_as, compared=compared, saved=session.saved_compiled_baselines)

    def _record(self, compiled: verdict.Compiled, verdicts: tuple[Verdict, ...]) -> TestRecord:
        candidate = self._candidate
        record = TestRecord(
            test=self._test,
            model=candidate.model.name,
            variant=candidate.variant,
            budgets=self._budgets,
            hardware=candidate.hardware,
            versions=candidate.versions,
            verdicts=verdicts,
            artefact=compiled.artefact,
            placement=compiled.placement,
            compiled_for=candidate.compiled_for,
            prediction=compiled.prediction,
            provenance=self._session.provenance,
            host=self._session.settings.host_name(candidate.variant.accelerator),
        )
        if self._baseline is None:
            return record
        return replace(record, changes=changes_of_compiled(self._baseline, record))

    def _saved(self, record: TestRecord) -> TestRecord:
        """Save this check as the baseline where the run asks for that; the record says whether it was."""
        folder = self._session.saved_compiled_baselines

        def make(today: datetime.date, because: str) -> CompiledBaseline:
            return make_compiled_baseline(record, today=today, because=because)

        return saved(record, self._session, folder, self._kept_as, compared=self._baseline, make=make)
