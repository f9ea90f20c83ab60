"""Rounds of contenders, played until it is clear whether a figure is within its limit.

What disturbs the machine disturbs the contenders of one round alike, so a figure is made of one round's costs. What
counts is its median over the rounds, with bounds that hold whatever the disturbances look like. A figure that is too
close to its limit for the rounds played so far is not judged: more are played.

In CI noise must fail nothing, and only a gross defect has to be seen. There a figure fails when `ROUNDS_IN_CI` rounds
all lie beyond three times the limit, on the same side. The first round that does not acquits it and is the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median

from pytest_accel.stats import over_limits, per_look_confidence

#: One round's cost of each contender.
Costs = dict[str, float]
#: What is judged, made of one round's costs.
Figure = Callable[[Costs], float]
CONFIDENCE = 0.95
ROUNDS_IN_CI = 10


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
        """A cost of at most this, in any unit. Three times 5 ms are 15 ms."""
        return cls(0.0, most)

    @classmethod
    def ratio(cls, most: float, *, either_way: bool = False) -> Limit:
        """At most so many times a peer's cost. 1.01 allows a hundredth more, and three times that is 1.03.

        1.02 either way is 1/1.02 to 1.02, and three times that is 1/1.06 to 1.06.
        """
        return cls(1.0, most - 1.0, either_way)

    @property
    def highest(self) -> float:
        return self.neutral + self.times * self.excess

    @property
    def lowest(self) -> float:
        return 1.0 / self.highest if self.either_way else -inf

    def tripled(self) -> Limit:
        """The limit in CI: three times the excess over the neutral figure."""
        return replace(self, times=3)

    def __str__(self) -> str:
        return "the limit" if self.times == 1 else "three times the limit"


@dataclass(frozen=True)
class Decided:
    """The median of a figure over the rounds and its bounds; infinite ones where the rounds were too few for any.

    In CI the bounds are the least and the greatest of the rounds' figures.
    """

    estimate: float
    lower: float
    upper: float
    limit: Limit
    rounds: tuple[Costs, ...]

    @property
    def within(self) -> bool:
        """Both bounds are within the limit."""
        return self.limit.lowest <= self.lower and self.upper <= self.limit.highest

    @property
    def beyond(self) -> bool:
        """Both bounds are outside on the same side.

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
        """A contender's median cost."""
        return median(costs[contender] for costs in self.rounds)


@dataclass(frozen=True)
class Rounds:
    """Rounds that are played once they are asked for, and kept: two figures can be made of the same ones."""

    play: Callable[[], Costs]
    played: list[Costs] = field(default_factory=list)

    def first(self, count: int) -> Sequence[Costs]:
        """The first ``count`` rounds."""
        self.played.extend(self.play() for _ in range(count - len(self.played)))
        return self.played[:count]


def in_turn(contenders: Mapping[str, Callable[[], float]]) -> Callable[[], Costs]:
    """A round in which each contender has one turn, in random order, and returns its cost."""
    rng = random.Random()
    return lambda: {name: contenders[name]() for name in rng.sample(list(contenders), len(contenders))}


def until_decided(rounds: Rounds, figure: Figure, *, limit: Limit, looks: Sequence[int], in_ci: bool) -> Decided:
    """Play rounds until the figure's median is surely within its limit, or surely not.

    ``looks`` are the numbers of rounds after which that may be decided, the last one in any case; each may spend its
    share of the error. In CI every round is looked at.
    """
    if in_ci:
        return _until_one_is_not_beyond(rounds, figure, limit.tripled())
    confidence = per_look_confidence(CONFIDENCE, len(looks))
    for look in looks:
        found = judge_median(rounds.first(look), figure, limit, confidence)
        if found.within or found.beyond:
            break
    return found


def _until_one_is_not_beyond(rounds: Rounds, figure: Figure, limit: Limit) -> Decided:
    for look in range(1, ROUNDS_IN_CI + 1):
        found = judge_each(rounds.first(look), figure, limit)
        if not found.beyond:
            break
    return found


def judge_median(rounds: Sequence[Costs], figure: Figure, limit: Limit, confidence: float = CONFIDENCE) -> Decided:
    """Whether the figure's median over rounds that were played is surely within its limit, or surely not."""
    n = len(rounds)
    ordered = sorted(map(figure, rounds))
    # Unlike the calls of one process, rounds are independent: what drifts hits all contenders of a round.
    few, many = over_limits(n, 0.5, confidence)
    lower = ordered[n - 1 - many] if many < n else -inf
    upper = ordered[n - 1 - few] if few >= 0 else inf
    return Decided(median(ordered), lower, upper, limit, tuple(rounds))


def judge_each(rounds: Sequence[Costs], figure: Figure, limit: Limit) -> Decided:
    """Whether the figure of every round is within its limit, or beyond it on the same side."""
    figures = [figure(costs) for costs in rounds]
    return Decided(median(figures), min(figures), max(figures), limit, tuple(rounds))
