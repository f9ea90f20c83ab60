"""Two artefacts on a device that belongs to one process until that ends: whole launches, one process at a time.

A launch is a fresh process for each side, in random order. On such a device no other process computes meanwhile, so
that what disturbs both sides alike is less than on a shared processor, and need not be shared call by call. What is
left, such as the state that each process finds, falls on either side by chance. The gate is that of a duet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import hypot, log
from statistics import median
from typing import TYPE_CHECKING, Literal

from pytest_accel import stats
from pytest_accel.facts.records import DuetLaunch
from pytest_accel.regression import duet

if TYPE_CHECKING:
    from pytest_accel.processes.client import WorkerClient


@dataclass(frozen=True)
class Blocks:
    """The timed blocks of one side: nanoseconds of each call, and what `duet.Pairs` says of its pairs."""

    latencies_ns: list[Sequence[float]] = field(default_factory=list)
    disturbed: list[bool] = field(default_factory=list)
    throttled: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """The number of calls of a block."""
        return len(self.latencies_ns[0])

    @property
    def counting_ns(self) -> list[float]:
        """The median of each block that counts."""
        return [median(block) for block in compress(self.latencies_ns, duet.counting(self.disturbed))]


def launch_of(candidate: Blocks, pacemaker: Blocks, started_first: Literal["candidate", "pacemaker"]) -> DuetLaunch:
    """Summarise two processes as a record keeps them. The errors of both sides add up in the pace."""
    sides = (candidate, pacemaker)
    candidate_ns, pacemaker_ns = (median(side.counting_ns) for side in sides)
    errors = [stats.median_error([log(block_ns) for block_ns in side.counting_ns]) for side in sides]
    left_out = [len(side.disturbed) - len(side.counting_ns) for side in sides]
    return DuetLaunch(
        candidate_p50_ms=candidate_ns / 1e6,
        pacemaker_p50_ms=pacemaker_ns / 1e6,
        log_pace=log(candidate_ns / pacemaker_ns),
        log_pace_error=hypot(*errors),
        pairs=min(len(side.counting_ns) for side in sides),
        started_first=started_first,
        disturbed_pairs=max(left_out),
        disturbed=any(duet.is_spoilt(side.disturbed) for side in sides),
        throttled=next((words for side in sides for words in side.throttled), ""),
    )


def play(candidate: duet.Side, pacemaker: duet.Side, rng: random.Random) -> DuetLaunch:
    """Play one launch: a fresh worker for one side, and after its end one for the other."""
    names: list[Literal["candidate", "pacemaker"]] = ["candidate", "pacemaker"]
    first, second = rng.sample(names, 2)
    sides = {"candidate": candidate, "pacemaker": pacemaker}
    first_core = rng.randrange(duet.MANY_CORES)
    earlier = _timed(sides[first], first_core, None)
    later = _timed(sides[second], first_core, earlier)
    blocks = {first: earlier, second: later}
    return launch_of(blocks["candidate"], blocks["pacemaker"], first)


def _timed(side: duet.Side, first_core: int, earlier: Blocks | None) -> Blocks:
    """Time blocks in a fresh worker, which ends then. ``earlier`` are those of the other side, if it was the first."""
    blocks = Blocks()
    with side.start() as client:
        duet.load(client, side)
        typical_ns = duet.typical_call_ns(client, side, first_core)
        calls = _block_calls(typical_ns, earlier)
        planned = duet.planned_pairs(2 * typical_ns * (calls + 1))
        while duet.goes_on(blocks.disturbed, planned):
            _add(blocks, client, calls, first_core)
    return blocks


def _add(blocks: Blocks, client: WorkerClient, calls: int, first_core: int) -> None:
    block = client.time_block(calls=calls, settle=1, first_core=first_core)
    blocks.latencies_ns.append(block.latencies_ns)
    blocks.disturbed.append(duet.is_disturbed([block]))
    if block.throttled:
        blocks.throttled.append(block.throttled)


def _block_calls(typical_ns: float, earlier: Blocks | None) -> int:
    """Return the calls of a block: as many as the other side's where the two are alike (`duet.block_calls`)."""
    if earlier is not None:
        other_ns = median(earlier.counting_ns)
        if max(typical_ns, other_ns) <= duet.ALIKE * min(typical_ns, other_ns):
            return earlier.calls
    return duet.block_calls([typical_ns])[0]
