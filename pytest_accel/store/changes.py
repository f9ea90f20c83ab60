"""What differs between a baseline and a later run: the likely causes of a regression, and its effects.

Facts only, each as data and as a sentence; whether a difference matters is a verdict's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_accel.facts.records import Fact, Origin, Placement, Scalar, TestRecord

if TYPE_CHECKING:
    from pytest_accel.store.baselines import Baseline

ChangeKind: TypeAlias = Literal[
    "model", "version", "option", "hardware", "artefact", "placement", "operator", "latency", "accuracy"
]
#: Moved operators that a failure names one by one.
MOST_OPERATORS_NAMED = 5
#: Devices that are nobody's accelerator.
_HOST = ("cpu", "host")


class Change(Fact, frozen=True, kw_only=True):
    """One fact that is not what it was; None where it did not exist."""

    kind: ChangeKind
    name: str
    before: Scalar
    now: Scalar

    def __str__(self) -> str:
        name = self.name if self.kind in ("accuracy", "artefact", "latency") else f"{self.kind} {self.name}"
        if self.kind == "operator":
            return f"{name} {_move(str(self.before), str(self.now))}: {self.before} -> {self.now}"
        if self.before is None and self.kind != "option":
            return f"{name} is new: {_legible(self.now)}"
        if self.now is None and self.kind != "option":
            return f"{name} is gone: it was {_legible(self.before)}"
        sentence = f"{name}: {_legible(self.before)} -> {_legible(self.now)}"
        if self.kind == "latency" and isinstance(self.before, float) and isinstance(self.now, float):
            sentence += f" ({self.now / self.before:.3f}x)"
        return sentence


def changes_since(baseline: Baseline, now: TestRecord | Baseline) -> tuple[str, ...]:
    """What could be the cause of a different verdict, a sentence each, in the order in which to suspect it."""
    changes = list(_causes(baseline, now))
    moved = [change for change in changes if change.kind == "operator"]
    sentences = [str(change) for change in changes if change.kind != "operator"]
    sentences += map(str, moved[:MOST_OPERATORS_NAMED])
    if unnamed := len(moved[MOST_OPERATORS_NAMED:]):
        sentences.append(f"{unnamed} more operators moved or changed their precision")
    return tuple(sentences)


def differences(before: Origin, now: Origin) -> tuple[str, ...]:
    """How two artefacts came about differently, a sentence each, in the order in which to suspect it."""
    changes = [
        *_digest(before.model_digest, now.model_digest),
        *_between("option", before.options, now.options),
        *_between("version", before.versions, now.versions),
    ]
    return tuple(map(str, changes))


def version_changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Which versions differ, a sentence each."""
    return tuple(str(change) for change in _between("version", before, now))


def diff(before: Baseline, now: Baseline) -> tuple[Change, ...]:
    """All that differs between two baselines, causes first."""
    return (*_causes(before, now), *_effects(before, now))


def _causes(before: Baseline, now: TestRecord | Baseline) -> Iterator[Change]:
    old, new = before.artefact, now.artefact
    if new:
        yield from _digest(old.model_digest, new.model_digest)
    yield from _between("option", before.variant.options, now.variant.options)
    yield from _between("version", before.versions, now.versions)
    yield from _between("hardware", before.hardware.identity, now.hardware.identity)
    if new:
        yield from _between("artefact", {"artefact size in MB": old.size_mb}, {"artefact size in MB": new.size_mb})
    if before.placement and now.placement:
        yield from _placement(before.placement, now.placement)


def _digest(before: str, now: str) -> Iterator[Change]:
    if before != now:
        yield Change(kind="model", name="digest", before=before[:12], now=now[:12])


def _placement(before: Placement, now: Placement) -> Iterator[Change]:
    name = "share of operators on the accelerator"
    yield from _between("placement", {name: before.on_device}, {name: now.on_device})
    counts = [
        {f"operators in {precision}": count for precision, count in placement.precisions.items()}
        for placement in (before, now)
    ]
    yield from _between("placement", *counts)
    # An operator of one side only is a change of the graph, not a move.
    both = before.operators.keys() & now.operators.keys()
    yield from _between("operator", *({name: side.operators[name] for name in both} for side in (before, now)))


def _effects(before: Baseline, now: Baseline) -> Iterator[Change]:
    latencies = [
        {
            "p50 in ms": side.median("p50_ms"),
            "p99 in ms": side.median("p99_ms"),
            "items per second": side.median("throughput"),
        }
        for side in (before, now)
    ]
    yield from _between("latency", *latencies)
    if before.accuracy is None or now.accuracy is None:
        return
    if before.accuracy.dataset_digest != now.accuracy.dataset_digest:
        digests = before.accuracy.dataset_digest[:12], now.accuracy.dataset_digest[:12]
        yield Change(kind="accuracy", name="dataset, so accuracies do not compare", before=digests[0], now=digests[1])
        return
    names = ("samples", "top1", "top5", "metric", "agreement", "flips_lost", "flips_gained")
    yield from _between("accuracy", *({name: getattr(side.accuracy, name) for name in names} for side in (before, now)))


def _between(kind: ChangeKind, before: Mapping[str, Scalar], now: Mapping[str, Scalar]) -> Iterator[Change]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if _legible(old) != _legible(new):
            yield Change(kind=kind, name=name, before=old, now=new)


def _move(before: str, now: str) -> str:
    """Where an operator went, from ``"<device>:<precision>"`` to another."""
    device, device_now = before.partition(":")[0], now.partition(":")[0]
    if device == device_now:
        return "changed its precision"
    return "left the accelerator" if device_now in _HOST else "moved"


def _legible(value: Scalar) -> str:
    """As many digits as a person compares; what agrees in these is no change."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
