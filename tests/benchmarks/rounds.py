"""Rounds of contenders, played until it is clear whether a figure is within its limits.

What disturbs the machine disturbs the contenders of one round alike, so a figure is made of one round's costs. What
counts is its median over the rounds, with bounds that hold whatever the disturbances look like. A figure that is too
close to a limit for the rounds played so far is not judged: more are played.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from pytest_accel.stats import over_limits, per_look_confidence

#: One round's cost of each contender.
Costs = dict[str, float]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Decided:
    """The median of a figure over the rounds and its bounds; infinite ones where the rounds were too few for any.

    ``within`` says that both bounds are within the limits, ``beyond`` that both are outside. With neither, the machine
    was too busy for these rounds: that is told and fails nothing, as in a check without ``--accel-strict``.
    """

    estimate: float
    lower: float
    upper: float
    within: bool
    beyond: bool
    rounds: tuple[Costs, ...]

    @property
    def judged(self) -> str:
        """The verdict in a word or two."""
        return "within the limit" if self.within else "BEYOND THE LIMIT" if self.beyond else "undecided"

    def typical(self, contender: str) -> float:
        """A contender's median cost."""
        return median(costs[contender] for costs in self.rounds)


def in_turn(contenders: Mapping[str, Callable[[], float]]) -> Callable[[], Costs]:
    """A round in which each contender has one turn, in random order, and returns its cost."""
    rng = random.Random()
    return lambda: {name: contenders[name]() for name in rng.sample(list(contenders), len(contenders))}


def until_decided(
    play_round: Callable[[], Costs],
    figure: Callable[[Costs], float],
    *,
    highest: float,
    lowest: float = -inf,
    looks: Sequence[int],
) -> Decided:
    """Play rounds until the figure's median is surely within ``lowest`` and ``highest``, or surely not.

    ``looks`` are the numbers of rounds after which that may be decided, the last one in any case; each may spend its
    share of the error.
    """
    confidence = per_look_confidence(CONFIDENCE, len(looks))
    rounds: list[Costs] = []
    for look in looks:
        rounds += [play_round() for _ in range(look - len(rounds))]
        found = judge(rounds, figure, highest=highest, lowest=lowest, confidence=confidence)
        if found.within or found.beyond:
            break
    return found


def judge(
    rounds: Sequence[Costs],
    figure: Callable[[Costs], float],
    *,
    highest: float,
    lowest: float = -inf,
    confidence: float = CONFIDENCE,
) -> Decided:
    """Whether the figure's median over rounds that were played is surely within ``lowest`` and ``highest``, or not."""
    n = len(rounds)
    ordered = sorted(figure(costs) for costs in rounds)
    # Unlike the calls of one process, rounds are independent: what drifts hits all contenders of a round.
    few, many = over_limits(n, 0.5, confidence)
    lower = ordered[n - 1 - many] if many < n else -inf
    upper = ordered[n - 1 - few] if few >= 0 else inf
    within = lowest <= lower and upper <= highest
    beyond = upper < lowest or lower > highest
    return Decided(median(ordered), lower, upper, within, beyond, tuple(rounds))
