"""Make the table of one model for a page or a Markdown file: a row for each variant, test and machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_accel.facts.verdicts import FAILING, NOT_RUN, UNDECIDED, Question
from pytest_accel.report import sweep
from pytest_accel.report.figures import machine_of
from pytest_accel.report.variant_columns import variant_columns
from pytest_accel.verdict import fails

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Placement, TestRecord

Outcome = Literal["failed", "undecided", "left-out", "passed"]
#: SIGNS stand beside the words of the outcomes, so that no meaning depends on a colour alone.
SIGNS: Mapping[Outcome, str] = {"failed": "✗", "undecided": "?", "left-out": "–", "passed": "✓"}
#: SHOWN_IN gives the columns which show what a question is about; a latency limit is in its percentile's column.
SHOWN_IN: Mapping[Question, tuple[str, ...]] = {
    "accuracy": ("metric", "top-1 %", "agreement %", "error", "change", "predicted"),
    "regression": ("ratio",),
    "creep": ("creep",),
    "placement": ("on device", "operators"),
}
#: NBSP keeps a number and its unit on one line.
NBSP = "\N{NO-BREAK SPACE}"
#: WORD_COLUMNS are the columns of words; all others hold numbers.
WORD_COLUMNS = ("test", "machine", "limits", "operators", "predicted", "resumed", "run")


@dataclass(frozen=True)
class Row:
    """A row is one variant of a model, with a cell for each heading of its table.

    A variant that was left out has the ``reason`` in place of its numbers. ``failing`` are the headings of the numbers
    that it failed for.
    """

    record: TestRecord
    outcome: Outcome
    best: bool
    cells: tuple[str, ...]
    reason: str
    failing: frozenset[str]

    @property
    def sign(self) -> str:
        """Give the outcome as one character."""
        return SIGNS[self.outcome]


@dataclass(frozen=True)
class Table:
    """A table has the variants of one model, of all its tests and on all machines."""

    model: str
    functions: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def best(self) -> str:
        """Say what the mark of the best row means; empty where no row has it."""
        return sweep.what_is_best([row.record for row in self.rows]) if any(row.best for row in self.rows) else ""


def model_table(records: Sequence[TestRecord], confidence: float, strict: Mapping[int, bool]) -> Table:
    """Make the table of one model's records. ``strict`` says by a record's ``id()`` whether its run was strict."""
    columns = _columns(records, confidence)
    best = sweep.best_of(records) if len(records) > 1 else None
    rows = tuple(
        Row(
            record=record,
            outcome=outcome_of(record, strict=strict[id(record)]),
            best=record is best,
            cells=tuple(texts[at] for texts in columns.values()),
            reason=record.verdicts[0].summary if not sweep.has_figures(record) and record.verdicts else "",
            failing=frozenset(_failing(record)),
        )
        for at, record in enumerate(records)
    )
    functions = tuple(dict.fromkeys(record.function for record in records))
    return Table(model=records[0].model, functions=functions, headings=tuple(columns), rows=rows)


def _columns(records: Sequence[TestRecord], confidence: float) -> dict[str, list[str]]:
    """Give the cells of each column by its heading, without the columns that no record fills."""
    columns = {
        "test": _where_they_differ([record.function for record in records]),
        "machine": _where_they_differ([machine_of(record) for record in records]),
        "limits": [limits(record.budgets) for record in records],
        **variant_columns(records, confidence),
        "on device": [_share(record.placement) for record in records],
        "operators": [precisions(record.placement) for record in records],
    }
    return {heading: texts for heading, texts in columns.items() if any(texts)}


def _where_they_differ(texts: list[str]) -> list[str]:
    return texts if len(set(texts)) > 1 else []


def outcome_of(record: TestRecord, *, strict: bool) -> Outcome:
    """Say what a check's verdict does to its test."""
    if fails(record.kind, strict):
        return "failed"
    if record.kind in NOT_RUN:
        return "left-out"
    return "undecided" if record.kind in UNDECIDED else "passed"


def limits(budgets: Budgets) -> str:
    """List the limits on speed that a test gave: ``p99 7 ms, 900/s``."""
    texts = [f"p{100 * p:g}{NBSP}{limit:g}{NBSP}ms" for p, limit in budgets.latency_limits_ms.items()]
    if budgets.min_throughput is not None:
        texts.append(f"{budgets.min_throughput:g}/s")
    return ", ".join(texts)


def precisions(placement: Placement | None) -> str:
    """Count the operators by the precision in which they computed: ``12 int8, 1 float32``."""
    counts = placement.precisions if placement is not None else {}
    return ", ".join(f"{count}{NBSP}{precision}" for precision, count in counts.items())


def _share(placement: Placement | None) -> str:
    return "" if placement is None or placement.on_device is None else f"{placement.on_device:.1%}"


def _failing(record: TestRecord) -> Iterator[str]:
    for verdict in record.verdicts:
        if verdict.kind in FAILING:
            yield from SHOWN_IN.get(verdict.question, ())
            yield verdict.budget.replace("_ms", " ms")
