"""Write the notes below a run's table: what is undecided, saved, resumed, waited for or absent."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_accel.facts.verdicts import UNDECIDED

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord

#: NOTED_KINDS are the kinds of verdicts that have a note, besides their line or row in the table.
NOTED_KINDS = UNDECIDED | {"improved", "refused"}
#: MOST_NAMES is the highest number of variants or tests that a note names.
MOST_NAMES = 5


def notes(records: Iterable[TestRecord]) -> Iterator[str]:
    """Give the notes on verdicts that fail no test: what was not decided, what got better, what compilers refused.

    The variants that share a note are named together. What a compiler said is quoted in full.
    """
    variants: dict[str, list[str]] = {}
    for record in records:
        for verdict in record.verdicts:
            if verdict.kind in NOTED_KINDS:
                words = " ".join((verdict.summary, *verdict.details)) if verdict.kind == "refused" else verdict.summary
                variants.setdefault(f"{verdict.kind}: {words}", []).append(f"{record.model}[{record.variant.id}]")
    return (f"{note} ({_first(names)})" for note, names in variants.items())


def comparisons(records: Iterable[TestRecord]) -> Iterator[str]:
    """Say which outputs were not compared sample by sample, and of which variants."""
    variants: dict[str, list[str]] = {}
    for record in records:
        for output in record.accuracy.by_call if record.accuracy is not None else ():
            variants.setdefault(output, []).append(f"{record.model}[{record.variant.id}]")
    for output, names in variants.items():
        yield f"compared call by call, since it cannot be split into samples: output {output!r} ({_first(names)})"


def _first(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    shown, more = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def changes(records: Iterable[TestRecord]) -> Iterator[str]:
    """Say what has changed since the baseline of each variant that was compiled and not run.

    Of a variant that was run the changes stand beside a failure, because its speed shows what they are worth. The
    variants that changed in the same way are named together.
    """
    variants: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record.compiled_for and record.changes:
            variants.setdefault(record.changes, []).append(f"{record.model}[{record.variant.id}]")
    for changed, names in variants.items():
        yield f"changed since the baseline: {'; '.join(changed)} ({_first(names)})"


def old_baselines(records: Iterable[TestRecord], *, max_age_days: float, today: datetime.date) -> Iterator[str]:
    """Say which baselines are older than they may be: a model that got faster since may get slower again unseen."""
    oldest = (today - datetime.timedelta(days=min(max_age_days, (today - datetime.date.min).days))).isoformat()
    old = [(record.beside.saved, record) for record in records if record.beside is not None]
    named = [f"{record.model}[{record.variant.id}] of {saved}" for saved, record in old if saved < oldest]
    if named:
        yield (
            f"baselines older than {max_age_days:g} days, which may hide regressions: {_first(named)}; "
            "--accel-save-baseline renews them"
        )


def savings(records: Iterable[TestRecord]) -> Iterator[str]:
    """Say for each baseline that the user asked to save whether it was saved."""
    return (record.baseline for record in records if record.baseline)


def resumptions(records: Iterable[TestRecord]) -> Iterator[str]:
    """Say how many results come from each interrupted run."""
    for began, count in Counter(record.resumed for record in records if record.resumed).items():
        results = f"{count} results are" if count > 1 else "1 result is"
        yield f"resumed: {results} from the run of {began}, which was interrupted"


def waits(waits_s: Mapping[str, float]) -> Iterator[str]:
    """Say how long all tests together waited for a device, and which tests waited."""
    if waits_s:
        seconds = f"{sum(waits_s.values()):.0f} s"
        yield f"waited {seconds} in all for a device that another pytest-accel process used ({_first(list(waits_s))})"


def absences(absent: Mapping[str, str]) -> Iterator[str]:
    """Give a line for each accelerator that tests asked for and this machine does not have."""
    for name, reason in sorted(absent.items()):
        yield f"{name} absent: {reason}"
