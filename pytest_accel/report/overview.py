"""What a page and a Markdown file tell of one or more runs: the words and numbers, which each format only lays out.

Numbers are the terminal's and the sweep's own texts, so that nobody reads two roundings of one measurement.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import (
    FAILING,
    LEFT_OUT,
    SEVERITY,
    UNDECIDED,
    Budgets,
    Failure,
    Placement,
    Question,
    RunRecord,
    TestRecord,
    VerdictKind,
)
from pytest_accel.report import notes, sweep
from pytest_accel.verdict import disturbances, fails

Outcome = Literal["failed", "undecided", "left-out", "passed"]
#: Said beside the word, so that no meaning hangs on a colour alone.
SIGNS: Mapping[Outcome, str] = {"failed": "✗", "undecided": "?", "left-out": "–", "passed": "✓"}
#: The columns in which a reader finds what a question was about; of a latency limit it is the percentile's.
SHOWN_IN: Mapping[Question, tuple[str, ...]] = {
    "accuracy": ("metric", "top-1 %", "agreement %", "error", "change"),
    "regression": ("ratio",),
    "placement": ("on device", "operators"),
}
#: Keeps a number and its unit on one line.
NBSP = "\N{NO-BREAK SPACE}"
#: Columns of words; the others hold numbers.
WORDS = ("test", "machine", "limits", "operators", "resumed")


@dataclass(frozen=True)
class Row:
    """One variant of a model: a cell for each heading of its table, or none and the ``reason`` for it."""

    record: TestRecord
    outcome: Outcome
    best: bool
    cells: tuple[str, ...]
    reason: str
    #: The headings of what its verdict failed for.
    failing: frozenset[str]

    @property
    def sign(self) -> str:
        """The outcome in one character."""
        return SIGNS[self.outcome]


@dataclass(frozen=True)
class Table:
    """The variants of one model, of all its tests and on all machines."""

    model: str
    functions: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def best(self) -> str:
        """What the mark of a row means; empty where no row has it."""
        return sweep.what_is_best([row.record for row in self.rows]) if any(row.best for row in self.rows) else ""


@dataclass(frozen=True)
class Overview:
    """Everything that is told of some runs, in the order in which to read it.

    ``versions`` has one of each accelerator's components, by the accelerator and the machine it was used on.
    """

    runs: tuple[RunRecord, ...]
    outcome: Outcome
    headline: str
    counts: dict[VerdictKind, int]
    tables: tuple[Table, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    absences: tuple[str, ...]
    machines: dict[str, dict[str, str]]
    versions: dict[tuple[str, str], dict[str, str]]
    confidence: float

    @classmethod
    def of(cls, runs: Sequence[RunRecord]) -> Overview:
        """Put at least one run into words. Raises `UsageError` where their bounds mean different things."""
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
            tables=tuple(_table(group, confidences[0], strict) for group in groups),
            failures=tuple(_reproducible(failure) for run in runs for failure in run.failures),
            notes=tuple(_notes(runs, records)),
            absences=tuple(_absences(runs)),
            machines={record.hardware.fingerprint: _texts(record.hardware.identity) for record in records},
            versions=_versions(records),
            confidence=confidences[0],
        )

    @property
    def facts(self) -> Iterator[dict[str, str]]:
        """When, where and how long each run was, by name."""
        for run in self.runs:
            began = datetime.datetime.fromisoformat(run.started)
            machines = dict.fromkeys(record.hardware.fingerprint for record in run.tests)
            yield {
                "began": f"{began:%-d %B %Y, %H:%M %Z}".strip(),
                "took": duration(run.duration_s),
                "machine": ", ".join(machines) or "none was used",
                "by": f"pytest-accel {run.version}{', strict' if run.strict else ''}",
            }


def duration(seconds: float) -> str:
    """A time span as people say it: ``1 h 4 min``, ``3 min 12 s``, ``4.2 s``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def limits(budgets: Budgets) -> str:
    """The limits on speed that a test gave: ``p99 7 ms, 900/s``."""
    texts = [f"p{100 * p:g}{NBSP}{limit:g}{NBSP}ms" for p, limit in budgets.latency_limits_ms.items()]
    if budgets.min_throughput is not None:
        texts.append(f"{budgets.min_throughput:g}/s")
    return ", ".join(texts)


def precisions(placement: Placement | None) -> str:
    """In what the operators computed: ``12 int8, 1 float32``."""
    counts = placement.precisions if placement is not None else {}
    return ", ".join(f"{count}{NBSP}{precision}" for precision, count in counts.items())


def answers(record: TestRecord) -> Iterator[str]:
    """Each verdict with its question and details, then what bears on all of them."""
    for verdict in record.verdicts:
        yield " ".join((f"{verdict.kind} ({verdict.question}): {verdict.summary}", *verdict.details))
    if record.measurement is not None:
        phases = record.measurement.phases
        compiled = "from the cache, compiled in" if phases.compile_cached else "compiled in"
        yield (
            f"{record.measurement.load_shape}, {len(record.measurement.latencies_ns)} calls; {compiled} "
            f"{duration(phases.compile_s)}, loaded in {duration(phases.load_s)}, first inference "
            f"{phases.first_inference_ms:.4g} ms, {phases.warm_up_calls} calls to warm up."
        )
        if disturbed := disturbances(record.measurement):
            yield f"Disturbed: {'; '.join(disturbed)}."
    given = {name: limit for name, limit in msgspec.structs.asdict(record.budgets).items() if limit is not None}
    if given:
        yield f"Budgets: {', '.join(f'{name}={limit:g}' for name, limit in given.items())}."
    if record.changes:
        yield f"Changed from {record.opponent or 'the baseline'}: {'; '.join(record.changes)}."


def outcome_of(record: TestRecord, *, strict: bool) -> Outcome:
    """What a check's verdict does to its test."""
    if fails(record.kind, strict):
        return "failed"
    if record.kind in LEFT_OUT:
        return "left-out"
    return "undecided" if record.kind in UNDECIDED else "passed"


def _headline(runs: Sequence[RunRecord]) -> tuple[Outcome, str]:
    failed = {(at, failure.test) for at, run in enumerate(runs) for failure in run.failures}
    tests = failed | {(at, record.test) for at, run in enumerate(runs) for record in run.tests}
    if failed:
        return "failed", f"Failed: {len(failed)} of {_of_tests(len(tests))}"
    if not any(record.measurement is not None for run in runs for record in run.tests):
        return "undecided", "Nothing was measured"
    return "passed", f"Passed: none of {_of_tests(len(tests))} failed"


def _of_tests(count: int) -> str:
    return f"{count} test{'s' if count > 1 else ''}"


def _counts(records: Iterable[TestRecord]) -> dict[VerdictKind, int]:
    found = Counter(record.kind for record in records)
    return {kind: found[kind] for kind in reversed(SEVERITY) if found[kind]}


def _table(records: Sequence[TestRecord], confidence: float, strict: Mapping[int, bool]) -> Table:
    functions = tuple(dict.fromkeys(record.function for record in records))
    machines = dict.fromkeys(record.hardware.fingerprint for record in records)
    columns = {
        "test": [record.function for record in records] if len(functions) > 1 else [],
        "machine": [record.hardware.fingerprint for record in records] if len(machines) > 1 else [],
        "limits": [limits(record.budgets) for record in records],
        **sweep.columns(records, confidence),
        "on device": [_share(record.placement) for record in records],
        "operators": [precisions(record.placement) for record in records],
    }
    columns = {name: texts for name, texts in columns.items() if any(texts)}
    best = sweep.best_of(records) if len(records) > 1 else None
    rows = tuple(
        Row(
            record=record,
            outcome=outcome_of(record, strict=strict[id(record)]),
            best=record is best,
            cells=cells,
            reason=record.verdicts[0].summary if record.measurement is None and record.verdicts else "",
            failing=frozenset(_failing(record)),
        )
        for record, cells in zip(records, zip(*columns.values(), strict=True), strict=True)
    )
    return Table(model=records[0].model, functions=functions, headings=tuple(columns), rows=rows)


def _failing(record: TestRecord) -> Iterator[str]:
    for verdict in record.verdicts:
        if verdict.kind in FAILING:
            yield from SHOWN_IN.get(verdict.question, ())
            yield verdict.budget.replace("_ms", " ms")


def _share(placement: Placement | None) -> str:
    return "" if placement is None or placement.on_device is None else f"{placement.on_device:.1%}"


def _reproducible(failure: Failure) -> Failure:
    """The failure with the command that repeats it, which a check's own message has already."""
    if "\nReproduce: " in failure.message:
        return failure
    return msgspec.structs.replace(failure, message=f"{failure.message}\nReproduce: pytest '{failure.test}'")


def _notes(runs: Sequence[RunRecord], records: Sequence[TestRecord]) -> Iterator[str]:
    yield from notes.notes(records)
    yield from notes.savings(records)
    yield from notes.resumptions(records)
    for run in runs:
        yield from run.warnings


def _absences(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Each once, and not those of one machine that another one has."""
    used = {record.variant.accelerator for run in runs for record in run.tests}
    absent = {(name, reason): None for run in runs for name, reason in run.absent.items()}
    for name, reason in absent:
        elsewhere = " (on one of the machines; used on another)" if name in used else ""
        yield from (f"{line}{elsewhere}" for line in notes.absences({name: reason}))


def _versions(records: Iterable[TestRecord]) -> dict[tuple[str, str], dict[str, str]]:
    return {(record.variant.accelerator, record.hardware.fingerprint): record.versions for record in records}


def _texts(identity: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in identity.items() if value not in (None, "")}
