"""A series of rounds is judged at its limit, or in CI at three times that, where noise fails nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from math import inf

import pytest

from pytest_accel.acceptance.rounds import Decided, Limit, Rounds
from tests.benchmarks.rounds import ROUNDS_IN_CI, until_decided

COST = Limit.cost(5.0)
EITHER_WAY = Limit.ratio(1.02, either_way=True)


def decided(figures: Sequence[float], limit: Limit, *, in_ci: bool) -> Decided:
    """What is found of rounds with these figures; the last figure is that of all later rounds."""
    series = chain(figures, repeat(figures[-1]))
    rounds = Rounds(lambda: {"ours": next(series)})
    return until_decided(rounds, lambda costs: costs["ours"], limit=limit, looks=(6, 12), in_ci=in_ci)


@pytest.mark.parametrize(
    ("limit", "lowest", "highest"),
    [
        (Limit.cost(5.0), -inf, 15.0),
        (Limit.ratio(1.01), -inf, 1.03),
        (Limit.ratio(1.3), -inf, 1.9),
        (Limit.ratio(1.02, either_way=True), 1 / 1.06, 1.06),
        (Limit.cost(1 / 3), -inf, 1.0),
    ],
)
def test_three_times_a_limit_is_three_times_the_excess_over_neutral(
    limit: Limit, lowest: float, highest: float
) -> None:
    assert (limit.tripled().lowest, limit.tripled().highest) == pytest.approx((lowest, highest))


@pytest.mark.parametrize(("figure", "verdict"), [(4.9, "within the limit"), (5.1, "BEYOND THE LIMIT")])
def test_clear_rounds_are_judged_at_the_first_look(figure: float, verdict: str) -> None:
    assert decided([figure], COST, in_ci=False).judged == f"{verdict} after 6 rounds"


def test_rounds_on_both_sides_are_undecided_at_the_last_look() -> None:
    assert decided([4.0, 6.0] * 6, COST, in_ci=False).judged == "undecided after 12 rounds"


def test_a_figure_beyond_the_limit_and_within_three_times_it_passes_in_ci() -> None:
    assert decided([14.9], COST, in_ci=True).judged == "within three times the limit after 1 round"


@pytest.mark.parametrize(("figure", "limit"), [(15.1, COST), (1.07, EITHER_WAY), (0.94, EITHER_WAY)])
def test_a_figure_beyond_three_times_the_limit_in_every_round_fails_in_ci(figure: float, limit: Limit) -> None:
    found = decided([figure], limit, in_ci=True)
    assert found.beyond
    assert found.judged == f"BEYOND THREE TIMES THE LIMIT after {ROUNDS_IN_CI} rounds"


def test_one_round_that_is_not_beyond_acquits_in_ci() -> None:
    found = decided([40.0, 40.0, 14.0, 40.0], COST, in_ci=True)
    assert not found.beyond
    assert found.judged == "undecided after 3 rounds"


def test_rounds_beyond_on_either_side_are_noise_in_ci() -> None:
    found = decided([1.5, 0.5, 1.5], EITHER_WAY, in_ci=True)
    assert not found.beyond
    assert len(found.rounds) == 2


def test_two_figures_are_made_of_the_same_rounds() -> None:
    rounds = Rounds(iter([{"ours": 1.0}, {"ours": 2.0}]).__next__)
    assert list(rounds.first(1)) == [{"ours": 1.0}]
    assert list(rounds.first(2)) == [{"ours": 1.0}, {"ours": 2.0}]
    assert list(rounds.first(1)) == [{"ours": 1.0}]
