"""The table of a sweep: the variants of one model in one test, a row each, with what a choice among them stands on.

Takes the place of their lines in the summary. Rows that were left out say why where the others have numbers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pytest_accel.facts.records import FAILING, LEFT_OUT, Scalar, TestRecord
from pytest_accel.report.columns import join, pad
from pytest_accel.report.figures import colour, latency_bounds, score_of
from pytest_accel.verdict import interval

#: Characters of a row. Only reasons are cut off at it, and the notes below the tables have them in full.
WIDTH = 120
#: Of latencies, throughput and sizes.
SIGNIFICANT_DIGITS = 3
MOST_DECIMALS = 4
BEST = "*"
#: In the order of the table; a column that no row fills takes no room.
COLUMNS = (
    *("p50 ms", "p50 ≤", "p99 ms", "p99 ≤", "items/s"),
    *("metric", "top-1 %", "agreement %", "error", "change"),
    *("ratio", "compile s", "size MB", "host MB", "device MB"),
    "resumed",
)

#: HEADINGS holds the headings that differ from their column's name: a bound stands beside its percentile.
HEADINGS = {"p50 ≤": "≤", "p99 ≤": "≤", "resumed": ""}

Cell = float | str


class Line(NamedTuple):
    """A line of the terminal; ``colour`` is the writer's markup, empty for none."""

    text: str
    colour: str


def split(records: Sequence[TestRecord]) -> tuple[list[TestRecord], list[list[TestRecord]]]:
    """The records that stand alone, and the sweeps: two or more variants of one model in one test."""
    groups: dict[tuple[str, str], list[TestRecord]] = {}
    for record in records:
        groups.setdefault((record.function, record.model), []).append(record)
    sweeps = [group for group in groups.values() if len({record.variant.id for record in group}) > 1]
    swept = {id(record) for group in sweeps for record in group}
    return [record for record in records if id(record) not in swept], sweeps


def without_measurement(records: Sequence[TestRecord]) -> Iterator[str]:
    """A sentence for each test of which no variant at all was measured, though some were left out as allowed."""
    functions = dict.fromkeys(record.function for record in records if record.kind in LEFT_OUT)
    for function in functions:
        variants = [record for record in records if record.function == function]
        if all(record.measurement is None for record in variants):
            kinds = Counter(record.kind for record in variants)
            how = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            yield f"{function}: no variant was measured ({how})"


def table(sweep: Sequence[TestRecord], confidence: float) -> list[Line]:
    """The sweep's title, headings, a row for each variant, and which of them is the best."""
    records = ordered(sweep)
    best = best_of(records)
    accelerators = {record.variant.accelerator for record in records}
    figures = columns(records, confidence)
    rows = [["  verdict", "variant", *(HEADINGS.get(name, name) for name in figures)]]
    for at, record in enumerate(records):
        front = [f"{BEST if record is best else ' '} {record.kind}", _label(record, alone=len(accelerators) == 1)]
        rows.append([*front, *(texts[at] for texts in figures.values())] if record.measurement is not None else front)
    headings, *padded = pad(rows, right=range(2, len(rows[0])))
    on = f" on {accelerators.pop()}" if len(accelerators) == 1 else ""
    return [
        Line(f"{records[0].model}{on}: {len(records)} variants of {records[0].function}", ""),
        Line(join(headings), ""),
        *(Line(_text(record, cells), colour(record)) for record, cells in zip(records, padded, strict=True)),
        *_footer(records, best),
    ]


def ordered(records: Iterable[TestRecord]) -> list[TestRecord]:
    """By accelerator, then by precision from the widest down, then by the other options; batches of a kind together."""
    return sorted(records, key=_order)


def columns(records: Sequence[TestRecord], confidence: float) -> dict[str, list[str]]:
    """What is known about each record as text, by the columns' names; without those that no record fills."""
    rows = [_row(record, confidence) for record in records]
    found = {name: _texts([row.get(name, "") for row in rows]) for name in COLUMNS}
    return {name: texts for name, texts in found.items() if any(texts)}


def _text(record: TestRecord, cells: Sequence[str]) -> str:
    if record.measurement is not None:
        return join(cells)
    text = join([*cells, *(verdict.summary for verdict in record.verdicts[:1])])
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1].rstrip()}…"


def _footer(records: Sequence[TestRecord], best: TestRecord | None) -> Iterator[Line]:
    if best is not None:
        yield Line(f"{BEST} {what_is_best(records)}", "")
    elif any(record.measurement is not None for record in records):
        yield Line("  none of them was shown to keep all its limits", "")


def what_is_best(records: Sequence[TestRecord]) -> str:
    """What the mark of the best says. An hour of one device has one price, whichever variant uses it."""
    one_device = len({record.hardware.fingerprint for record in records}) == 1
    cheapest = ", so the cheapest for each item" if one_device else ""
    return f"highest throughput of those that keep all their limits{cheapest}"


def best_of(records: Sequence[TestRecord]) -> TestRecord | None:
    """The one with the highest throughput of those that were shown to keep every limit."""
    keeping = [
        record
        for record in records
        if not any(verdict.kind in FAILING or verdict.kind == "inconclusive" for verdict in record.verdicts)
    ]
    throughputs = [(record.measurement.throughput, record) for record in keeping if record.measurement is not None]
    return max(throughputs, key=lambda each: each[0], default=(0.0, None))[1]


def _order(record: TestRecord) -> tuple[object, ...]:
    variant = record.variant
    others = sorted(name for name in variant.named if name not in ("precision", "batch_size"))
    precision = str(variant.options.get("precision", ""))
    bits = re.search(r"\d+$", precision)
    return (
        variant.accelerator,
        -int(bits[0]) if bits else 0,
        precision,
        [(name, *_rank(variant.options[name])) for name in others],
        _rank(variant.options.get("batch_size")),
    )


def _rank(value: Scalar) -> tuple[float, str]:
    """Numbers by size, and before words."""
    return (float(value), "") if isinstance(value, int | float) else (math.inf, str(value))


def _label(record: TestRecord, *, alone: bool) -> str:
    variant = record.variant
    return variant.id.removeprefix(f"{variant.accelerator}-") if alone else variant.id


def _row(record: TestRecord, confidence: float) -> dict[str, Cell]:
    """What is known about a variant, by column."""
    measurement, artefact = record.measurement, record.artefact
    if measurement is None:
        return {}
    row: dict[str, Cell] = {"items/s": measurement.throughput, "resumed": "resumed" if record.resumed else ""}
    for percentile, bound in latency_bounds(measurement, confidence):
        row[f"p{percentile} ms"] = bound.estimate
        row[f"p{percentile} ≤"] = "" if bound.upper is None else bound.upper
    if artefact is not None:
        row |= {"compile s": artefact.compile_s, "size MB": artefact.size_mb}
    for where, memory_mb in (("host", measurement.host_memory_mb), ("device", measurement.device_memory_mb)):
        row[f"{where} MB"] = "" if memory_mb is None else memory_mb
    if (ratio := record.ratio) is not None:
        row["ratio"] = f"×{ratio.estimate:.3f} {interval(ratio)}"
    return row | _accuracy(record)


def _accuracy(record: TestRecord) -> dict[str, Cell]:
    """The best measure of accuracy there is and its change from the reference's."""
    score = score_of(record.accuracy)
    if score is None:
        return {}
    column = "metric" if score.users else f"{score.name} {score.unit}".rstrip()
    return {column: score.value, "change": score.change}


def _texts(cells: Sequence[Cell]) -> list[str]:
    """Cells of a column; its numbers have the same decimals, enough for the smallest."""
    numbers = [abs(cell) for cell in cells if isinstance(cell, float) and cell]
    decimals = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(min(numbers))) if numbers else 0
    decimals = max(0, min(MOST_DECIMALS, decimals))
    return [f"{cell:,.{decimals}f}" if isinstance(cell, float) else cell for cell in cells]
