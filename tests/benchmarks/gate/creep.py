"""Replays twenty commits that each make a network a little slower: ``python -m tests.benchmarks.gate.creep``.

None of them is more than the limit beside the commit before, which is the baseline. Creep is judged beside the first
one, the anchor. Launches of the same artefact on both sides are drawn anew for each verdict, and the candidate's time
is longer by as much as has been added. Prints at which commit creep was first red, in Markdown.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log1p
from statistics import median

import msgspec

from pytest_accel.facts.records import DuetLaunch
from pytest_accel.verdict.gate import Decision, Gate
from tests.benchmarks.gate.replay import BUDGET_S, Recording, judged, mirror, recordings

COMMITS = 20
#: STEP is what each commit adds to the time of the one before.
STEP = 0.008
#: CREEP is what all of them may add together. A test asks two questions, so each is as sure as two tests are.
CREEP = Gate(max_regression=0.05, tests=2)
REGRESSION = Gate(max_regression=0.025, tests=2)
#: FIRST_OVER is the first commit that is slower than the anchor by more than the limit.
FIRST_OVER = next(commit for commit in range(1, COMMITS + 1) if (1 + STEP) ** commit > 1 + CREEP.max_regression)


@dataclass(frozen=True)
class Branch:
    """What was said about each commit of one branch, the first one first."""

    regression: Sequence[Decision]
    creep: Sequence[Decision]

    @property
    def first_red(self) -> int | None:
        """The number of the first commit that was red by creep, None where none was."""
        return next((at for at, decision in enumerate(self.creep, 1) if decision == "regressed"), None)

    @property
    def is_red_at_once(self) -> bool:
        """Whether any commit was red beside the one before."""
        return "regressed" in self.regression


def branches(recording: Recording, count: int, *, step: float, seed: int = 1) -> Iterator[Branch]:
    """Yield branches whose commits each add this share to the time."""
    rng, launches = random.Random(seed), recording.launches["same"]

    def decide(gate: Gate, slowdown: float) -> Decision:
        def draw() -> tuple[DuetLaunch, float]:
            launch, seconds = rng.choice(launches)
            either = launch if rng.random() < 0.5 else mirror(launch, 0.0)
            slower = msgspec.structs.replace(either, log_pace=either.log_pace + slowdown)
            return slower, seconds

        return judged(draw, gate, BUDGET_S, None).decision

    for _ in range(count):
        yield Branch(
            [decide(REGRESSION, log1p(step)) for _ in range(COMMITS)],
            [decide(CREEP, commit * log1p(step)) for commit in range(1, COMMITS + 1)],
        )


def main() -> None:
    """The command: a row for each recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", type=int, default=200, help="branches of each kind")
    count = parser.parse_args().branches
    print(f"Commit {FIRST_OVER} is the first that is slower by more than {CREEP.max_regression:.0%}.\n")
    print(
        "| model | machine | equal commits: red | creeping: red at once | red by creep | first red, middle | latest |"
    )
    print("|---|---|---|---|---|---|---|")
    for recording in recordings():
        equal = list(branches(recording, count, step=0.0))
        creeping = list(branches(recording, count, step=STEP))
        found = [branch.first_red for branch in creeping if branch.first_red is not None]
        print(
            f"| {recording.workload} | {recording.condition} "
            f"| {sum(branch.is_red_at_once or branch.first_red is not None for branch in equal)} of {count} "
            f"| {sum(branch.is_red_at_once for branch in creeping)} of {count} | {len(found)} of {count} "
            f"| {median(found) if found else '–'} | {max(found) if found else '–'} |"
        )


if __name__ == "__main__":
    main()
