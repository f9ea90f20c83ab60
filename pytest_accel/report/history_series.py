"""Make series of a history: what each variant of a model did over time on one kind of hardware.

Latencies of different days say little on a shared machine. So a series is drawn and searched by the ratios to the
baseline, which were measured side by side. A baseline may be replaced, and then the ratios are chained. The level of a
run is its ratio times the level of the baseline that it was compared with. A baseline has the level at which its
artefact was measured, and the first baseline has the level 1. Where no run leads from one baseline to the next, a new
series begins. Without two ratios p50 is drawn instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, hypot, log
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_accel.report.change_points import change_points
from pytest_accel.verdict.gate import WIDEST

if TYPE_CHECKING:
    from pytest_accel.store.history_entry import Bounds, HistoryEntry

Measure = Literal["ratio", "p50"]


class Point(NamedTuple):
    """A run in a series: its level, or its p50 in ms, with bounds. A bound that is not known is None."""

    entry: HistoryEntry
    value: float
    lower: float | None
    upper: float | None


class LevelChange(NamedTuple):
    """From the point ``at`` on the runs took ``factor`` times as long as before."""

    at: int
    entry: HistoryEntry
    factor: float

    @property
    def percent(self) -> float:
        """How much longer the runs took, with the digits that people read."""
        return round(100 * (self.factor - 1), 1)

    def __str__(self) -> str:
        """Say it as people do."""
        commit = str(self.entry.provenance)
        since = f"commit {commit}" if commit else f"the run of {self.entry.when}"
        return f"from {since} on {abs(self.percent):g} % {'slower' if self.factor > 1 else 'faster'}"


@dataclass(frozen=True)
class Series:
    """The runs of one variant on one kind of hardware, the oldest first.

    ``points`` are those whose value is known. ``measure`` says what their values are.
    """

    entries: tuple[HistoryEntry, ...]
    measure: Measure
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Name the model and the variant."""
        return f"{self.entries[0].model}[{self.entries[0].variant}]"

    @cached_property
    def changes(self) -> tuple[LevelChange, ...]:
        """Say where the level has changed."""
        values = [log(point.value) for point in self.points]
        cuts = change_points(values)
        levels = [fmean(values[begin:end]) for begin, end in itertools.pairwise([0, *cuts, len(values)])]
        return tuple(
            LevelChange(cut, self.points[cut].entry, exp(after - before))
            for cut, (before, after) in zip(cuts, itertools.pairwise(levels), strict=True)
        )


def series_of(entries: Iterable[HistoryEntry]) -> Iterator[Series]:
    """Give the series of a history, whose entries are in the order of their runs, by model, variant and hardware."""
    for _, group in itertools.groupby(sorted(entries, key=_of_what), key=_of_what):
        yield from _series(tuple(group))


def _of_what(entry: HistoryEntry) -> tuple[str, str, str]:
    return entry.model, entry.variant, entry.fingerprint


def _series(entries: tuple[HistoryEntry, ...]) -> Iterator[Series]:
    if sum(entry.ratio is not None and entry.beside is not None for entry in entries) < 2:
        yield Series(entries, "p50", tuple(_by_latency(entry) for entry in entries))
        return
    for part in _parts(entries, _chained(entries)):
        points = (_by_level(entry, level) for entry, level in part if level is not None)
        yield Series(tuple(entry for entry, _ in part), "ratio", tuple(points))


class _Level(NamedTuple):
    """How long something takes, as the logarithm of a factor to the baseline whose artefact is ``root``.

    ``below`` and ``above`` are how far its bounds are away.
    """

    root: str
    log: float = 0.0
    below: float = 0.0
    above: float = 0.0

    def times(self, ratio: Bounds) -> _Level:
        """Return the level of what was compared with something of this level."""
        estimate, lower, upper = log(ratio.estimate), log(ratio.lower or 1 / WIDEST), log(ratio.upper or WIDEST)
        # Independent errors of logarithms add up as squares do.
        below, above = hypot(self.below, estimate - lower), hypot(self.above, upper - estimate)
        return _Level(self.root, self.log + estimate, below, above)

    @property
    def width(self) -> float:
        """How far apart the bounds are."""
        return self.below + self.above


def _chained(entries: Sequence[HistoryEntry]) -> list[_Level | None]:
    """Give the level of each entry, None for one that was compared with no baseline."""
    of_artefacts: dict[str, _Level] = {}
    return [_level(entry, of_artefacts) for entry in entries]


def _level(entry: HistoryEntry, of_artefacts: dict[str, _Level]) -> _Level | None:
    """Give the level of an entry, and note it as that of its artefact: that may be the next baseline."""
    if entry.ratio is None or entry.beside is None:
        return None
    baseline, own = entry.beside.artefact_key, entry.artefact
    level = of_artefacts.setdefault(baseline, _Level(baseline)).times(entry.ratio)
    # What was measured best counts. Beside itself an artefact is never measured better, so that no errors add up.
    if own not in of_artefacts or level.width < of_artefacts[own].width:
        of_artefacts[own] = level
    return level


def _parts(
    entries: Sequence[HistoryEntry], levels: Sequence[_Level | None]
) -> Iterator[list[tuple[HistoryEntry, _Level | None]]]:
    """Divide the entries by the first baseline of their chain. One without a level is with those before it."""
    roots = list(dict.fromkeys(level.root for level in levels if level is not None))
    parts: dict[str, list[tuple[HistoryEntry, _Level | None]]] = {root: [] for root in roots}
    saved = {_position_of_first(root, entries, levels): root for root in roots}
    root = roots[0]
    for at, (entry, level) in enumerate(zip(entries, levels, strict=True)):
        if at in saved:
            level = _Level(saved[at])
        root = root if level is None else level.root
        parts[root].append((entry, level))
    yield from parts.values()


def _position_of_first(root: str, entries: Sequence[HistoryEntry], levels: Sequence[_Level | None]) -> int | None:
    """Find the run that has saved the first baseline of a chain: the last of its artefact before any comparison."""
    compared = next(at for at, level in enumerate(levels) if level is not None and level.root == root)
    own = [at for at in range(compared) if levels[at] is None and entries[at].artefact == root]
    return own[-1] if own else None


def _by_level(entry: HistoryEntry, level: _Level) -> Point:
    lower, upper = level.log - level.below, level.log + level.above
    known_lower, known_upper = lower > -log(WIDEST), upper < log(WIDEST)
    return Point(entry, exp(level.log), exp(lower) if known_lower else None, exp(upper) if known_upper else None)


def _by_latency(entry: HistoryEntry) -> Point:
    return Point(entry, entry.p50_ms.estimate, entry.p50_ms.lower, entry.p50_ms.upper)
