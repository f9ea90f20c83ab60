"""Draw how sure each comparison is: the ratios of a model's latencies with their intervals and limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report.plots.axes import LogAxis, Tick
from pytest_accel.verdict import times
from pytest_accel.verdict.gate import DEFAULT_MAX_REGRESSION, WIDEST

if TYPE_CHECKING:
    from pytest_accel.report.model_table import Row, Table

#: CHARACTER_PX is about the width of a character of a variant's name, in pixels.
CHARACTER_PX = 7.2
#: ROW_PX is the height of a variant's row, in pixels.
ROW_PX = 26.0


class Whisker(NamedTuple):
    """A whisker is a ratio with its interval and its limit, in pixels.

    An end of the interval is open where there were too few launches to know it.
    """

    row: Row
    y: float
    at: float
    lower: float
    upper: float
    limit: float
    open_below: bool
    open_above: bool
    text: str


@dataclass(frozen=True)
class Forest:
    """A forest has the ratios of a model's variants to the baseline or the opponent, one below the other."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    one: float
    ticks: list[Tick]
    whiskers: tuple[Whisker, ...]


def forest(table: Table) -> Forest | None:
    """Draw the ratios of a model; None where nothing was compared."""
    rows = [row for row in table.rows if row.record.ratio is not None]
    if not rows:
        return None
    left = 28.0 + CHARACTER_PX * max(len(row.record.variant.id) for row in rows)
    width = left + 640.0
    values = [1.0, *(value for row in rows for value in _finite(row))]
    x = LogAxis.over(values, left, width - 210.0)
    height = ROW_PX * len(rows) + 34.0
    return Forest(
        width=width,
        height=height,
        left=left,
        right=x.end,
        bottom=height - 28.0,
        one=x.at(1.0),
        ticks=x.ticks,
        whiskers=tuple(_whisker(row, x, ROW_PX * (at + 0.5) + 4.0) for at, row in enumerate(rows)),
    )


def _limit(row: Row) -> float:
    max_regression = row.record.budgets.max_regression
    return 1.0 + (DEFAULT_MAX_REGRESSION if max_regression is None else max_regression)


def _finite(row: Row) -> Iterator[float]:
    """Give the values that the axis has to show: the limit, the ratio, and the known ends of its interval."""
    ratio = row.record.ratio
    assert ratio is not None
    yield from (value for value in (ratio.lower, ratio.estimate, ratio.upper) if 1.0 / WIDEST < value < WIDEST)
    yield _limit(row)


def _whisker(row: Row, x: LogAxis, y: float) -> Whisker:
    ratio = row.record.ratio
    assert ratio is not None
    # The row may have failed for another reason.
    kinds = [verdict.kind for verdict in row.record.verdicts if verdict.question == "regression"]
    return Whisker(
        row=row,
        y=y,
        at=x.at(ratio.estimate),
        lower=x.at(ratio.lower),
        upper=x.at(ratio.upper),
        limit=x.at(_limit(row)),
        open_below=ratio.lower <= 1.0 / WIDEST,
        open_above=ratio.upper >= WIDEST,
        text=" ".join((times(ratio), *kinds)),
    )
