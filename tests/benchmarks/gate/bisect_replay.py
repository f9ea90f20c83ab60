"""Replays recorded launches as whole searches: ``python -m tests.benchmarks.gate.bisect_replay [--searches 100]``.

Each search has 64 commits, of which one that is drawn is 5 % slower than all before it. Its decisions are those of the
gate on launches that are drawn as in `replay`, at the confidence that the search asks for. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pytest_accel.bisect.bisection import Bisection, Finding, NotAsNamed
from pytest_accel.bisect.kept_trials import KeptTrials
from pytest_accel.bisect.trial import Given, Trial
from pytest_accel.facts.settings import Settings
from pytest_accel.verdict.gate import Gate
from tests.benchmarks.gate.replay import GATE, Recording, recordings
from tests.unit.bisect.scripted import Points, number

COMMITS = 64
#: ENDS is how many decisions verify both ends, before the first step of a search.
ENDS = 2
#: BUDGET_S is the time of a comparison where nobody asks for another.
BUDGET_S = Settings.compare_budget_s


@dataclass
class Searched:
    """One search: the commit that was slower, what was found, how many decisions that took, and their seconds."""

    planted: str
    finding: Finding | None = None
    decisions: int = 0
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether that one commit was found."""
        return self.finding is not None and (self.finding.first_bad, self.finding.undecided) == (self.planted, ())

    @property
    def is_wrong(self) -> bool:
        """Whether another commit was found. A search that names several, or gives up, is not wrong."""
        return self.finding is not None and self.planted not in (self.finding.first_bad, *self.finding.undecided)


def search(recording: Recording, seed: int, folder: Path, *, budget_s: float = BUDGET_S) -> Searched:
    """Search once; commit and launches are drawn by this seed."""
    planted = random.Random(seed).randint(1, COMMITS)
    searched = Searched(f"p{planted}")

    def judge(point: str, *, confidence: float, compare_budget_s: float) -> Trial:
        searched.decisions += 1
        duet = "slower-5" if number(point) >= planted else "same"
        gate = Gate(max_regression=GATE.max_regression, confidence=confidence)
        drawn = f"{seed} {point} {searched.decisions}"
        replay = recording.replay(duet, 1, gate, budget_s=compare_budget_s, seed=drawn)
        (verdict,) = replay.verdicts
        searched.seconds += verdict.seconds
        given = Given(kind=verdict.decision, question="regression")
        return Trial(point=point, confidence=confidence, compare_budget_s=compare_budget_s, verdicts=(given,))

    kept = KeptTrials(folder / str(seed))
    with suppress(NotAsNamed):  # an end could not be decided
        searched.finding = Bisection(Points(COMMITS), judge, kept, lambda _: None, compare_budget_s=budget_s).find()
    return searched


def searches(recording: Recording, count: int, *, budget_s: float = BUDGET_S) -> list[Searched]:
    """Search so many times."""
    with tempfile.TemporaryDirectory() as folder:
        return [search(recording, seed, Path(folder), budget_s=budget_s) for seed in range(count)]


def usable() -> list[Recording]:
    """Recordings of the same on both sides and of 5 % more work."""
    return [recording for recording in recordings() if {"same", "slower-5"} <= recording.duets.keys()]


def main() -> None:
    """The command: a row for each recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=100, help="searches of each kind")
    count = parser.parse_args().searches
    print("| launches | | right | wrong | several or none | decisions, mean and most | seconds |")
    print("|---|---|---|---|---|---|---|")
    for recording in usable():
        made = searches(recording, count)
        right, wrong = sum(each.is_right for each in made), sum(each.is_wrong for each in made)
        decisions = [each.decisions for each in made]
        print(
            f"| {recording.workload} | {recording.condition} | {right} of {count} | {wrong} | {count - right - wrong} "
            f"| {fmean(decisions):.1f}, {max(decisions)} | {fmean(each.seconds for each in made):.0f} |"
        )


if __name__ == "__main__":
    main()
