"""Did the model run where, and in the precision, that was asked for?

A silent fallback makes every figure one of something else, so its verdict is "not-measured". This is also the one place
that knows the names which runtimes give to precisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_accel.facts.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Placement

#: DEFAULT_MIN_ON_DEVICE is the least share of operators on the device where nobody says otherwise and the runtime tells
#: where they run.
DEFAULT_MIN_ON_DEVICE = 0.5
#: COARSENESS is how coarse a precision is, from the finest on; one that is coarser than asked for is a silent fallback.
COARSENESS = {"fp64": 0, "fp32": 1, "tf32": 2, "fp16": 3, "bf16": 3, "fp8": 4, "int8": 4}
#: _NAMES lists the precisions by the names that runtimes have for them. Other dtypes say nothing: integers also hold
#: shapes and images.
_NAMES = {name: name for name in COARSENESS} | {
    "f64": "fp64",
    "float64": "fp64",
    "f32": "fp32",
    "float32": "fp32",
    "f16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "f8": "fp8",
    "float8": "fp8",
    "i8": "int8",
}


def judge_placement(
    placement: Placement | None,
    budgets: Budgets,
    *,
    precision: str,
    source: Sequence[str] = (),
    named: bool = True,
    baseline: Placement | None = None,
    timed: bool = True,
) -> list[Verdict]:
    """Judge the share on the device and the precision; empty where the runtime tells neither and no budget asks.

    ``precision`` is the one asked for; ``named`` is False where it is the default alone. ``source`` has the precisions
    that the uncompiled model has itself, which then will do too, unless all of ``baseline`` was finer: a layer may have
    lost its precision by mistake. `pytest_accel.store.changes` finds operators that moved since the baseline. Without
    ``timed`` the placement is the compiler's and nothing was run.
    """
    unknown = _unknown_share(budgets) if placement is None or placement.on_device is None else []
    if placement is None:
        return unknown
    least = DEFAULT_MIN_ON_DEVICE if budgets.min_on_device is None else budgets.min_on_device
    findings, facts = [], []
    if placement.on_device is not None:
        run = "run" if timed else "are to run"
        facts.append(
            f"{100 * placement.on_device:.0f} % of the operators {run} on the device, {100 * least:.0f} % needed"
        )
        if placement.on_device < least:
            findings.append(f"{facts[-1]}: {'what was timed is' if timed else 'it would be'} largely the host")
    observed = observed_precisions(placement.precisions)
    if observed:
        asked, own = _NAMES.get(precision, precision), observed_precisions(dict.fromkeys(source, 1))
        broken = _precision_findings(observed, asked)
        own_doing = bool(broken) and not _precision_findings(observed, asked, own)
        objection = _objection(own, precision if named else None, baseline) if own_doing else ""
        excused = own_doing and not objection
        facts.append(f"in {_counted(observed)}{', as the model itself is' if excused else ''}")
        findings += [] if excused else [*broken, *filter(None, [objection])]
    if not facts:
        return unknown
    kind: VerdictKind = "not-measured" if findings else "pass"
    summary = f"Placement: {'; '.join(findings or facts)}."
    return [*unknown, Verdict(kind=kind, question="placement", summary=summary)]


def _objection(own: Iterable[str], named_precision: str | None, baseline: Placement | None) -> str:
    """Return why the model's own precisions will not do, although they are what was observed; empty if they will."""
    if named_precision is not None:
        return f"the model itself is in {', '.join(own)}, which it is held to without precision={named_precision!r}"
    before = coarsest(baseline.precisions) if baseline is not None else None
    newly = [name for name in own if before is not None and COARSENESS[name] > COARSENESS[before]]
    return (
        f"the model itself is in {', '.join(newly)} since the baseline, which --accel-save-baseline accepts"
        if newly
        else ""
    )


def observed_precisions(counts: Mapping[str, int]) -> dict[str, int]:
    """Return operators by precision in this package's names, whatever the runtime calls them."""
    observed: dict[str, int] = {}
    for name, count in counts.items():
        known = _NAMES.get(name.lower())
        if known and count:
            observed[known] = observed.get(known, 0) + count
    return observed


def peak_flops(
    any_precision: float | None, by_precision: Mapping[str, float], counts: Mapping[str, int], *, asked: str
) -> float | None:
    """Return the most operations per second that a device can do in the precisions that were used.

    It is that of the fastest among those observed and the one asked for, which may hide inside of a merged layer.
    ``any_precision`` counts where nothing or an unknown precision was observed.
    """
    used = {*observed_precisions(counts), asked}
    unnamed = any(count and name.lower() not in _NAMES for name, count in counts.items())
    if not counts or unnamed or not used <= by_precision.keys():
        return any_precision
    return max(by_precision[name] for name in used)


def coarsest(counts: Mapping[str, int]) -> str | None:
    """Return the coarsest precision among observed counts, None where there is none."""
    return max(observed_precisions(counts), key=COARSENESS.__getitem__, default=None)


def _unknown_share(budgets: Budgets) -> list[Verdict]:
    if budgets.min_on_device is None:
        return []
    summary = f"min_on_device={budgets.min_on_device:g} is not judged: the runtime does not tell where operators run."
    return [Verdict(kind="inconclusive", question="placement", summary=summary)]


def _precision_findings(observed: Mapping[str, int], asked: str, own: Iterable[str] = ()) -> list[str]:
    """Return what is wrong with the precisions observed, beside the one asked for and those of the model itself."""
    if asked not in COARSENESS:
        return []
    findings = []
    coarsest_allowed = max(COARSENESS[name] for name in (asked, *own))
    # FP32 is what a model is not cast from, so that one in FP64 stays in it.
    wanted = {asked, *(own if asked == "fp32" else ())}
    wanted |= {name for name in observed if COARSENESS[asked] < COARSENESS[name] <= coarsest_allowed}
    if wanted.isdisjoint(observed):
        findings.append(f"{asked} was asked for and no operator runs in it, but in {_counted(observed)}")
    coarser = {name: count for name, count in observed.items() if COARSENESS[name] > coarsest_allowed}
    if coarser and not wanted.isdisjoint(observed):
        findings.append(f"{asked} was asked for and {_counted(coarser)} is coarser")
    return findings


def _counted(observed: Mapping[str, int]) -> str:
    ordered = sorted(observed.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} ({count} operator{'s' if count != 1 else ''})" for name, count in ordered)
