"""The story of one check, top to bottom: evaluate, measure, compare, judge, save."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgspec

from pytest_accel import verdict
from pytest_accel.check.resume_key import check_key
from pytest_accel.check.saving import claim, saved
from pytest_accel.facts.errors import UnfitInput, UsageError
from pytest_accel.facts.records import Budgets, Creep, TestRecord
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.synthetic import describe_made_up
from pytest_accel.inputs.variants import with_defaults
from pytest_accel.measuring.accuracy import evaluate
from pytest_accel.measuring.divergence import describe_divergence, first_divergence
from pytest_accel.measuring.highest_rate import HALVINGS, search
from pytest_accel.measuring.latency import Load, Steady, planned_calls
from pytest_accel.measuring.output_comparison import first_difference
from pytest_accel.regression.pacemaker import YARDSTICK, yardstick_pace
from pytest_accel.regression.question import Anchor, Contest
from pytest_accel.session.baseline_owners import BaselineOwner
from pytest_accel.session.reference import Reference
from pytest_accel.store.baseline import differs, make_baseline
from pytest_accel.store.changes import changes_since
from pytest_accel.worker.accelerator import Present

if TYPE_CHECKING:
    import datetime

    from pytest_accel.facts.records import Accuracy, Duet, Measurement, Placement, Signature
    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.measuring.divergence import Divergence
    from pytest_accel.measuring.metric_of_calls import Metric
    from pytest_accel.measuring.results import HighestRate
    from pytest_accel.regression.question import Standing
    from pytest_accel.session.candidate import LoadedModel
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.worker.accelerator import Arrays

#: ROTATION is the number of distinct inputs that timed calls rotate among.
ROTATION = 4
#: LOOKS is the number of looks at a measurement: it is extended at most once and looked at again, so each look spends
#: half of the error.
LOOKS = 2
#: SERVER_CALLS_FACTOR is how many times the calls a server gets: its slow calls come in clusters, because one that
#: waits makes the next ones wait.
SERVER_CALLS_FACTOR = 3


@dataclass(frozen=True)
class CheckFacts:
    """What was found out; all that judging needs."""

    accuracy: Accuracy
    measurement: Measurement
    difference: str
    placement: Placement
    source_precisions: Sequence[str]
    standing: Standing


_Answer = TypeVar("_Answer")
_More = ParamSpec("_More")


def explains_made_up(
    method: Callable[Concatenate[Check, Any, _More], _Answer],
) -> Callable[Concatenate[Check, Any, _More], _Answer]:
    """Let an error about the values of inputs say that they are made up, where the test has given no data."""

    @functools.wraps(method)
    def explaining(self: Check, data: Any, /, *more: _More.args, **named: _More.kwargs) -> _Answer:
        try:
            return method(self, data, *more, **named)
        except UnfitInput as error:
            if data is not None:
                raise
            message = f"{error}. {describe_made_up(self.signature)}"
            raise UnfitInput(message, phase=error.phase, details=error.details) from error.__cause__

    return explaining


class Check:
    """One check of a loaded model. The parts can be used alone and judge nothing."""

    def __init__(self, loaded: LoadedModel, *, plan: Plan, budgets: Budgets, test: str) -> None:
        self._loaded = loaded
        self._candidate = loaded.candidate
        self._session = loaded.session
        self._plan = plan
        self._budgets = with_defaults(budgets, loaded.session.settings.budgets)
        self._test = test

    @explains_made_up
    def run(self, data: Any, metric: Metric | None) -> TestRecord:
        """Do it all, save a baseline if this run is asked to, and return the record of it.

        What an interrupted run had finished is taken over from it.
        """
        dataset = self._open(data)
        key = check_key(
            self._candidate,
            self._plan,
            self._budgets,
            test=self._test,
            metric=metric,
            baseline=self._baseline,
            anchor=self._anchor.baseline,
        )
        if (known := self._session.finished.take(key, lambda: dataset.digest)) is not None:
            self._claim_baseline(dataset.digest)
            return known
        batches = _first(dataset)
        steady = self._steady(batches)
        accuracy = evaluate(self._loaded, dataset, metric)
        self._claim_baseline(accuracy.dataset_digest)
        measurement, difference = self._measure(steady, batches, accuracy.varying)
        placement, flops_per_call = self._loaded.placement()
        flops_per_item = None if flops_per_call is None else flops_per_call / measurement.items_per_call
        facts = CheckFacts(
            accuracy=accuracy,
            measurement=msgspec.structs.replace(measurement, flops_per_item=flops_per_item),
            difference=difference,
            placement=placement,
            source_precisions=Reference.of(self._candidate).precisions,
            standing=self._stand(measurement, batches),
        )
        record = msgspec.structs.replace(self._with_divergence(self._record(facts), dataset), key=key)
        return self._saved(self._with_pace(record, batches), batches)

    @explains_made_up
    def evaluate(self, data: Any, metric: Metric | None) -> Accuracy:
        """Accuracy beside the reference."""
        return evaluate(self._loaded, self._open(data), metric)

    @explains_made_up
    def first_divergence(self, data: Any) -> Divergence | None:
        """Return where the model starts to differ from FP32."""
        return first_divergence(self._loaded, self._open(data))

    @explains_made_up
    def measure(self, data: Any, calls: int | None) -> Measurement:
        """Latency in the steady state."""
        steady = self._steady(_first(self._open(data)))
        return steady.measure(calls or self._planned_calls)

    @explains_made_up
    def highest_rate(self, data: Any) -> HighestRate:
        """Return the highest rate of calls at which a server keeps the latency limits; judges nothing."""
        name, confidence = self._candidate.variant.accelerator, self._session.settings.confidence
        if not self._session.registry.find(name).concurrent:
            raise UsageError(f"max_rate needs an accelerator whose calls can arrive at any time, which {name} is not")
        if not self._budgets.latency_limits_ms:
            raise UsageError("max_rate needs a latency limit to keep, for example max_rate(p99_ms=15)")
        load = Load.of(self._candidate.variant, _first(self._open(data)))
        flat_out = replace(load, shape="multi_stream", rate=None)
        steady = Steady(self._loaded, flat_out)
        capacity = steady.measure(self._planned_calls).throughput / flat_out.items_per_call

        def serve(rate: float) -> Measurement:
            return self._decisive(steady, replace(flat_out, shape="server", rate=rate), LOOKS * HALVINGS)

        return search(serve, capacity=capacity, budgets=self._budgets, confidence=confidence, looks=LOOKS)

    @property
    def signature(self) -> Signature:
        """What the candidate takes and gives."""
        return self._loaded.signature

    def _open(self, data: Any) -> Dataset:
        return open_dataset(
            data,
            self.signature,
            batch_size=self._candidate.variant.batch_size,
            input_shapes=self._plan.input_shapes,
        )

    def _steady(self, batches: Sequence[Arrays]) -> Steady:
        variant = self._candidate.variant
        if variant.load_shape == "server" and variant.rate is None:
            raise UsageError(
                "load_shape='server' needs to know how many calls arrive a second, for example rate=100; "
                "max_rate(p99_ms=...) looks for the highest rate that can be served"
            )
        return Steady(self._loaded, Load.of(variant, batches))

    @property
    def _planned_calls(self) -> int:
        return planned_calls(self._budgets, self._session.settings.confidence, LOOKS)

    def _measure(self, steady: Steady, batches: Sequence[Arrays], varying: Collection[str]) -> tuple[Measurement, str]:
        """Measure. The text says how the outputs of checked calls differed from validated ones, but for the varying."""
        validated = [self._loaded.client.predict(batch) for batch in batches]
        measurement = self._decisive(steady, Load.of(self._candidate.variant, batches), LOOKS)
        differences = (first_difference(validated[call.batch], call.outputs, varying) for call in steady.checked)
        return measurement, next(filter(None, differences), "")

    def _decisive(self, steady: Steady, load: Load, looks: int) -> Measurement:
        """Measure, and extend once where that could decide an SLA."""
        confidence = self._session.settings.confidence
        planned = planned_calls(self._budgets, confidence, looks)
        if load.shape == "server":
            planned *= SERVER_CALLS_FACTOR
        measurement = steady.measure(planned, load)
        more = verdict.further_calls(measurement, self._budgets, confidence=confidence, looks=looks)
        return steady.extend(measurement, more, load) if 0 < more <= planned else measurement

    @property
    def _kept_as(self) -> tuple[str, str, str]:
        """What the baseline is kept for, and the names of the model and the variant."""
        candidate = self._candidate
        return candidate.hardware.fingerprint, candidate.model.name, candidate.variant.id

    @cached_property
    def _baseline(self) -> Baseline | None:
        return self._session.baselines.find(*self._kept_as)

    @cached_property
    def _anchor(self) -> Anchor:
        """What creep is judged by. It is looked for only where somebody has set a limit."""
        session = self._session
        if self._budgets.max_creep is None or not session.anchor:
            return Anchor("")
        return Anchor(session.anchor, session.anchored_baselines.find(*self._kept_as))

    def _claim_baseline(self, dataset_digest: str) -> None:
        """Require that nobody uses the same baseline for something else, where there is or will be one."""
        session = self._session
        if session.settings.against is not None:
            return
        owner = BaselineOwner(self._test, self._candidate.model.digest, dataset_digest)
        compared = session.baselines if self._baseline is not None else None
        claim(session, owner, self._kept_as, compared=compared, saved=session.saved_baselines)

    def _stand(self, measurement: Measurement, batches: Sequence[Arrays]) -> Standing:
        if self._candidate.is_exclusive:  # the launches of a comparison need what this worker has
            self._loaded.release()
        contest = Contest(self._candidate, batches, measurement, self._budgets)
        return contest.stand(self._baseline, self._anchor)

    def _judge(self, facts: CheckFacts) -> tuple[Verdict, ...]:
        """Ask every question that can be asked, accuracy first: a fast wrong answer is worthless."""
        precision, confidence = self._candidate.variant.precision, self._session.settings.confidence
        stored = self._baseline.accuracy if self._baseline is not None else None
        return (
            *verdict.judge_measurement(
                facts.measurement,
                peak_flops=self._peak_flops(facts.placement),
                difference=facts.difference,
                asked=self._candidate.variant.options,
                identity=self._candidate.hardware.identity,
            ),
            *verdict.judge_placement(
                facts.placement,
                self._budgets,
                precision=precision,
                source=facts.source_precisions,
                named="precision" in self._candidate.variant.named,
                baseline=self._placement_to_keep,
            ),
            *verdict.judge_accuracy(
                facts.accuracy,
                self._budgets,
                confidence=confidence,
                # The reference is no finer than the model itself.
                precisions={
                    **dict.fromkeys(facts.source_precisions, 1),
                    **(facts.placement.precisions or {precision: 1}),
                },
                baseline=stored,
                has_baseline=self._baseline is not None,
            ),
            *verdict.judge_calibration(facts.accuracy, self._budgets, confidence=confidence),
            *verdict.judge_sla(facts.measurement, self._budgets, confidence=confidence, looks=LOOKS),
            *verdict.judge_resources(self._budgets, measurement=facts.measurement, artefact=self._candidate.artefact),
            *facts.standing.verdicts,
        )

    @property
    def _placement_to_keep(self) -> Placement | None:
        """The placement of the baseline, unless this run replaces it."""
        if self._baseline is None or self._session.settings.replaces_baselines:
            return None
        return self._baseline.placement

    def _peak_flops(self, placement: Placement) -> float | None:
        """Return the most that the device does in the precisions that were observed."""
        variant = self._candidate.variant
        found = self._session.find(variant.accelerator)
        if not isinstance(found, Present):
            return None
        return verdict.peak_flops(found.peak_flops, found.peaks, placement.precisions, asked=variant.precision)

    def _record(self, facts: CheckFacts) -> TestRecord:
        candidate = self._candidate
        standing, compared = facts.standing, facts.standing.compared
        record = TestRecord(
            test=self._test,
            model=candidate.model.name,
            variant=candidate.variant,
            budgets=self._budgets,
            hardware=candidate.hardware,
            versions=candidate.versions,
            verdicts=self._judge(facts),
            artefact=candidate.artefact,
            placement=facts.placement,
            measurement=facts.measurement,
            accuracy=facts.accuracy,
            duet=compared.duet if compared else None,
            ratio=compared.ratio if compared else None,
            changes=standing.differences,
            opponent=standing.opponent,
            provenance=self._session.provenance,
            host=self._session.settings.host_name(candidate.variant.accelerator),
        )
        if standing.opponent:
            return record
        if self._baseline is not None:
            beside = self._baseline.compared(self._session.settings.compare)
            record = msgspec.structs.replace(record, changes=changes_since(self._baseline, record), beside=beside)
        return msgspec.structs.replace(record, creep=self._creep(standing, record))

    def _creep(self, standing: Standing, record: TestRecord) -> Creep | None:
        """Return what has been added up since the anchor, where that was measured."""
        baseline, crept = self._anchor.baseline, standing.crept
        if crept is None or baseline is None:
            return None
        anchor, changes = baseline.compared(self._anchor.name), changes_since(baseline, record)
        return Creep(anchor=anchor, duet=crept.duet, ratio=crept.ratio, changes=changes)

    def _saved(self, record: TestRecord, batches: Sequence[Arrays]) -> TestRecord:
        """Save this run as the baseline where it is asked to, unless it may not become one; the record says which."""
        measurement, folder = record.measurement, self._session.saved_baselines
        if measurement is None:
            return record

        def make(today: datetime.date, because: str) -> Baseline:
            return make_baseline(record, [measurement], self._paces(record, batches), today=today, because=because)

        return saved(record, self._session, folder, self._kept_as, compared=self._baseline, make=make)

    def _paces(self, record: TestRecord, batches: Sequence[Arrays]) -> list[Duet]:
        """Return the candidate's pace beside the yardstick, none for what runs on another machine."""
        if record.pace is not None:
            return [record.pace]
        remote = self._session.registry.find(self._candidate.variant.accelerator).remote
        return [] if remote else [yardstick_pace(self._candidate, batches)]

    def _with_pace(self, record: TestRecord, batches: Sequence[Arrays]) -> TestRecord:
        """Return the record with all that a baseline has, where somebody may accept what differs from the baseline."""
        session = self._session
        if not differs(record) or session.settings.save is not None or not session.settings.keeps_record:
            return record
        if record.duet is not None and record.duet.pacemaker == YARDSTICK:
            return msgspec.structs.replace(record, pace=record.duet)
        return msgspec.structs.replace(record, pace=next(iter(self._paces(record, batches)), None))

    def _with_divergence(self, record: TestRecord, dataset: Dataset) -> TestRecord:
        """Return the record with the first divergence beside an accuracy that fails, where the project asks for it."""
        failing = [answer for answer in record.verdicts if answer.kind == "inaccurate"]
        if not (failing and self._session.settings.first_divergence):
            return record
        sentence = describe_divergence(self._loaded, dataset)
        explained = msgspec.structs.replace(failing[0], details=(*failing[0].details, sentence))
        verdicts = tuple(explained if answer is failing[0] else answer for answer in record.verdicts)
        return msgspec.structs.replace(record, verdicts=verdicts)


def _first(dataset: Dataset) -> list[Arrays]:
    """Return the inputs of the first calls: what timed calls rotate among."""
    # One batch more ends the pass over a small dataset, which then knows its digest.
    return [batch.inputs for batch in islice(dataset, ROTATION + 1)][:ROTATION]
