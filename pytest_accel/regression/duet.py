"""Two workers on one device, timed in alternation and in random order, so that noise hits both.

A launch is a fresh pair of processes; within it, pairs of timed blocks are drawn in random order, each after an untimed
settling call that brings the caches back. The side whose turn it is not is stopped: its threads would look for work a
while longer and take half the machine, which made calls of 3.3 ms take 7.3 and 5 % more work look like 2.5. Which side
starts first is drawn for each launch, and so are the cores that both use. What the numbers mean is decided in `gate`.

Noise that hits both sides alike still hides a difference between them: it adds the same time to each. So a launch goes
on for a while until enough pairs were played with no other process on their cores and a device that nothing held back,
and only those count.

A device that belongs to one process is no place for a duet: see `alternation`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import compress
from math import log
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from pytest_accel import stats
from pytest_accel.facts.records import DuetLaunch, Signature
from pytest_accel.measuring.latency import warm_up

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.processes.client import TimedBlock, WorkerClient
    from pytest_accel.session.session import Session
    from pytest_accel.worker.accelerator import Arrays

#: BLOCK_NS is the number of nanoseconds of a timed block: long enough for the clock and the settling call to be small
#: beside it.
BLOCK_NS = 10_000_000
#: LONGEST_BLOCK is the most calls of a block.
LONGEST_BLOCK = 50
#: ALIKE is the largest factor between the latencies of two sides that get blocks of the same number of calls.
ALIKE = 10
#: PAIRS is the number of pairs of blocks of a launch.
PAIRS = 40
#: FEWEST_PAIRS is the number of pairs of a slow model: more of them do not shrink the bias that a launch has of its
#: own, more launches do.
FEWEST_PAIRS = 15
#: PAIRS_NS is the number of nanoseconds that the pairs of a launch may take before a model counts as slow.
PAIRS_NS = 2_000_000_000
#: DISTURBED_CORES is how many of its cores others had of a block that is disturbed, on average over its time.
DISTURBED_CORES = 0.2
#: MANY_CORES is more than any machine has. The first core is drawn below it, and a worker counts round its own cores.
MANY_CORES = 1 << 16
#: PATIENCE is how many times the planned pairs a launch plays at most while it waits for undisturbed ones.
PATIENCE = 3
#: With fewer undisturbed pairs than these, all pairs of a launch count.
FEWEST_UNDISTURBED = 5
#: _LOOK_EVERY_S is the number of seconds between two looks at whether both sides are loaded.
_LOOK_EVERY_S = 0.25
#: WARM_UP_S is the number of seconds of warming up at most, after the first call. On a busy machine nothing ever gets
#: steady, and what both sides share need not.
WARM_UP_S = 0.25
#: TYPICAL_CALLS is the number of calls that say how long one is, before the blocks are planned.
TYPICAL_CALLS = 3


@dataclass(frozen=True)
class Side:
    """One of the two: an artefact, how to run it, and what makes the inputs for its signature.

    ``session`` starts its workers. ``extra_work`` is the share of a call's time that real work is added to each call.
    """

    session: Session
    accelerator: str
    folder: Path
    options: Mapping[str, OptionValue]
    inputs: Callable[[Signature], Sequence[Arrays]]
    extra_work: float = 0.0

    @property
    def is_exclusive(self) -> bool:
        """Whether its device belongs to one process until that ends."""
        return self.session.registry.find(self.accelerator).exclusive

    def start(self) -> AbstractContextManager[WorkerClient]:
        """Start a fresh worker for this side."""
        return self.session.forked_client(self.accelerator)


@dataclass(frozen=True)
class Pairs:
    """The timed blocks of one launch: nanoseconds of each call, a block of one side beside the other's same one.

    ``disturbed`` says of each pair whether other processes had cores of either block, or the device was held back.
    ``throttled`` has the sentences about the latter.
    """

    candidate: Sequence[Sequence[float]]
    pacemaker: Sequence[Sequence[float]]
    started_first: Literal["candidate", "pacemaker"]
    disturbed: Sequence[bool]
    throttled: Sequence[str] = ()

    def launch(self) -> DuetLaunch:
        """Summarise the pairs as a record keeps them."""
        counts = counting(self.disturbed)
        candidate_ns, pacemaker_ns = (
            [median(block) for block in compress(blocks, counts)] for blocks in (self.candidate, self.pacemaker)
        )
        ratios = [log(one / other) for one, other in zip(candidate_ns, pacemaker_ns, strict=True)]
        return DuetLaunch(
            candidate_p50_ms=median(candidate_ns) / 1e6,
            pacemaker_p50_ms=median(pacemaker_ns) / 1e6,
            log_pace=median(ratios),
            log_pace_error=stats.median_error(ratios),
            pairs=len(candidate_ns),
            started_first=self.started_first,
            disturbed_pairs=counts.count(False),
            disturbed=is_spoilt(self.disturbed),
            throttled=next(iter(self.throttled), ""),
        )


def play(candidate: Side, pacemaker: Side, rng: random.Random) -> DuetLaunch:
    """Play one launch: a fresh worker for each side, then pairs of blocks in random order."""
    return play_pairs(candidate, pacemaker, rng).launch()


def play_pairs(candidate: Side, pacemaker: Side, rng: random.Random) -> Pairs:
    """Play one launch and keep all its times."""
    sides = {"candidate": candidate, "pacemaker": pacemaker}
    names: list[Literal["candidate", "pacemaker"]] = ["candidate", "pacemaker"]
    starts = rng.sample(names, 2)
    first_core = rng.randrange(MANY_CORES)
    with ExitStack() as stack:
        clients: dict[str, WorkerClient] = {name: stack.enter_context(sides[name].start()) for name in starts}
        load_both(clients, sides, candidate.session.tell.tick)
        typical_ns: dict[str, float] = {}
        for name in starts:
            with turn(clients, name) as client:
                typical_ns[name] = typical_call_ns(client, sides[name], first_core)
        blocks = dict(zip(starts, block_calls([typical_ns[name] for name in starts]), strict=True))
        pairs = planned_pairs(sum(typical_ns[name] * (blocks[name] + 1) for name in starts))
        times_ns: dict[str, list[list[int]]] = {name: [] for name in starts}
        disturbed: list[bool] = []
        throttled: list[str] = []
        while goes_on(disturbed, pairs):
            pair: list[TimedBlock] = []
            for name in rng.sample(names, 2):
                with turn(clients, name) as client:
                    pair.append(client.time_block(calls=blocks[name], settle=1, first_core=first_core))
                times_ns[name].append(pair[-1].latencies_ns)
            disturbed.append(is_disturbed(pair))
            throttled += filter(None, (block.throttled for block in pair))
    return Pairs(times_ns["candidate"], times_ns["pacemaker"], starts[0], disturbed, throttled)


@contextmanager
def turn(clients: Mapping[str, WorkerClient], name: str) -> Iterator[WorkerClient]:
    """Let one side run; the other is stopped within the block."""
    (other,) = clients.keys() - {name}
    with clients[other].worker.paused():
        yield clients[name]


def load(client: WorkerClient, side: Side) -> None:
    """Load and stage one side, and make its first call."""
    loaded = client.load(side.folder, side.options)
    batches = side.inputs(loaded.signature)
    client.stage(batches)
    client.predict(batches[0])


def load_both(clients: Mapping[str, WorkerClient], sides: Mapping[str, Side], waiting: Callable[[], None]) -> None:
    """Load, stage and call both sides at once: until its first call is done, most of a launch uses one core."""
    with ThreadPoolExecutor(max_workers=len(clients)) as threads:
        try:
            loading = {threads.submit(load, client, sides[name]) for name, client in clients.items()}
            while loading:
                done, loading = wait(loading, timeout=_LOOK_EVERY_S, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                waiting()
        except BaseException:  # the other side's thread ends with its worker, so that Ctrl-C does not wait for it
            for client in clients.values():
                client.worker.kill()
            raise


def typical_call_ns(client: WorkerClient, side: Side, first_core: int) -> float:
    """Warm up, add the extra work, and return the nanoseconds of a typical call."""
    warm_up(client, max_s=WARM_UP_S)
    if side.extra_work:
        client.add_work(side.extra_work)
    return median(client.time_block(calls=TYPICAL_CALLS, settle=1, first_core=first_core).latencies_ns)


def is_disturbed(blocks: Sequence[TimedBlock]) -> bool:
    """Return whether other processes had cores of one of the blocks, or something held the device back."""
    return any(block.cores_taken > DISTURBED_CORES or block.throttled for block in blocks)


def is_spoilt(disturbed: Sequence[bool]) -> bool:
    """Return whether too little of a launch was undisturbed for that alone to count."""
    return disturbed.count(False) < FEWEST_UNDISTURBED


def counting(disturbed: Sequence[bool]) -> list[bool]:
    """Return which parts of a launch count: the undisturbed ones, or all where hardly any is."""
    spoilt = is_spoilt(disturbed)
    return [spoilt or not each for each in disturbed]


def goes_on(disturbed: Sequence[bool], planned: int) -> bool:
    """Return whether a launch needs another part: it waits a while for enough undisturbed ones."""
    lasting = disturbed.count(False) < FEWEST_PAIRS and len(disturbed) < PATIENCE * planned
    return len(disturbed) < planned or lasting


def block_calls(typical_ns: Sequence[float]) -> list[int]:
    """Return the timed calls in a block of each side: as many as make it `BLOCK_NS` long, within limits.

    Sides that are alike get as many as the faster one needs. Beside a busy process the first call of a block is often
    the fastest; a side with two calls then looked half as slow again as the same artefact with one.
    """
    calls = [int(min(max(BLOCK_NS // max(latency_ns, 1), 1), LONGEST_BLOCK)) for latency_ns in typical_ns]
    return [max(calls)] * len(calls) if max(typical_ns) <= ALIKE * min(typical_ns) else calls


def planned_pairs(pair_ns: float) -> int:
    """Return the number of pairs of one launch: fewer for slow models, within limits."""
    return int(min(max(PAIRS_NS // max(pair_ns, 1), FEWEST_PAIRS), PAIRS))
