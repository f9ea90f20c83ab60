"""What can be said of a model that was compiled and not run?

An artefact tells its size, where its operators are to run and how long it took to make. A compiler that got worse often
shows in these. What that costs in time only the device can tell, so a change is `inconclusive` and no regression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_accel.facts.records import Budgets
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.verdict.placement import COARSENESS, observed_precisions

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Artefact, Placement

#: LARGER is how many times the size an artefact has that has changed, and LEAST_GROWTH_MB what it grows by at least.
LARGER, LEAST_GROWTH_MB = 1.5, 0.1
#: LONGER is how many times the seconds a compilation takes that has changed, and LEAST_GROWTH_S what it takes more at
#: least. Machines that compile differ more than artefacts do.
LONGER, LEAST_GROWTH_S = 5.0, 1.0
#: MOVED is the part of the operators that leaves a place or a precision before that is a change.
MOVED = 0.01
#: MOST_NAMES is the highest number of moved operators that a sentence names.
MOST_NAMES = 3
_OF_ARTEFACTS = ("max_artefact_mb", "max_compile_s")
_OF_ACCURACY = ("max_accuracy_drop", "min_accuracy", "max_flips")


class Compiled(NamedTuple):
    """What an artefact tells: itself, the compiler's placement, and the accuracy that another runtime computed."""

    artefact: Artefact
    placement: Placement | None = None
    prediction: Accuracy | None = None


def judged_without_running(budgets: Budgets, compiled: Compiled) -> Budgets:
    """Return the budgets that can be judged by what an artefact tells, and none of the others."""
    placed = compiled.placement is not None and compiled.placement.on_device is not None
    names = [*_OF_ARTEFACTS]
    names += _OF_ACCURACY if compiled.prediction is not None else ()
    names += ["min_on_device"] if placed else []
    return Budgets(**{name: getattr(budgets, name) for name in names})


def not_run(compiled: Compiled, budgets: Budgets, *, compiled_for: str, cached: bool, unpredicted: str) -> Verdict:
    """Return the answer that nothing was run, with the budgets that were not judged for that reason.

    ``unpredicted`` says why accuracy was not predicted, empty where it was.
    """
    artefact, judged = compiled.artefact, judged_without_running(budgets, compiled)
    waiting = [
        name
        for name, limit in msgspec.structs.asdict(budgets).items()
        if limit is not None and getattr(judged, name) is None
    ]
    earlier = " by an earlier run" if cached else ""
    summary = (
        f"Compiled for {compiled_for}{earlier} in {artefact.compile_s:.3g} s, {artefact.size_mb:.3g} MB; nothing was "
        "run, so nothing is said about speed."
    )
    details = [f"Not judged without running: {', '.join(waiting)}."] if waiting else []
    details += [f"Accuracy is not predicted: {unpredicted}."] if unpredicted else []
    return Verdict(kind="compiled", question="measurement", summary=summary, details=tuple(details))


def as_prediction(verdicts: Sequence[Verdict], runtime: str) -> list[Verdict]:
    """Return answers about accuracy as those of another ``runtime``, which the device has not given."""
    return [
        msgspec.structs.replace(verdict, summary=f"Predicted by {runtime}: {verdict.summary}") for verdict in verdicts
    ]


def judge_since(before: Compiled, after: Compiled, *, saved: str, other_machine: bool) -> Verdict:
    """Say whether an artefact is like that of the baseline of the day ``saved``, as far as it tells.

    ``other_machine`` says that another kind of machine compiled the baseline's, which takes another time.
    """
    found = [*_growth(before.artefact, after.artefact, other_machine), *_moves(before.placement, after.placement)]
    if before.prediction is not None and after.prediction is None:
        found.append("its accuracy can no longer be predicted")
    if not found:
        summary = f"The artefact is like that of the baseline of {saved}, as far as it tells without running."
        return Verdict(kind="pass", question="regression", summary=summary)
    return Verdict(
        kind="inconclusive",
        question="regression",
        summary=f"Since the baseline of {saved}: {'; '.join(found)}. What that costs only the device can tell.",
        details=("--accel-compile-only with --accel-save-baseline accepts it.",),
    )


def _growth(before: Artefact, after: Artefact, other_machine: bool) -> Iterator[str]:
    sizes = before.size_mb, after.size_mb
    if _grown(*sizes, LARGER, LEAST_GROWTH_MB):
        yield f"the artefact is {_times(*sizes)} as large ({sizes[0]:.3g} -> {sizes[1]:.3g} MB)"
    seconds = before.compile_s, after.compile_s
    if _grown(*seconds, LONGER, LEAST_GROWTH_S):
        where = " on another machine" if other_machine else ""
        yield f"compiling takes {_times(*seconds)} as long{where} ({seconds[0]:.3g} -> {seconds[1]:.3g} s)"


def _grown(before: float, after: float, factor: float, least: float) -> bool:
    return after >= factor * before and after - before >= least


def _times(before: float, after: float) -> str:
    return f"{after / before:.1f} times" if before else "many times"


def _moves(before: Placement | None, after: Placement | None) -> Iterator[str]:
    """Say which part of the operators is not where it was, or not in the precision it was in."""
    if before is None:
        return
    if after is None:
        yield "the compiler no longer tells where operators run"
        return
    if before.on_device is not None and (after.on_device or 0.0) < before.on_device - MOVED:
        yield f"{100 * (after.on_device or 0.0):.3g} % of the operators are on the device, {_was(before.on_device)}"
    shares, shares_before = _shares(after.precisions), _shares(before.precisions)
    for name, share in sorted(shares_before.items()):
        if COARSENESS[name] > COARSENESS["fp32"] and shares.get(name, 0.0) < share - MOVED:
            yield f"{100 * shares.get(name, 0.0):.3g} % of the operators are in {name}, {_was(share)}"
    both = before.operators.keys() & after.operators.keys()
    moved = sorted(name for name in both if _device(before.operators[name]) != _device(after.operators[name]))
    if moved:
        more = len(moved) - MOST_NAMES
        named = ", ".join(moved[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield f"on another device is {named}"


def _was(share: float) -> str:
    return f"and it was {100 * share:.3g} %"


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the part of the operators in each precision, of those whose precision is known."""
    observed = observed_precisions(counts)
    total = sum(observed.values())
    return {name: count / total for name, count in observed.items()}


def _device(place: str) -> str:
    return place.partition(":")[0]
