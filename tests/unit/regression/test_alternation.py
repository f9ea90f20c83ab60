from __future__ import annotations

import math
import random
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel import stats
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.processes.client import WorkerClient
from pytest_accel.regression.alternation import Blocks, launch_of, play
from pytest_accel.regression.duet import FEWEST_UNDISTURBED, PAIRS, TYPICAL_CALLS, Side
from pytest_accel.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.conftest import Workshop


def side(workshop: Workshop, name: str, **script: Any) -> Side:
    candidate = workshop.compile(workshop.model(name, **script))
    return Side(workshop.session, "fake", candidate.folder, candidate.variant.options, partial(synthetic, batch_size=1))


def blocks(*each_ns: float, disturbed: int = 0) -> Blocks:
    """Blocks of one call each, of which the first ones were disturbed."""
    return Blocks([[one_ns] for one_ns in each_ns], [at < disturbed for at in range(len(each_ns))])


def test_one_process_at_a_time_has_the_device(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = 0, 0
    start = Session.forked_client

    @contextmanager
    def counted(session: Session, accelerator: str) -> Iterator[WorkerClient]:
        nonlocal alive, most
        with start(session, accelerator) as client:
            alive += 1
            most = max(most, alive)
            try:
                yield client
            finally:
                alive -= 1

    monkeypatch.setattr(Session, "forked_client", counted)
    play(side(workshop, "candidate"), side(workshop, "pacemaker"), random.Random(1))
    assert (alive, most) == (0, 1)


def test_the_pace_is_the_candidates_time_beside_the_pacemakers(workshop: Workshop) -> None:
    launch = play(
        side(workshop, "candidate", latency_ms=3), side(workshop, "pacemaker", latency_ms=2), random.Random(1)
    )
    assert (launch.candidate_p50_ms, launch.pacemaker_p50_ms, launch.pairs) == (3, 2, PAIRS)
    assert launch.log_pace == pytest.approx(math.log(1.5))


def test_either_side_may_come_first(workshop: Workshop) -> None:
    sides = side(workshop, "candidate", latency_ms=3), side(workshop, "pacemaker", latency_ms=2)
    assert {play(*sides, random.Random(seed)).started_first for seed in range(8)} == {"candidate", "pacemaker"}


def test_extra_work_slows_one_side_down(workshop: Workshop) -> None:
    same = side(workshop, "same", latency_ms=2)
    slowed = Side(same.session, same.accelerator, same.folder, same.options, same.inputs, extra_work=0.1)
    assert math.exp(play(slowed, same, random.Random(1)).log_pace) == pytest.approx(1.1)


@pytest.mark.parametrize(("later_ms", "calls"), [(9.0, {2}), (60.0, {2, 1})])
def test_sides_that_are_alike_have_blocks_of_as_many_calls(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, later_ms: float, calls: set[int]
) -> None:
    asked: list[int] = []
    time_block = WorkerClient.time_block

    def noted(client: WorkerClient, **params: int) -> Any:
        asked.append(params["calls"])
        return time_block(client, **params)

    monkeypatch.setattr(WorkerClient, "time_block", noted)
    seed = next(seed for seed in range(9) if random.Random(seed).sample([0, 1], 2) == [0, 1])
    play(
        side(workshop, "candidate", latency_ms=4), side(workshop, "pacemaker", latency_ms=later_ms), random.Random(seed)
    )
    assert set(asked) - {TYPICAL_CALLS} == calls


def test_a_disturbed_block_counts_on_neither_side() -> None:
    candidate = blocks(*[90.0] * 3, *[30.0] * FEWEST_UNDISTURBED, disturbed=3)
    launch = launch_of(candidate, blocks(*[20.0] * 8), "candidate")
    assert math.exp(launch.log_pace) == pytest.approx(1.5)
    assert (launch.pairs, launch.disturbed_pairs, launch.disturbed) == (FEWEST_UNDISTURBED, 3, False)


def test_a_launch_with_hardly_an_undisturbed_block_on_one_side_counts_for_nothing() -> None:
    spoilt = blocks(*[30.0] * 8, disturbed=8 - FEWEST_UNDISTURBED + 1)
    launch = launch_of(spoilt, blocks(*[20.0] * 8), "pacemaker")
    assert (launch.pairs, launch.disturbed_pairs, launch.disturbed) == (8, 0, True)
    assert launch.started_first == "pacemaker"


def test_the_scatter_of_both_sides_makes_the_pace_uncertain() -> None:
    some, others = [10.0, 11.0, 12.0, 13.0, 14.0], [20.0, 20.5, 21.0, 23.0, 29.0]
    launch = launch_of(blocks(*some), blocks(*others), "candidate")
    errors = [stats.median_error([math.log(each) for each in each_ns]) for each_ns in (some, others)]
    assert launch.log_pace_error == pytest.approx(math.hypot(*errors))


def test_what_held_the_device_back_is_told(workshop: Workshop) -> None:
    hot = side(workshop, "hot", latency_ms=4, held_back_share=0.5)
    launch = play(side(workshop, "cool", latency_ms=4), hot, random.Random(1))
    assert launch.disturbed
    assert "heat" in launch.throttled
