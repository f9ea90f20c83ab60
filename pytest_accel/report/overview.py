"""Collect what a page and a Markdown file show of one or more runs. Each format only lays it out.

The numbers are those of the terminal, so that nobody reads two roundings of one measurement.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.verdicts import SEVERITY, VerdictKind
from pytest_accel.report import notes, sweep
from pytest_accel.report.figures import duration, machine_of
from pytest_accel.report.history_series import Series, series_of
from pytest_accel.report.model_table import Outcome, Table, model_table

if TYPE_CHECKING:
    from pytest_accel.facts.records import Failure, RunRecord, TestRecord
    from pytest_accel.store.history_entry import HistoryEntry


@dataclass(frozen=True)
class Machine:
    """A machine has the checks that were made on it, by their verdicts, and what they ran on.

    ``versions`` has the versions of each accelerator's components.
    """

    name: str
    counts: dict[VerdictKind, int]
    identity: dict[str, str]
    versions: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Overview:
    """An overview has everything that a report shows of some runs, in the order in which to read it.

    ``history`` is what earlier runs have measured of the same.
    """

    runs: tuple[RunRecord, ...]
    outcome: Outcome
    headline: str
    counts: dict[VerdictKind, int]
    tables: tuple[Table, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    absences: tuple[str, ...]
    machines: tuple[Machine, ...]
    confidence: float
    history: tuple[Series, ...]

    @classmethod
    def of(cls, runs: Sequence[RunRecord], history: Iterable[HistoryEntry] = ()) -> Overview:
        """Make the overview of at least one run. Raises `UsageError` where the runs differ in their confidence.

        Of the ``history`` it has what is about the models, variants and machines of these runs.
        """
        confidences = sorted({run.confidence for run in runs})
        if len(confidences) > 1:
            texts = " and ".join(f"{confidence:.4g}" for confidence in confidences)
            raise UsageError(f"these runs do not compare: their accel_confidence is {texts}; make a report of each")
        records = [record for run in runs for record in run.tests]
        outcome, headline = _headline(runs)
        strict = {id(record): run.strict for run in runs for record in run.tests}
        models = dict.fromkeys(record.model for record in records)
        groups = [sweep.ordered(record for record in records if record.model == model) for model in models]
        return cls(
            runs=tuple(runs),
            outcome=outcome,
            headline=headline,
            counts=_counts(records),
            tables=tuple(model_table(group, confidences[0], strict) for group in groups),
            failures=tuple(_reproducible(failure) for run in runs for failure in run.failures),
            notes=tuple(_notes(runs, records)),
            absences=tuple(_absences(runs)),
            machines=tuple(_machines(records)),
            confidence=confidences[0],
            history=tuple(_history(records, history)),
        )

    @property
    def facts(self) -> Iterator[dict[str, str]]:
        """Say when, where and by which version each run was made, and how long it took."""
        for run in self.runs:
            began = datetime.datetime.fromisoformat(run.started)
            machines = dict.fromkeys(map(machine_of, run.tests))
            yield {
                "began": f"{began:%-d %B %Y, %H:%M %Z}".strip(),
                "took": duration(run.duration_s),
                "machine": ", ".join(machines) or "none was used",
                "by": f"pytest-accel {run.version}{', strict' if run.strict else ''}",
                **_code(run),
            }


def _code(run: RunRecord) -> dict[str, str]:
    """Name the commits and branches of a run, and the job that ran it, where they are known."""
    found = list(dict.fromkeys(record.provenance for record in run.tests if not record.resumed))
    named = {
        "commit": dict.fromkeys(str(provenance) for provenance in found),
        "branch": dict.fromkeys(provenance.branch for provenance in found),
        "job": dict.fromkeys(provenance.job for provenance in found),
    }
    texts = {name: ", ".join(filter(None, values)) for name, values in named.items()}
    return {name: text for name, text in texts.items() if text}


def _headline(runs: Sequence[RunRecord]) -> tuple[Outcome, str]:
    failed = {(at, failure.test) for at, run in enumerate(runs) for failure in run.failures}
    tests = failed | {(at, record.test) for at, run in enumerate(runs) for record in run.tests}
    if failed:
        return "failed", f"Failed: {len(failed)} of {_of_tests(len(tests))}"
    if faults := [fault for run in runs for fault in run.faults]:
        return "failed", f"Failed: {faults[0]}"
    records = [record for run in runs for record in run.tests]
    compiled = len({record.test for record in records if record.compiled_for})
    if any(record.measurement is not None for record in records):
        not_run = f"; {compiled} of them only compiled" if compiled else ""
        return "passed", f"Passed: none of {_of_tests(len(tests))} failed{not_run}"
    if compiled:
        return "left-out", f"Compiled and not run: none of {_of_tests(len(tests))} failed"
    return "undecided", "Nothing was measured"


def _of_tests(count: int) -> str:
    return f"{count} test{'s' if count > 1 else ''}"


def _counts(records: Iterable[TestRecord]) -> dict[VerdictKind, int]:
    found = Counter(record.kind for record in records)
    return {kind: found[kind] for kind in reversed(SEVERITY) if found[kind]}


def _reproducible(failure: Failure) -> Failure:
    """Add the command that repeats the failure, unless the message has it already."""
    if "\nReproduce: " in failure.message:
        return failure
    return msgspec.structs.replace(failure, message=f"{failure.message}\nReproduce: pytest '{failure.test}'")


def _notes(runs: Sequence[RunRecord], records: Sequence[TestRecord]) -> Iterator[str]:
    yield from notes.notes(records)
    yield from notes.comparisons(records)
    yield from notes.changes(records)
    yield from notes.savings(records)
    yield from notes.resumptions(records)
    for run in runs:
        yield from run.warnings


def _absences(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Name each absent accelerator once, and say where another machine has it."""
    used = {record.variant.accelerator for run in runs for record in run.tests}
    absent = {(name, reason): None for run in runs for name, reason in run.absent.items()}
    for name, reason in absent:
        elsewhere = " (on one of the machines; used on another)" if name in used else ""
        yield from (f"{line}{elsewhere}" for line in notes.absences({name: reason}))


def _history(records: Iterable[TestRecord], history: Iterable[HistoryEntry]) -> Iterator[Series]:
    shown = {(record.model, record.variant.id, record.hardware.fingerprint) for record in records}
    return series_of(entry for entry in history if (entry.model, entry.variant, entry.fingerprint) in shown)


def _machines(records: Sequence[TestRecord]) -> Iterator[Machine]:
    for name in dict.fromkeys(map(machine_of, records)):
        here = [record for record in records if machine_of(record) == name]
        versions = {record.variant.accelerator: record.versions for record in here}
        yield Machine(name, _counts(here), _texts(here[-1].hardware.identity), versions)


def _texts(identity: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in identity.items() if value not in (None, "")}
