from __future__ import annotations

import pytest

from pytest_accel.bisect.search import error_share, narrow, steps_for
from pytest_accel.bisect.trial import Answer
from tests.unit.bisect.scripted import Points


@pytest.mark.parametrize(("suspects", "steps"), [(1, 0), (2, 1), (3, 2), (4, 2), (64, 6), (65, 7)])
def test_steps_halve_the_suspects(suspects: int, steps: int) -> None:
    assert steps_for(suspects) == steps


def test_equal_shares_where_every_run_decides() -> None:
    spent, shares = 0.0, []
    for left in range(8, 0, -1):
        shares.append(error_share(spent, error=0.05, runs_left=left))
        spent += shares[-1]
    assert shares == pytest.approx([0.05 / 9] * 8)


def test_runs_without_end_never_spend_it_all() -> None:
    spent = 0.0
    for _ in range(1000):
        share = error_share(spent, error=0.05, runs_left=1)
        assert share >= 0.0
        spent += share
    assert spent <= 0.05


def test_what_is_known_is_followed_to_the_next_question() -> None:
    known: dict[str, Answer] = {"p4": "good", "p6": "undecided"}
    narrowed = narrow(Points(8), known.get)
    assert set(narrowed.suspects) == {"p5", "p6", "p7", "p8"}
    assert (narrowed.bad, narrowed.undecided, narrowed.ask) == ("p8", ("p6",), "p5")


def test_nobody_is_left_to_ask() -> None:
    known: dict[str, Answer] = {"p2": "bad", "p1": "good"}
    narrowed = narrow(Points(4), known.get)
    assert (narrowed.bad, narrowed.suspects, narrowed.ask) == ("p2", ("p2",), None)
