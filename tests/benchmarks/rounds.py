"""How benchmarks play the rounds of `pytest_accel.acceptance.rounds`: in turn, and in CI with much patience.

In CI noise must fail nothing, and only a gross defect has to be seen. There a figure fails when `ROUNDS_IN_CI` rounds
all lie beyond three times the limit, on the same side. The first round that does not acquits it and is the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from pytest_accel.acceptance.rounds import Costs, Decided, Figure, Limit, Rounds, until_sure

ROUNDS_IN_CI = 10


def in_turn(contenders: Mapping[str, Callable[[], float]]) -> Callable[[], Costs]:
    """A round in which each contender has one turn, in random order, and returns its cost."""
    rng = random.Random()
    return lambda: {name: contenders[name]() for name in rng.sample(list(contenders), len(contenders))}


def until_decided(rounds: Rounds, figure: Figure, *, limit: Limit, looks: Sequence[int], in_ci: bool) -> Decided:
    """Play rounds until the figure is decided. In CI every round is looked at, and its limit is three times as far."""
    if in_ci:
        return _until_one_is_not_beyond(rounds, figure, limit.tripled())
    return until_sure(rounds, figure, limit=limit, looks=looks)


def _until_one_is_not_beyond(rounds: Rounds, figure: Figure, limit: Limit) -> Decided:
    for look in range(1, ROUNDS_IN_CI + 1):
        found = judge_each(rounds.first(look), figure, limit)
        if not found.beyond:
            break
    return found


def judge_each(rounds: Sequence[Costs], figure: Figure, limit: Limit) -> Decided:
    """Whether the figure of every round is within its limit, or beyond it on the same side.

    The bounds are the least and the greatest of the rounds' figures.
    """
    figures = [figure(costs) for costs in rounds]
    return Decided(median(figures), min(figures), max(figures), limit, tuple(rounds))
