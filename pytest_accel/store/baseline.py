"""A baseline: what a variant of a model did on a kind of hardware when somebody was content with it.

It holds a summary of each launch instead of its times. What was compiled and not run has a baseline of another kind,
which is never taken for a measured one. Where baselines lie is in `baselines`.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from pytest_accel.facts.errors import BaselineError
from pytest_accel.facts.fact import AtLeastOne, Fact, NotNegative, Positive
from pytest_accel.facts.records import (
    Accuracy,
    Artefact,
    ComparedBaseline,
    Duet,
    Hardware,
    Measurement,
    Placement,
    Provenance,
    Ratio,
    TestRecord,
    Variant,
)
from pytest_accel.facts.verdicts import ACCEPT_COMMAND, FAILING
from pytest_accel.stats import nearest_rank

if TYPE_CHECKING:
    from pytest_accel.facts.verdicts import Verdict, VerdictKind

#: SCHEMA is the format of a file. Schema 1 described the processor twice.
SCHEMA = 2

#: MOST_OPERATORS is the most operators that a reviewer would read; a larger placement keeps its counts only.
MOST_OPERATORS = 256
#: ACCEPT says how to accept what differs from a baseline.
ACCEPT = f"to accept it: {ACCEPT_COMMAND}, or --accel-save-baseline=accept --accel-because=TEXT"
_OFFERED: frozenset[VerdictKind] = FAILING | {"improved"}
_NOT_SAVED: frozenset[VerdictKind] = frozenset(
    {"not-measured", "inaccurate", "sla-breach", "regressed", "inconclusive"}
)


class LaunchSummary(Fact, frozen=True, kw_only=True):
    """One launch's steady phase: nearest-rank percentiles of ``calls`` calls, and what it took to get there."""

    load_shape: str
    calls: AtLeastOne
    items_per_call: AtLeastOne
    p50_ms: Positive
    p90_ms: Positive
    p99_ms: Positive
    throughput: Positive
    lag1_autocorrelation: float
    first_inference_ms: NotNegative
    load_s: NotNegative
    host_memory_mb: NotNegative | None = None
    device_memory_mb: NotNegative | None = None


class Acceptance(Fact, frozen=True, kw_only=True):
    """Why a baseline took the place of another one that it did not pass beside.

    ``ratio`` is its time over that of the other, and ``before`` says which that was. Both are None where it is not
    known.
    """

    because: str
    ratio: Ratio | None = None
    before: ComparedBaseline | None = None


class Baseline(Fact, frozen=True, kw_only=True):
    """All that later runs of one variant are compared with; there may be a duet for each of several pacemakers.

    ``saved`` is the day, ``YYYY-MM-DD``, ``test`` the one that saved it, and ``provenance`` the code that it ran. Both
    are empty where an older release has saved it. ``accepted`` is None where nobody had to accept it.
    """

    schema: int = SCHEMA
    saved: str
    model: str
    variant: Variant
    hardware: Hardware
    versions: dict[str, str]
    artefact: Artefact
    launches: Annotated[tuple[LaunchSummary, ...], msgspec.Meta(min_length=1)]
    duets: tuple[Duet, ...] = ()
    accuracy: Accuracy | None = None
    placement: Placement | None = None
    test: str = ""
    provenance: Provenance = Provenance()
    accepted: Acceptance | None = None

    @property
    def kept_for(self) -> str:
        """What it is a baseline of, beside its model and variant: the fingerprint of the hardware."""
        return self.hardware.fingerprint

    def compared(self, name: str = "") -> ComparedBaseline:
        """Return what a record says of it; ``name`` is that of a named baseline."""
        key, commit = self.artefact.key, self.provenance.commit
        return ComparedBaseline(saved=self.saved, artefact_key=key, commit=commit, name=name)

    def duet(self, pacemaker: str, digest: str) -> Duet | None:
        """Return the launches beside this pacemaker: paces beside another one do not compare."""
        return next(
            (duet for duet in self.duets if (duet.pacemaker, duet.pacemaker_digest) == (pacemaker, digest)), None
        )

    def median(self, name: Literal["p50_ms", "p90_ms", "p99_ms", "throughput"]) -> float:
        """Return the median of one number over the launches."""
        values: list[float] = [getattr(launch, name) for launch in self.launches]
        return statistics.median(values)


class CompiledBaseline(Fact, frozen=True, kw_only=True):
    """All that later runs with ``--accel-compile-only`` are compared with; nothing in it was measured on the device.

    ``compiled_for`` is the kind of device, ``hardware`` the machine that has compiled, and ``prediction`` the accuracy
    that another runtime computed. ``test``, ``provenance`` and ``accepted`` are those of a `Baseline`.
    """

    schema: int = SCHEMA
    saved: str
    model: str
    variant: Variant
    compiled_for: str
    hardware: Hardware
    versions: dict[str, str]
    artefact: Artefact
    placement: Placement | None = None
    prediction: Accuracy | None = None
    test: str = ""
    provenance: Provenance = Provenance()
    accepted: Acceptance | None = None

    @property
    def kept_for(self) -> str:
        """What it is a baseline of, beside its model and variant: the kind of device."""
        return self.compiled_for


AnyBaseline: TypeAlias = Baseline | CompiledBaseline


def summarise(measurement: Measurement) -> LaunchSummary:
    """Return what a baseline keeps of one launch."""
    ordered_ms = [latency / 1e6 for latency in sorted(measurement.latencies_ns)]
    return LaunchSummary(
        load_shape=measurement.load_shape,
        calls=len(ordered_ms),
        items_per_call=measurement.items_per_call,
        p50_ms=nearest_rank(ordered_ms, 0.5),
        p90_ms=nearest_rank(ordered_ms, 0.9),
        p99_ms=nearest_rank(ordered_ms, 0.99),
        throughput=measurement.throughput,
        lag1_autocorrelation=measurement.lag1_autocorrelation,
        first_inference_ms=measurement.phases.first_inference_ms,
        load_s=measurement.phases.load_s,
        host_memory_mb=measurement.host_memory_mb,
        device_memory_mb=measurement.device_memory_mb,
    )


def make_baseline(
    record: TestRecord,
    measurements: Sequence[Measurement],
    duets: Sequence[Duet],
    *,
    today: datetime.date,
    because: str = "",
) -> Baseline:
    """Return the baseline that a run would leave: ``measurements`` and ``duets`` are all of its launches.

    ``because`` is the reason why it may take the place of one that it did not pass beside.
    """
    if record.artefact is None or not measurements:
        raise BaselineError(f"{record.model} for {record.variant.id} was not compiled and measured: nothing to save")
    return Baseline(
        saved=today.isoformat(),
        model=record.model,
        variant=record.variant,
        hardware=record.hardware,
        versions=record.versions,
        artefact=record.artefact,
        launches=tuple(summarise(measurement) for measurement in measurements),
        duets=tuple(duets),
        accuracy=record.accuracy,
        placement=_legible(record.placement),
        test=record.function,
        provenance=record.provenance,
        accepted=acceptance_of(record, because),
    )


def why_not_replaced(stored: AnyBaseline, record: TestRecord) -> str:
    """Return why this run may not take a baseline's place: another test needs it for other data. Empty when it may."""
    of_stored = stored.accuracy if isinstance(stored, Baseline) else stored.prediction
    accuracies = (of_stored, record.accuracy or record.prediction)
    digests = {accuracy.dataset_digest for accuracy in accuracies if accuracy is not None}
    if len(digests) < 2 or stored.test in ("", record.function):
        return ""
    return (
        f"{stored.test} has saved it for other data; give one of the two tests a name of its own, for example "
        f"accel_model(source, name='{record.model}-2'), or remove the file"
    )


def make_compiled_baseline(record: TestRecord, *, today: datetime.date, because: str = "") -> CompiledBaseline:
    """Return the baseline that a run would leave which has compiled a model and not run it.

    ``because`` is that of `make_baseline`.
    """
    if record.artefact is None or not record.compiled_for:
        raise BaselineError(f"{record.model} for {record.variant.id} was not compiled alone: nothing to save")
    return CompiledBaseline(
        saved=today.isoformat(),
        model=record.model,
        variant=record.variant,
        compiled_for=record.compiled_for,
        hardware=record.hardware,
        versions=record.versions,
        artefact=record.artefact,
        placement=_legible(record.placement),
        prediction=record.prediction,
        test=record.function,
        provenance=record.provenance,
        accepted=acceptance_of(record, because),
    )


def _legible(placement: Placement | None) -> Placement | None:
    """Return a placement without the operators of which a reviewer would read no list."""
    if placement is None or len(placement.operators) <= MOST_OPERATORS:
        return placement
    return msgspec.structs.replace(placement, operators={})


def acceptance_of(record: TestRecord, because: str) -> Acceptance | None:
    """Return what a baseline says that is made of this record for a reason; None where nothing had to be accepted."""
    if not because or not differs(record):
        return None
    return Acceptance(because=because, ratio=record.ratio, before=record.beside)


def differs(record: TestRecord) -> bool:
    """Return whether a check has got slower, faster or less accurate than its baseline, which somebody may accept."""
    return any(verdict.since_baseline and verdict.kind in _OFFERED for verdict in record.verdicts)


def why_not_saved(record: TestRecord, stored: AnyBaseline | None = None, *, accepting: bool = False) -> str:
    """Return why this run may not become a baseline: it fails its budgets or is inconclusive. Empty when it may.

    Nor may it where it would take the place of a ``stored`` one that another test needs (`why_not_replaced`).
    That an artefact has changed is accepted by saving it, since compiling again would only give the same one. Creep is
    judged by the anchor, which stays as it is. With ``accepting`` a difference from the baseline is no reason.
    """
    never = FAILING if record.compiled_for else _NOT_SAVED
    verdicts = [verdict for verdict in record.verdicts if verdict.kind in never and verdict.question != "creep"]
    if not record.verdicts:
        return "nothing was judged"
    reasons = [verdict for verdict in verdicts if not (accepting and _is_accepted(verdict))]
    sentences = "; ".join(f"{verdict.kind}: {verdict.summary}" for verdict in reasons)
    if reasons and all(_is_accepted(verdict) for verdict in reasons):
        sentences += f" ({ACCEPT})"
    return sentences or (why_not_replaced(stored, record) if stored is not None else "")


def _is_accepted(verdict: Verdict) -> bool:
    """Return whether a new baseline answers a verdict for good: it has failed beside the older one."""
    return verdict.since_baseline and verdict.kind in FAILING
