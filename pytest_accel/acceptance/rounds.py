"""Rounds of contenders, played until it is clear whether a figure is within its limit.

What disturbs the machine disturbs the contenders of one round alike, so a figure is made of one round's costs. What
counts is its median over the rounds, with bounds that hold whatever the disturbances look like. A figure that is too
close to its limit for the rounds played so far is not judged: more are played.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median

from pytest_accel.stats import over_limits, per_look_confidence

#: Costs are one round's cost of each contender.
Costs = dict[str, float]
#: Figure is what is judged, made of one round's costs.
Figure = Callable[[Costs], float]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Limit:
    """How far a figure may exceed the neutral one, which is 0 for a cost and 1 for a ratio.

    With ``either_way`` the figure's reciprocal has the same limit. ``times`` multiplies the excess.
    """

    neutral: float
    excess: float
    either_way: bool = False
    times: int = 1

    @classmethod
    def cost(cls, most: float) -> Limit:
        """Return the limit of a cost of at most this, in any unit. Three times 5 ms are 15 ms."""
        return cls(0.0, most)

    @classmethod
    def ratio(cls, most: float, *, either_way: bool = False) -> Limit:
        """Return the limit of at most so many times a peer's cost. 1.01 allows 1 % more.

        Three times that are 3 %. 1.02 either way is 1/1.02 to 1.02, three times 1/1.06 to 1.06.
        """
        return cls(1.0, most - 1.0, either_way)

    @property
    def highest(self) -> float:
        """The largest figure within the limit."""
        return self.neutral + self.times * self.excess

    @property
    def lowest(self) -> float:
        """The smallest figure within the limit."""
        return 1.0 / self.highest if self.either_way else -inf

    def tripled(self) -> Limit:
        """Return three times the excess over the neutral figure."""
        return replace(self, times=3)

    def __str__(self) -> str:
        return "the limit" if self.times == 1 else "three times the limit"


@dataclass(frozen=True)
class Decided:
    """The median of a figure over the rounds and its bounds; infinite ones where the rounds were too few for any."""

    estimate: float
    lower: float
    upper: float
    limit: Limit
    rounds: tuple[Costs, ...]

    @property
    def within(self) -> bool:
        """Whether both bounds are within the limit."""
        return self.limit.lowest <= self.lower and self.upper <= self.limit.highest

    @property
    def beyond(self) -> bool:
        """Whether both bounds are outside on the same side.

        With neither, the machine was too busy for these rounds. That is told and fails nothing, as in a check without
        ``--accel-strict``.
        """
        return self.upper < self.limit.lowest or self.lower > self.limit.highest

    @property
    def judged(self) -> str:
        """The verdict in a few words."""
        said = f"within {self.limit}" if self.within else f"BEYOND {self.limit}".upper() if self.beyond else "undecided"
        return f"{said} after {len(self.rounds)} round{'s' if len(self.rounds) > 1 else ''}"

    def typical(self, contender: str) -> float:
        """Return a contender's median cost."""
        return median(costs[contender] for costs in self.rounds)


@dataclass(frozen=True)
class Rounds:
    """Rounds that are played once they are asked for, and kept: two figures can be made of the same ones.

    Once ``is_over``, for example because time is up, no further one is played.
    """

    play: Callable[[], Costs]
    played: list[Costs] = field(default_factory=list)
    is_over: Callable[[], bool] = lambda: False

    def first(self, count: int) -> Sequence[Costs]:
        """Return the first ``count`` rounds, or fewer where it is over; at least one."""
        while len(self.played) < count and not (self.played and self.is_over()):
            self.played.append(self.play())
        return self.played[:count]


def until_sure(rounds: Rounds, figure: Figure, *, limit: Limit, looks: Sequence[int]) -> Decided:
    """Play rounds until the figure's median is surely within its limit, or surely not.

    ``looks`` are the numbers of rounds after which that may be decided, the last one in any case; each may spend its
    share of the error.
    """
    confidence = per_look_confidence(CONFIDENCE, len(looks))
    for look in looks:
        played = rounds.first(look)
        found = judge_median(played, figure, limit, confidence)
        if found.within or found.beyond or len(played) < look:
            break
    return found


def judge_median(rounds: Sequence[Costs], figure: Figure, limit: Limit, confidence: float = CONFIDENCE) -> Decided:
    """Return whether the figure's median over rounds that were played is surely within its limit, or surely not."""
    n = len(rounds)
    ordered = sorted(map(figure, rounds))
    # Unlike the calls of one process, rounds are independent: what drifts hits all contenders of a round.
    few, many = over_limits(n, 0.5, confidence)
    lower = ordered[n - 1 - many] if many < n else -inf
    upper = ordered[n - 1 - few] if few >= 0 else inf
    return Decided(median(ordered), lower, upper, limit, tuple(rounds))
