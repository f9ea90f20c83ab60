"""What a run still has to say below its table: what was not decided, saved, resumed, waited for or absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_accel.facts.records import UNDECIDED, TestRecord

#: What a note says, beside the line or row of the variant.
TOLD = UNDECIDED | {"improved", "refused"}


#: Variants that a note names.
MOST_NAMED = 5


def notes(records: Iterable[TestRecord]) -> Iterator[str]:
    """What a passing run still has to say, each once for all it holds for.

    That is what was not decided, what got better, and what compilers refused, in their words.
    """
    said: dict[str, list[str]] = {}
    for record in records:
        for verdict in record.verdicts:
            if verdict.kind in TOLD:
                words = " ".join((verdict.summary, *verdict.details)) if verdict.kind == "refused" else verdict.summary
                said.setdefault(f"{verdict.kind}: {words}", []).append(f"{record.model}[{record.variant.id}]")
    return (f"{what} ({_few(names)})" for what, names in said.items())


def _few(names: Sequence[str]) -> str:
    named, more = names[:MOST_NAMED], len(names) - MOST_NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def savings(records: Iterable[TestRecord]) -> Iterator[str]:
    """What became of each baseline that this run was to save."""
    return (record.baseline for record in records if record.baseline)


def resumptions(records: Iterable[TestRecord]) -> Iterator[str]:
    """How many results are from each run that was interrupted."""
    for began, count in Counter(record.resumed for record in records if record.resumed).items():
        results = f"{count} results are" if count > 1 else "1 result is"
        yield f"resumed: {results} from the run of {began}, which was interrupted"


def waits(waits_s: Mapping[str, float]) -> Iterator[str]:
    """How long tests waited for a device in all, and which."""
    if waits_s:
        seconds = f"{sum(waits_s.values()):.0f} s"
        yield f"waited {seconds} in all for a device that another pytest-accel process used ({_few(list(waits_s))})"


def absences(absent: Mapping[str, str]) -> Iterator[str]:
    """A line for each accelerator that tests asked for and this machine has not."""
    for name, reason in sorted(absent.items()):
        yield f"{name} absent: {reason}"
