"""Launches that share a parent beside others: ``python -m tests.benchmarks.gate.parents [--launches 40]``.

A launch is what the statistics count. Launches of TensorFlow are forked from one process, so they have to scatter as
much as launches that import it anew. Both kinds are played in turn, the same artefact on both sides, and some parents
after each other. Each launch is a line of JSON in ``parents.jsonl`` beside this file, so a run can be interrupted and
goes on where it was. Ends with a table in Markdown; ``--launches 0`` only tells that.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from math import inf
from pathlib import Path
from statistics import stdev
from typing import Literal

import scipy.stats

from pytest_accel.facts.fact import Fact
from pytest_accel.processes.client import WorkerClient
from pytest_accel.regression.duet import Side, play
from tests.benchmarks.gate.lines import append, lines_of
from tests.benchmarks.gate.workloads import Workload, session, sides

LAUNCHES = Path(__file__).parent / "parents.jsonl"
#: How many launches of each kind have one parent, in this program and in a verdict at most.
OF_ONE_PARENT = 10

WORKLOADS = {
    "resnet50-b1": Workload("cpu", "resnet50"),
    "digits_cnn-b1": Workload("cpu", "digits_cnn"),
    "digits_cnn-b32": Workload("cpu", "digits_cnn", {"batch_size": 32}),
    "digits_cnn-b256": Workload("cpu", "digits_cnn", {"batch_size": 256}),
}
Kind = Literal["forked", "own"]


class Launched(Fact, frozen=True):
    """One launch: how its process came to be, the number of its parent, and what the gate takes from it."""

    workload: str
    kind: Kind
    parent: int
    log_pace: float
    log_pace_error: float
    disturbed: bool
    seconds: float


@dataclass(frozen=True)
class OwnProcess(Side):
    """A side whose workers import their SDK each by itself."""

    @classmethod
    def of(cls, side: Side) -> OwnProcess:
        """The same side."""
        return cls(**{field.name: getattr(side, field.name) for field in fields(Side)})

    def start(self) -> AbstractContextManager[WorkerClient]:
        return self.session.fresh_client(self.accelerator)


def launched() -> list[Launched]:
    """The launches there are, oldest first."""
    return list(lines_of(LAUNCHES, Launched))


def record(launches: int, ends_s: float) -> None:
    """Play what is missing, one parent of a workload after the other."""
    rng = random.Random()
    while True:
        counted = {name: [each for each in launched() if each.workload == name] for name in WORKLOADS}
        name = min(counted, key=lambda each: len(counted[each]))
        if len(counted[name]) >= 2 * launches or time.monotonic() > ends_s:
            return
        parent = max((each.parent for each in counted[name]), default=0) + 1
        for launch in _family(name, parent, rng):
            append(LAUNCHES, launch)


def _family(name: str, parent: int, rng: random.Random) -> Iterator[Launched]:
    """Launches of one parent, and in turn as many that have none in common."""
    with session() as ours:
        forked, _ = sides(ours, WORKLOADS[name], "same")
        own = OwnProcess.of(forked)
        kinds: list[tuple[Kind, Side]] = [("forked", forked), ("own", own)]
        with forked.start():  # the first waits for the parent to be there
            pass
        for _ in range(OF_ONE_PARENT):
            for kind, side in rng.sample(kinds, 2):
                began_s = time.monotonic()
                launch = play(side, side, rng)
                seconds = round(time.monotonic() - began_s, 2)
                yield Launched(name, kind, parent, launch.log_pace, launch.log_pace_error, launch.disturbed, seconds)


def paces(name: str, kind: Kind) -> list[list[float]]:
    """The log paces of a workload's launches in percent, a list for each parent."""
    some = [each for each in launched() if (each.workload, each.kind) == (name, kind)]
    parents = sorted({each.parent for each in some})
    return [[100 * each.log_pace for each in some if each.parent == parent] for parent in parents]


def spread(families: Sequence[Sequence[float]]) -> float:
    """The standard deviation of launches about the mean of their parent, as one verdict sees it."""
    squares = sum((len(family) - 1) * stdev(family) ** 2 for family in families)
    return float((squares / sum(len(family) - 1 for family in families)) ** 0.5)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=40, help="launches of each kind")
    parser.add_argument("--seconds", type=float, default=inf, help="begin no other parent after so many seconds")
    asked = parser.parse_args()
    record(asked.launches, time.monotonic() + asked.seconds)
    print("| workload | launches | spread, forked | spread, own process | parents differ | seconds, forked | own |")
    print("|---|---|---|---|---|---|---|")
    for name in WORKLOADS:
        forked, own = paces(name, "forked"), paces(name, "own")
        if len(forked) < 2:
            continue
        seconds = [
            sorted(each.seconds for each in launched() if (each.workload, each.kind) == (name, kind))
            for kind in ("forked", "own")
        ]
        print(
            f"| {name} | {sum(map(len, forked))} | {spread(forked):.2f} % | {spread(own):.2f} % "
            f"| p = {scipy.stats.kruskal(*forked).pvalue:.2f} "
            f"| {seconds[0][len(seconds[0]) // 2]:.1f} | {seconds[1][len(seconds[1]) // 2]:.1f} |"
        )


if __name__ == "__main__":
    main()
