"""Make the table of a sweep: a row for each variant of one model in one test, to choose the best one from.

It stands in the terminal in place of the variants' own lines. A variant that was left out has the reason in place of
its figures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.facts.verdicts import FAILING, LEFT_OUT
from pytest_accel.report.columns import join, pad
from pytest_accel.report.figures import colour
from pytest_accel.report.variant_columns import variant_columns

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.facts.records import TestRecord

#: WIDTH is the longest line of a reason, in characters; the notes below the tables have it in full.
WIDTH = 120
#: BEST marks the row of the variant with the highest throughput.
BEST = "*"
#: HEADINGS holds the headings that differ from their column's name: a bound stands beside its percentile.
HEADINGS = {"p50 ≤": "≤", "p99 ≤": "≤", "resumed": "", "run": ""}


class Line(NamedTuple):
    """A line of the terminal has a colour, as pytest's terminal writer names it, or an empty one."""

    text: str
    colour: str


def split(records: Sequence[TestRecord]) -> tuple[list[TestRecord], list[list[TestRecord]]]:
    """Separate the sweeps, two or more variants of one model in one test, from the records that stand alone."""
    groups: dict[tuple[str, str], list[TestRecord]] = {}
    for record in records:
        groups.setdefault((record.function, record.model), []).append(record)
    sweeps = [group for group in groups.values() if len({record.variant.id for record in group}) > 1]
    swept = {id(record) for group in sweeps for record in group}
    return [record for record in records if id(record) not in swept], sweeps


def without_measurement(records: Sequence[TestRecord]) -> Iterator[str]:
    """Give a sentence for each test of which no variant was measured, although some were left out as allowed.

    In a run that only compiles, what was compiled is all that was asked for.
    """
    functions = dict.fromkeys(record.function for record in records if record.kind in LEFT_OUT)
    for function in functions:
        variants = [record for record in records if record.function == function]
        if not any(map(has_figures, variants)):
            kinds = Counter(record.kind for record in variants)
            how = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            yield f"{function}: no variant was measured ({how})"


def has_figures(record: TestRecord) -> bool:
    """Say whether a variant was measured, or compiled and not run as the run asks for. All others have a reason."""
    return record.measurement is not None or bool(record.compiled_for)


def table(sweep: Sequence[TestRecord], confidence: float) -> list[Line]:
    """Give the sweep's title, headings, a row for each variant, and what the mark of the best row means."""
    records = ordered(sweep)
    best = best_of(records)
    accelerators = {record.variant.accelerator for record in records}
    on = f" on {accelerators.pop()}" if len(accelerators) == 1 else ""
    machines = _machines(records)
    columns = variant_columns(records, confidence)
    headings = ["machine" if any(machines) else "", *(HEADINGS.get(name, name) for name in columns)]
    rows = [["  verdict", "variant", *headings]]
    for at, record in enumerate(records):
        mark = BEST if record is best else " "
        figures = [texts[at] for texts in columns.values()] if has_figures(record) else []
        rows.append([f"{mark} {record.kind}", _label(record, alone=bool(on)), machines[at], *figures])
    head, *cells = pad(rows, right=range(3, len(rows[0])))
    return [
        Line(f"{records[0].model}{on}{_at_host(records)}: {len(records)} variants of {records[0].function}", ""),
        Line(join(head), ""),
        *(Line(_text(record, row), colour(record)) for record, row in zip(records, cells, strict=True)),
        *_footer(records, best),
    ]


def ordered(records: Iterable[TestRecord]) -> list[TestRecord]:
    """Sort by accelerator, by precision with the widest first, by the other options, and by batch size."""
    return sorted(records, key=_order)


def _at_host(records: Sequence[TestRecord]) -> str:
    """Name the host that all variants ran on, for the title; nothing where that is this machine."""
    hosts = {record.host for record in records}
    return f" ({hosts.pop()})" if len(hosts) == 1 and all(hosts) else ""


def _machines(records: Sequence[TestRecord]) -> list[str]:
    """Name the machine of each variant where they differ."""
    several = len({record.host for record in records}) > 1
    return [(record.host or "this machine") if several else "" for record in records]


def _text(record: TestRecord, cells: Sequence[str]) -> str:
    if has_figures(record):
        return join(cells)
    text = join([*cells, *(verdict.summary for verdict in record.verdicts[:1])])
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1].rstrip()}…"


def _footer(records: Sequence[TestRecord], best: TestRecord | None) -> Iterator[Line]:
    if best is not None:
        yield Line(f"{BEST} {what_is_best(records)}", "")
    elif any(record.measurement is not None for record in records):
        yield Line("  none of them was shown to keep all its limits", "")


def what_is_best(records: Sequence[TestRecord]) -> str:
    """Say what the mark of the best means. On one device the fastest is also the cheapest: an hour has one price."""
    one_device = len({record.hardware.fingerprint for record in records}) == 1
    cheapest = ", so the cheapest for each item" if one_device else ""
    return f"highest throughput of those that keep all their limits{cheapest}"


def best_of(records: Sequence[TestRecord]) -> TestRecord | None:
    """Find the variant with the highest throughput among those that were shown to keep every limit."""
    keeping = [
        record
        for record in records
        if not any(verdict.kind in FAILING or verdict.kind == "inconclusive" for verdict in record.verdicts)
    ]
    throughputs = [(record.measurement.throughput, record) for record in keeping if record.measurement is not None]
    return max(throughputs, key=lambda pair: pair[0], default=(0.0, None))[1]


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


def _rank(value: OptionValue) -> tuple[float, str]:
    """Sort numbers by size, and before words."""
    return (float(value), "") if isinstance(value, int | float) else (math.inf, str(value))


def _label(record: TestRecord, *, alone: bool) -> str:
    variant = record.variant
    return variant.id.removeprefix(f"{variant.accelerator}-") if alone else variant.id
