"""In which operators a slower model takes its time: two profiles side by side, and the sentences about them.

A profile is no measurement that is judged. Operators are the same where name and type are. The others are summed by
type, because a fusion or a new name is no slowdown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_accel.worker.accelerator import OperatorTime

#: MOST_NAMED is the number of operators that a failure names.
MOST_NAMED = 3
#: SHOWN is the share of a slowdown that the profiles have to show, or they name no operator.
SHOWN = 0.25
#: SMALL is the share of a time, or of a slowdown, that nothing is told of.
SMALL = 0.01

#: A name and a type, and the milliseconds of a call.
_TimesMs: TypeAlias = "Mapping[tuple[str, str], float]"


@dataclass(frozen=True)
class OperatorChange:
    """What one operator takes in a call of the opponent, ``before``, and in one of the candidate, ``after``.

    ``name`` is empty for the sum of all operators of a type whose names differ. None: this side has none.
    """

    name: str
    kind: str
    before_ms: float | None
    after_ms: float | None

    @property
    def difference_ms(self) -> float:
        """How much longer the candidate takes."""
        return (self.after_ms or 0.0) - (self.before_ms or 0.0)

    @property
    def has_partner(self) -> bool:
        """Whether both sides have this very operator."""
        return bool(self.name) and None not in (self.before_ms, self.after_ms)

    @property
    def label(self) -> str:
        """The operator as a reader is told of it."""
        operator = f"{self.name} ({self.kind})" if self.name else f"{self.kind} (all whose names differ)"
        return operator if self.before_ms is not None else f"{operator}, in this model alone"


@dataclass(frozen=True)
class OperatorComparison:
    """The operators of two artefacts, the one first that got slower by most."""

    changes: tuple[OperatorChange, ...]

    @classmethod
    def of(cls, before: Iterable[OperatorTime], after: Iterable[OperatorTime]) -> OperatorComparison:
        """Compare the operators of the opponent with those of the candidate."""
        earlier, later = _times_ms(before), _times_ms(after)
        shared = [operator for operator in later if operator[0] and operator in earlier]
        changes = [OperatorChange(*operator, earlier[operator], later[operator]) for operator in shared]
        alone = [{each: side[each] for each in side if each not in shared} for side in (earlier, later)]
        kinds = dict.fromkeys(kind for side in alone for _, kind in side)
        changes += [_without_partner(kind, *alone) for kind in kinds]
        return cls(tuple(sorted(changes, key=lambda change: -change.difference_ms)))

    @property
    def before_ms(self) -> float:
        """What all operators of the opponent take."""
        return sum(change.before_ms or 0.0 for change in self.changes)

    @property
    def after_ms(self) -> float:
        """What all operators of the candidate take."""
        return sum(change.after_ms or 0.0 for change in self.changes)


def slower_operators(comparison: OperatorComparison, *, ratio: float, opponent: str) -> tuple[str, ...]:
    """Say which operators a slowdown to ``ratio`` times the opponent's time is in, those with most of it first."""
    before_ms, after_ms = comparison.before_ms, comparison.after_ms
    profiled = f"All operators together: {_times(before_ms, after_ms)}, by the runtime's own profiler"
    slowdown_ms = after_ms - before_ms
    if slowdown_ms <= SHOWN * (ratio - 1.0) * before_ms:
        little = "That shows little of the slowdown: it is between the operators, or other processes hid it."
        return (f"{profiled}. {little}",)
    slower = [each for each in comparison.changes[:MOST_NAMED] if each.difference_ms > SMALL * slowdown_ms]
    return (
        f"{profiled} in a launch that is not judged. Most of it:",
        *(f"  {_change(change, slowdown_ms)}" for change in slower),
        *_without_partners(comparison, opponent),
    )


def operators_unknown(reason: str) -> tuple[str, ...]:
    """Say why no operator is named."""
    return (f"Which operators got slower is not known: {reason}.",)


def _without_partners(comparison: OperatorComparison, opponent: str) -> tuple[str, ...]:
    """Say how much of the time has no partner, where that is more than a little."""
    alone = [change for change in comparison.changes if not change.has_partner]
    before_ms = sum(change.before_ms or 0.0 for change in alone)
    after_ms = sum(change.after_ms or 0.0 for change in alone)
    if before_ms + after_ms <= SMALL * (comparison.before_ms + comparison.after_ms):
        return ()
    return (
        f"Operators without a partner of their name and type, as other fusions have: {_ms(before_ms)} of {opponent}, "
        f"{_ms(after_ms)} of this model.",
    )


def _change(change: OperatorChange, slowdown_ms: float) -> str:
    before_ms, after_ms, difference_ms = change.before_ms or 0.0, change.after_ms or 0.0, change.difference_ms
    share = f"{difference_ms / slowdown_ms:.0%}".replace("%", " %")
    longer = f"+{_ms(difference_ms, decimals=_decimals(after_ms))}"
    return f"{change.label}: {_times(before_ms, after_ms)} ({longer}, {share} of the slowdown)"


def _times(before_ms: float, after_ms: float) -> str:
    decimals = _decimals(max(before_ms, after_ms))
    return f"{before_ms:.{decimals}f} -> {_ms(after_ms, decimals=decimals)}"


def _ms(time_ms: float, *, decimals: int | None = None) -> str:
    return f"{time_ms:.{_decimals(time_ms) if decimals is None else decimals}f} ms"


def _decimals(time_ms: float) -> int:
    """Return how many decimals show three digits of a time."""
    return max(0, 2 - floor(log10(time_ms))) if time_ms > 0 else 0


def _times_ms(operators: Iterable[OperatorTime]) -> _TimesMs:
    times_ms: defaultdict[tuple[str, str], float] = defaultdict(float)
    for operator in operators:
        times_ms[operator.name, operator.kind] += operator.ns / 1e6
    return times_ms


def _without_partner(kind: str, earlier: _TimesMs, later: _TimesMs) -> OperatorChange:
    """Return the change of a type's operators that have no partner; a single one of them keeps its name."""
    sides = [{name: time_ms for (name, each), time_ms in side.items() if each == kind} for side in (earlier, later)]
    before_ms, after_ms = (sum(side.values()) if side else None for side in sides)
    names = [name for side in sides for name in side]
    return OperatorChange(names[0] if len(names) == 1 else "", kind, before_ms, after_ms)
