from __future__ import annotations

import dataclasses
import math
import random
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.processes.client import TimedBlock, WorkerClient
from pytest_accel.processes.process import InProcessWorker
from pytest_accel.regression.duet import (
    FEWEST_PAIRS,
    FEWEST_UNDISTURBED,
    LONGEST_BLOCK,
    PAIRS,
    PATIENCE,
    TYPICAL_CALLS,
    Side,
    block_calls,
    planned_pairs,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_accel.facts.records import DuetLaunch
    from pytest_accel.session.session import Session
    from tests.unit.conftest import Workshop

Block = tuple[int, dict[str, int]]


def side(workshop: Workshop, name: str, **script: Any) -> Side:
    candidate = workshop.compile(workshop.model(name, **script))
    return Side(workshop.session, "fake", candidate.folder, candidate.variant.options, partial(synthetic, batch_size=1))


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Every block that is timed, in order: the latency of its first call, and what was asked for."""
    noted: list[Block] = []
    time_block = WorkerClient.time_block

    def listening(launch: WorkerClient, **asked: int) -> TimedBlock:
        block = time_block(launch, **asked)
        noted.append((block.latencies_ns[0], asked))
        return block

    monkeypatch.setattr(WorkerClient, "time_block", listening)
    return noted


def order(workshop: Workshop, blocks: list[Block], seed: int) -> list[bool]:
    """Whether the candidate came first: of the launch, then of each pair."""
    blocks.clear()
    play(
        side(workshop, "candidate", latency_ms=3),
        side(workshop, "pacemaker", latency_ms=2),
        random.Random(seed),
    )
    return [latency_ns == 3_000_000 for latency_ns, _ in blocks[::2]]


def test_only_one_side_may_run_at_a_time(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: set[InProcessWorker] = set()
    turns: list[tuple[bool, int]] = []

    @contextmanager
    def pausing(worker: InProcessWorker) -> Iterator[None]:
        paused.add(worker)
        yield
        paused.remove(worker)

    request = InProcessWorker.request

    def listening(worker: InProcessWorker, op: str, **asked: Any) -> dict[str, Any]:
        if op in ("warm_up", "add_work", "time_block"):
            turns.append((worker in paused, len(paused)))
        return request(worker, op, **asked)

    monkeypatch.setattr(InProcessWorker, "paused", pausing)
    monkeypatch.setattr(InProcessWorker, "request", listening)
    same = side(workshop, "same", latency_ms=2)
    play(dataclasses.replace(same, extra_work=0.1), same, random.Random(1))
    assert len(turns) > 2 * PAIRS
    assert set(turns) == {(False, 1)}, "in no turn is the side itself paused, and in each the other one is"


def test_the_slow_first_call_of_both_sides_is_made_while_nothing_is_timed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = InProcessWorker.request

    def listening(worker: InProcessWorker, op: str, **params: Any) -> dict[str, Any]:
        asked.append(op)
        return request(worker, op, **params)

    monkeypatch.setattr(InProcessWorker, "request", listening)
    same = side(workshop, "same", latency_ms=2)
    play(same, same, random.Random(1))
    assert asked[: asked.index("warm_up")].count("predict") == 2


@pytest.mark.parametrize(("typical_ms", "calls"), [(0, LONGEST_BLOCK), (0.1, LONGEST_BLOCK), (1, 10), (4, 2), (99, 1)])
def test_a_block_is_ten_milliseconds_long_within_limits(typical_ms: float, calls: int) -> None:
    assert block_calls([typical_ms * 1e6]) == [calls]


@pytest.mark.parametrize(
    ("typical_ms", "calls"),
    [((4, 4), [2, 2]), ((4, 9), [2, 2]), ((9, 4), [2, 2]), ((1, 11), [10, 1]), ((0, 1), [50, 10])],
)
def test_blocks_of_sides_that_are_alike_have_as_many_calls(typical_ms: tuple[float, float], calls: list[int]) -> None:
    assert block_calls([each * 1e6 for each in typical_ms]) == calls


@pytest.mark.parametrize(("pair_s", "pairs"), [(0, PAIRS), (0.05, PAIRS), (0.08, 25), (5, FEWEST_PAIRS)])
def test_slow_pairs_are_played_less_often_within_limits(pair_s: float, pairs: int) -> None:
    assert planned_pairs(pair_s * 1e9) == pairs


def test_the_pace_is_the_candidates_time_beside_the_pacemakers(workshop: Workshop) -> None:
    launch = play(
        side(workshop, "candidate", latency_ms=3),
        side(workshop, "pacemaker", latency_ms=2),
        random.Random(1),
    )
    assert (launch.candidate_p50_ms, launch.pacemaker_p50_ms, launch.pairs) == (3, 2, PAIRS)
    assert launch.log_pace == pytest.approx(math.log(1.5))


def test_extra_work_slows_one_side_down_by_its_share(workshop: Workshop) -> None:
    same = side(workshop, "same", latency_ms=2)
    slowed = dataclasses.replace(same, extra_work=0.1)
    launch = play(slowed, same, random.Random(1))
    assert math.exp(launch.log_pace) == pytest.approx(1.1)


@pytest.fixture
def disturb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[bool]], None]:
    """From now on another process has cores during the blocks for which this is true, and doubles the call's time."""

    def disturb(blocks: Iterable[bool]) -> None:
        time_block, told = WorkerClient.time_block, iter(blocks)

        def shared(launch: WorkerClient, **asked: int) -> TimedBlock:
            block = time_block(launch, **asked)
            if asked["calls"] == TYPICAL_CALLS or not next(told):
                return block
            return TimedBlock(latencies_ns=[2 * latency_ns for latency_ns in block.latencies_ns], cores_taken=0.5)

        monkeypatch.setattr(WorkerClient, "time_block", shared)

    return disturb


def beside_a_doubled(workshop: Workshop) -> DuetLaunch:
    return play(
        side(workshop, "candidate", latency_ms=4),
        side(workshop, "pacemaker", latency_ms=2.5),
        random.Random(1),
    )


def test_pairs_that_other_processes_disturbed_do_not_count(
    workshop: Workshop, disturb: Callable[[Iterable[bool]], None]
) -> None:
    """One block of a pair is enough, of either side."""
    disturb(chain([True, False] * 5, [False, True] * 5, repeat(False)))
    launch = beside_a_doubled(workshop)
    assert (launch.pairs, launch.disturbed_pairs, launch.disturbed) == (PAIRS - 10, 10, False)
    assert math.exp(launch.log_pace) == pytest.approx(1.6)
    assert (launch.candidate_p50_ms, launch.pacemaker_p50_ms) == (4, 2.5)


def test_a_launch_goes_on_until_enough_pairs_were_undisturbed(
    workshop: Workshop, disturb: Callable[[Iterable[bool]], None]
) -> None:
    disturb(chain(repeat(True, 2 * (PAIRS + 5)), repeat(False)))
    launch = beside_a_doubled(workshop)
    assert (launch.pairs, launch.disturbed_pairs, launch.disturbed) == (FEWEST_PAIRS, PAIRS + 5, False)


def test_it_does_not_go_on_for_ever(workshop: Workshop, disturb: Callable[[Iterable[bool]], None]) -> None:
    undisturbed = 2 * (FEWEST_UNDISTURBED - 1)
    disturb(chain(repeat(False, undisturbed), repeat(True)))
    launch = beside_a_doubled(workshop)
    assert (launch.pairs, launch.disturbed_pairs, launch.disturbed) == (PATIENCE * PAIRS, 0, True)


def test_pairs_of_a_device_that_was_held_back_do_not_count(workshop: Workshop) -> None:
    hot = side(workshop, "candidate", latency_ms=4, held_back_share=0.5)
    launch = play(hot, side(workshop, "pacemaker", latency_ms=2.5), random.Random(1))
    assert (launch.pairs, launch.disturbed) == (PATIENCE * PAIRS, True)
    assert launch.throttled.startswith("the device was held back by heat")


def test_few_undisturbed_pairs_are_better_than_all(
    workshop: Workshop, disturb: Callable[[Iterable[bool]], None]
) -> None:
    disturb(chain(repeat(False, 2 * FEWEST_UNDISTURBED), repeat(True)))
    launch = beside_a_doubled(workshop)
    assert (launch.pairs, launch.disturbed) == (FEWEST_UNDISTURBED, False)
    assert launch.pairs + launch.disturbed_pairs == PATIENCE * PAIRS


def test_a_side_may_run_in_another_sessions_workers(workshop: Workshop) -> None:
    started: list[str] = []

    class Elsewhere:
        def forked_client(self, accelerator: str) -> AbstractContextManager[WorkerClient]:
            started.append(accelerator)
            return workshop.session.forked_client(accelerator)

    here = side(workshop, "same", latency_ms=2)
    play(here, dataclasses.replace(here, session=cast("Session", Elsewhere())), random.Random(1))
    assert started == ["fake"]


def test_each_block_follows_an_untimed_call_and_has_its_sides_length(workshop: Workshop, blocks: list[Block]) -> None:
    play(side(workshop, "slow", latency_ms=33), side(workshop, "fast", latency_ms=2), random.Random(1))
    assert [asked["calls"] for _, asked in blocks[:2]] == [TYPICAL_CALLS] * 2
    lengths = {33_000_000: 1, 2_000_000: 5}
    assert all(asked["calls"] == lengths[latency_ns] for latency_ns, asked in blocks[2:])
    assert {asked["settle"] for _, asked in blocks} == {1}


def test_both_sides_use_the_same_cores_which_are_drawn_for_each_launch(workshop: Workshop, blocks: list[Block]) -> None:
    first_cores = []
    for seed in (1, 2):
        order(workshop, blocks, seed)
        (first_core,) = {asked["first_core"] for _, asked in blocks}
        first_cores.append(first_core)
    assert first_cores[0] != first_cores[1]


def test_every_pair_has_both_sides(workshop: Workshop, blocks: list[Block]) -> None:
    order(workshop, blocks, seed=1)
    assert len(blocks) == 2 * (1 + PAIRS)
    assert all(a != b for (a, _), (b, _) in zip(blocks[::2], blocks[1::2], strict=True))


def test_who_comes_first_is_drawn_for_each_pair(workshop: Workshop, blocks: list[Block]) -> None:
    first = order(workshop, blocks, seed=1)
    assert first == order(workshop, blocks, seed=1) != order(workshop, blocks, seed=2)
    assert 0.2 * PAIRS < sum(first) < 0.8 * PAIRS


def test_who_starts_is_drawn_for_each_launch_and_recorded(workshop: Workshop, blocks: list[Block]) -> None:
    sides = side(workshop, "candidate", latency_ms=3), side(workshop, "pacemaker", latency_ms=2)
    started = set()
    for seed in range(8):
        blocks.clear()
        launch = play(*sides, random.Random(seed))
        assert launch.started_first == ("candidate" if blocks[0][0] == 3_000_000 else "pacemaker")
        started.add(launch.started_first)
    assert started == {"candidate", "pacemaker"}


def test_each_launch_has_fresh_workers(workshop: Workshop) -> None:
    sides = side(workshop, "candidate"), side(workshop, "pacemaker")
    workshop.asked.clear()
    for _ in range(2):
        play(*sides, random.Random(1))
    assert workshop.count("load") == 4


@pytest.mark.parametrize(
    "latency_ms", [[3.0, 3.0, 3.0, 3.0, 500.0], [*[3.0] * 35, 500.0, 500.0]], ids=["single calls", "whole blocks"]
)
def test_slow_calls_here_and_there_do_not_move_the_pace(workshop: Workshop, latency_ms: list[float]) -> None:
    sides = side(workshop, "candidate", latency_ms=latency_ms), side(workshop, "pacemaker", latency_ms=2)
    assert play(*sides, random.Random(1)).log_pace == pytest.approx(math.log(1.5))
