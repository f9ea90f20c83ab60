"""What differs between a baseline and a later run: the likely causes of a regression, and its effects.

Facts only, each as data and as a sentence; whether a difference matters is a verdict's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_accel.facts.fact import Fact, OptionValue, Scalar

if TYPE_CHECKING:
    from pytest_accel.facts.records import Origin, Placement, TestRecord
    from pytest_accel.store.baseline import Baseline

ChangeKind: TypeAlias = Literal[
    "model", "version", "option", "hardware", "artefact", "placement", "operator", "latency", "accuracy"
]
#: MOST_OPERATORS_NAMED is the number of moved operators that a failure names one by one, at most.
MOST_OPERATORS_NAMED = 5
#: _HOST are names of devices that are the host itself and no accelerator.
_HOST = ("cpu", "host")


class Change(Fact, frozen=True, kw_only=True):
    """One fact that is not what it was; None where it did not exist."""

    kind: ChangeKind
    name: str
    before: Scalar
    after: Scalar

    def __str__(self) -> str:
        name = self.name if self.kind in ("accuracy", "artefact", "latency") else f"{self.kind} {self.name}"
        if self.kind == "operator":
            return f"{name} {_move(str(self.before), str(self.after))}: {self.before} -> {self.after}"
        if self.before is None and self.kind != "option":
            return f"{name} is new: {_legible(self.after)}"
        if self.after is None and self.kind != "option":
            return f"{name} is gone: it was {_legible(self.before)}"
        sentence = f"{name}: {_legible(self.before)} -> {_legible(self.after)}"
        if self.kind == "latency" and isinstance(self.before, float) and isinstance(self.after, float):
            sentence += f" ({self.after / self.before:.3f}x)"
        return sentence


def changes_since(baseline: Baseline, after: TestRecord | Baseline) -> tuple[str, ...]:
    """Return what could be the cause of a different verdict, a sentence each, in the order in which to suspect it."""
    changes = list(_causes(baseline, after))
    moved = [change for change in changes if change.kind == "operator"]
    sentences = [str(change) for change in changes if change.kind != "operator"]
    sentences += map(str, moved[:MOST_OPERATORS_NAMED])
    if unnamed := len(moved[MOST_OPERATORS_NAMED:]):
        sentences.append(f"{unnamed} more operators moved or changed their precision")
    return tuple(sentences)


def differences(before: Origin, after: Origin) -> tuple[str, ...]:
    """Return how two artefacts came about differently, a sentence each, in the order in which to suspect it."""
    changes = [
        *_digest(before.model_digest, after.model_digest),
        *_between("option", _one_by_one(before.options), _one_by_one(after.options)),
        *_between("version", before.versions, after.versions),
    ]
    return tuple(map(str, changes))


def version_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return which versions differ, a sentence each."""
    return tuple(str(change) for change in _between("version", before, after))


def diff(before: Baseline, after: Baseline) -> tuple[Change, ...]:
    """Return all that differs between two baselines, causes first."""
    return (*_causes(before, after), *_effects(before, after))


def _causes(before: Baseline, after: TestRecord | Baseline) -> Iterator[Change]:
    old, new = before.artefact, after.artefact
    if new:
        yield from _digest(old.model_digest, new.model_digest)
    yield from _between("option", _one_by_one(before.variant.options), _one_by_one(after.variant.options))
    yield from _between("version", before.versions, after.versions)
    yield from _between("hardware", before.hardware.identity, after.hardware.identity)
    if new:
        yield from _between("artefact", {"artefact size in MB": old.size_mb}, {"artefact size in MB": new.size_mb})
    if before.placement and after.placement:
        yield from _placement(before.placement, after.placement)


def _digest(before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield Change(kind="model", name="digest", before=before[:12], after=after[:12])


def _placement(before: Placement, after: Placement) -> Iterator[Change]:
    name = "share of operators on the accelerator"
    yield from _between("placement", {name: before.on_device}, {name: after.on_device})
    counts = [
        {f"operators in {precision}": count for precision, count in placement.precisions.items()}
        for placement in (before, after)
    ]
    yield from _between("placement", *counts)
    # An operator of one side only is a change of the graph, not a move.
    both = before.operators.keys() & after.operators.keys()
    yield from _between("operator", *({name: side.operators[name] for name in both} for side in (before, after)))


def _effects(before: Baseline, after: Baseline) -> Iterator[Change]:
    latencies = [
        {
            "p50 in ms": side.median("p50_ms"),
            "p99 in ms": side.median("p99_ms"),
            "items per second": side.median("throughput"),
        }
        for side in (before, after)
    ]
    yield from _between("latency", *latencies)
    if before.accuracy is None or after.accuracy is None:
        return
    if before.accuracy.dataset_digest != after.accuracy.dataset_digest:
        digests = before.accuracy.dataset_digest[:12], after.accuracy.dataset_digest[:12]
        yield Change(kind="accuracy", name="dataset, so accuracies do not compare", before=digests[0], after=digests[1])
        return
    names = ("samples", "top1", "top5", "metric", "agreement", "flips_lost", "flips_gained")
    yield from _between(
        "accuracy", *({name: getattr(side.accuracy, name) for name in names} for side in (before, after))
    )


def _between(kind: ChangeKind, before: Mapping[str, Scalar], after: Mapping[str, Scalar]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if _legible(old) != _legible(new):
            yield Change(kind=kind, name=name, before=old, after=new)


def _one_by_one(options: Mapping[str, OptionValue]) -> dict[str, Scalar]:
    """Return each entry of an option that has entries as an option of its own."""
    single: dict[str, Scalar] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            single.update({f"{name} {entry}": part for entry, part in value.items()})
        else:
            single[name] = value
    return single


def _move(before: str, after: str) -> str:
    """Return where an operator went, from ``"<device>:<precision>"`` to another."""
    device, device_after = before.partition(":")[0], after.partition(":")[0]
    if device == device_after:
        return "changed its precision"
    return "left the accelerator" if device_after in _HOST else "moved"


def _legible(value: Scalar) -> str:
    """Return as many digits as a person compares; what agrees in these is no change."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
