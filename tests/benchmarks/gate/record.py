"""Records real launches: ``python -m tests.benchmarks.gate.record quiet|busy [--seconds 240] [--launches 40]``.

Each is played as a comparison plays it and kept as one line of JSON, so recording can be interrupted at any time and
goes on where it is most behind. ``quiet`` promises that nothing else runs meanwhile; ``busy`` starts two processes that
come and go. `replay` makes verdicts of the lines.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean, median
from typing import Literal

from pytest_accel.facts.fact import Fact
from pytest_accel.facts.records import DuetLaunch
from pytest_accel.regression.duet import Pairs, play_pairs
from tests.benchmarks.gate.burners import busy
from tests.benchmarks.gate.lines import append, lines_of
from tests.benchmarks.gate.workloads import DUETS, WORKLOADS, session, sides

LAUNCHES = Path(__file__).parent / "launches"
CONDITIONS = ("quiet", "busy")
#: How many of a launch's single calls are kept, for rivals that look at them.
KEPT_CALLS = 100


class Calls(Fact, frozen=True):
    """The candidate's single calls, as a benchmark of one process sees them; microseconds."""

    mean: float
    median: float
    min: float
    some: list[float]

    @classmethod
    def of(cls, latencies_ns: Sequence[float]) -> Calls:
        """What is kept of so many calls."""
        some = random.sample(latencies_ns, min(KEPT_CALLS, len(latencies_ns)))
        return cls(_us(fmean(latencies_ns)), _us(median(latencies_ns)), _us(min(latencies_ns)), [_us(c) for c in some])


class Recorded(Fact, frozen=True):
    """One launch: the seconds it took with starting and ending, and each block's median call in microseconds.

    ``disturbed`` tells which pairs others disturbed; empty where none of them was.
    """

    duet: str
    seconds: float
    started_first: Literal["candidate", "pacemaker"]
    candidate: list[float]
    pacemaker: list[float]
    calls: Calls
    disturbed: tuple[bool, ...] = ()

    @classmethod
    def of(cls, duet: str, seconds: float, pairs: Pairs) -> Recorded:
        """What is kept of a launch."""
        return cls(
            duet=duet,
            seconds=round(seconds, 2),
            started_first=pairs.started_first,
            candidate=[_us(median(block)) for block in pairs.candidate],
            pacemaker=[_us(median(block)) for block in pairs.pacemaker],
            calls=Calls.of([call for block in pairs.candidate for call in block]),
            disturbed=tuple(pairs.disturbed) if any(pairs.disturbed) else (),
        )

    def launch(self) -> DuetLaunch:
        """As a comparison would have it."""
        candidate, pacemaker = ([[us * 1e3] for us in side] for side in (self.candidate, self.pacemaker))
        disturbed = self.disturbed or (False,) * len(candidate)
        return Pairs(candidate, pacemaker, self.started_first, disturbed).launch()


def file_of(workload: str, condition: str) -> Path:
    """Where the launches of a workload under a condition are kept."""
    return LAUNCHES / f"{workload}.{condition}.jsonl"


def recorded(workload: str, condition: str) -> Iterator[Recorded]:
    """The launches that are there, oldest first."""
    return lines_of(file_of(workload, condition), Recorded)


def record(condition: str, seconds: float, launches: int, workloads: list[str], duets: list[str]) -> None:
    """Play launches for so many seconds, or until there are so many of each."""
    ends = time.monotonic() + seconds
    missing = {(workload, duet): launches for workload in workloads for duet in duets}
    for workload in workloads:
        for each in recorded(workload, condition):
            if each.duet in duets:
                missing[workload, each.duet] -= 1
    rng = random.Random()
    with session() as ours, busy() if condition == "busy" else nullcontext():
        made = {}
        while time.monotonic() < ends and max(missing.values()) > 0:
            workload, duet = next_up = max(missing, key=lambda key: (missing[key], rng.random()))
            if next_up not in made:
                made[next_up] = sides(ours, WORKLOADS[workload], duet)
            began = time.monotonic()
            pairs = play_pairs(*made[next_up], rng)
            append(file_of(workload, condition), Recorded.of(duet, time.monotonic() - began, pairs))
            missing[next_up] -= 1
    print({f"{workload} {duet}": left for (workload, duet), left in missing.items() if left > 0} or "complete")


def _us(time_ns: float) -> float:
    return float(f"{time_ns / 1e3:.5g}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("condition", choices=CONDITIONS)
    parser.add_argument("--seconds", type=float, default=240.0, help="stop after the launch that ends later than this")
    parser.add_argument("--launches", type=int, default=40, help="launches of each kind to record")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only these; repeatable")
    parser.add_argument("--duet", action="append", choices=DUETS, help="only these; repeatable")
    asked = parser.parse_args()
    workloads, duets = asked.workload or list(WORKLOADS), asked.duet or list(DUETS)
    record(asked.condition, asked.seconds, asked.launches, workloads, duets)


if __name__ == "__main__":
    main()
