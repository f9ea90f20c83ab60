"""Replays recorded launches as verdicts: ``python -m tests.benchmarks.gate.replay [--verdicts 500]``.

Launches are drawn anew for each verdict, with replacement, until the gate itself wants no more or a minute is spent;
real extra work was done when they were recorded. Prints how often each gate was wrong, in Markdown.

A device that belongs to one process at a time is compared launch by launch (`pytest_accel.regression.alternation`).
What that is worth is replayed too, by taking the candidate of one recorded launch and the pacemaker of the next. Both
ran on a processor that others use too, and minutes apart.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log1p
from statistics import fmean, median

import msgspec

from pytest_accel.facts.records import Duet, DuetLaunch
from pytest_accel.regression.alternation import Blocks, launch_of
from pytest_accel.regression.pacemaker import fits_another
from pytest_accel.verdict.gate import Decision, Gate, undisturbed
from tests.benchmarks.gate.record import CONDITIONS, Recorded, recorded
from tests.benchmarks.gate.rivals import RULES, red
from tests.benchmarks.gate.workloads import WORKLOADS

GATE = Gate(max_regression=0.025)
#: Seconds that a verdict may take.
BUDGET_S = 60.0
#: Launches beside the yardstick that a baseline has stored.
STORED = 5
#: Fewer launches than this of a kind are too few to draw verdicts from.
ENOUGH = 20

Launches = Sequence[tuple[DuetLaunch, float]]


@dataclass(frozen=True)
class Replayed:
    """One verdict that these launches gave."""

    decision: Decision
    launches: int
    seconds: float


@dataclass(frozen=True)
class Replay:
    """Many verdicts of one kind."""

    verdicts: Sequence[Replayed]

    def share(self, *decisions: Decision) -> float:
        """How many of them were one of these."""
        return self.count(*decisions) / len(self.verdicts)

    def count(self, *decisions: Decision) -> int:
        """The same as a number."""
        return sum(each.decision in decisions for each in self.verdicts)

    @property
    def launches(self) -> float:
        """Launches of a typical verdict."""
        return median(each.launches for each in self.verdicts)

    @property
    def seconds(self) -> float:
        """Seconds of a typical verdict."""
        return median(each.seconds for each in self.verdicts)


@dataclass(frozen=True)
class Recording:
    """All launches of a workload under a condition."""

    workload: str
    condition: str
    duets: dict[str, list[Recorded]]

    @classmethod
    def read(cls, workload: str, condition: str) -> Recording:
        """What is there, without the kinds of which there is not enough."""
        duets: dict[str, list[Recorded]] = {}
        for each in recorded(workload, condition):
            duets.setdefault(each.duet, []).append(each)
        return cls(workload, condition, {name: all_ for name, all_ in duets.items() if len(all_) >= ENOUGH})

    @cached_property
    def launches(self) -> dict[str, Launches]:
        """The launches of each kind as a comparison would have them, with the seconds that each took."""
        return {duet: [(each.launch(), each.seconds) for each in played] for duet, played in self.duets.items()}

    def replay(
        self,
        duet: str,
        verdicts: int,
        gate: Gate = GATE,
        *,
        budget_s: float = BUDGET_S,
        seed: int | str = 1,
        mirrored: bool = False,
        apart: bool = False,
    ) -> Replay:
        """Verdicts on launches of this kind, drawn by this seed; with ``apart`` on whole launches in turns.

        Those of the same on both sides are mirrored about no difference, since either side may be called the
        candidate. With ``mirrored`` others are about `slowdown`, which then is what they truly are slower by.
        """
        rng = random.Random(seed)
        launches = in_turns(self.duets[duet]) if apart else self.launches[duet]
        if duet == "yardstick":
            return Replay([_beside_yardstick(rng, launches, gate, budget_s) for _ in range(verdicts)])
        about = 0.0 if duet == "same" else log1p(self.slowdown(duet)) if mirrored else None
        return Replay([_beside_own_artefact(rng, launches, gate, budget_s, about) for _ in range(verdicts)])

    def slowdown(self, duet: str) -> float:
        """How much slower the candidate really was: the middle of all launches that count.

        Not their mean: beside busy processes a launch of a tenth of a millisecond is up to 36 % off, either way, and
        forty of them do not average that out (7.6 +- 2.4 % where 5 % of work was added; the middle is 5.3 %).
        """
        launches = undisturbed([launch for launch, _ in self.launches[duet]])
        return exp(median(launch.log_pace for launch in launches)) - 1.0


def recordings() -> Iterator[Recording]:
    """Every workload under every condition of which launches were recorded."""
    for workload in WORKLOADS:
        for condition in CONDITIONS:
            recording = Recording.read(workload, condition)
            if recording.duets:
                yield recording


def in_turns(played: Sequence[Recorded]) -> Launches:
    """The candidate of each launch beside the pacemaker of the next, with the seconds of both: they take less alone."""
    return [
        (launch_of(_blocks(one.candidate, one), _blocks(other.pacemaker, other), one.started_first), seconds)
        for one, other in zip(played, [*played[1:], *played[:1]], strict=True)
        for seconds in [one.seconds + other.seconds]
    ]


def _blocks(medians_us: Sequence[float], launch: Recorded) -> Blocks:
    return Blocks([[us * 1e3] for us in medians_us], list(launch.disturbed or (False,) * len(medians_us)))


def _beside_own_artefact(
    rng: random.Random, launches: Launches, gate: Gate, budget_s: float, about: float | None
) -> Replayed:
    """Half of the launches are mirrored ``about`` a log pace, where there is one."""

    def draw() -> tuple[DuetLaunch, float]:
        launch, seconds = rng.choice(launches)
        return (launch if about is None or rng.random() < 0.5 else mirror(launch, about)), seconds

    return judged(draw, gate, budget_s, None)


def _beside_yardstick(rng: random.Random, launches: Launches, gate: Gate, budget_s: float) -> Replayed:
    """Some launches are the baseline's, the others are of now."""
    shuffled = rng.sample(launches, len(launches))
    stored = tuple(launch for launch, _ in shuffled[:STORED])
    baseline = Duet(pacemaker="yardstick", pacemaker_digest="1", launches=stored)
    return judged(lambda: rng.choice(shuffled[STORED:]), gate, budget_s, baseline)


def judged(
    draw: Callable[[], tuple[DuetLaunch, float]], gate: Gate, budget_s: float, baseline: Duet | None
) -> Replayed:
    taken: list[DuetLaunch] = []
    spent_s = 0.0
    while gate.wants_more(taken, baseline):
        if taken and not fits_another(len(taken), spent_s, budget_s):
            break
        launch, seconds = draw()
        taken.append(launch)
        spent_s += seconds
    found = Duet(pacemaker="yardstick", pacemaker_digest="1", launches=tuple(taken))
    return Replayed(gate.decide(gate.ratio(found, baseline)), len(taken), spent_s)


def mirror(launch: DuetLaunch, about: float) -> DuetLaunch:
    """As likely a launch, if ``about`` is the true log pace and noise falls on either side."""
    return msgspec.structs.replace(launch, log_pace=2.0 * about - launch.log_pace)


def main() -> None:
    """The command: every kind of launch by itself, then all gates side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=500, help="verdicts of each kind")
    verdicts = parser.parse_args().verdicts
    everything = list(recordings())
    for way in ("call beside call", "whole launches in turns"):
        print(f"\n{way.capitalize()}:\n")
        print("| launches | | really slower | regressed | passed | inconclusive | launches | seconds |")
        print("|---|---|---|---|---|---|---|---|")
        for recording in everything:
            _print_kinds(recording, verdicts, apart=way != "call beside call")
    print("\n| gate | condition | false alarms | 5 % slower found | 10 % slower found | seconds |")
    print("|---|---|---|---|---|---|")
    for condition in CONDITIONS:
        some = [recording for recording in everything if recording.condition == condition and "same" in recording.duets]
        if some:
            _print_side_by_side(some, verdicts)


def _print_kinds(recording: Recording, verdicts: int, *, apart: bool) -> None:
    for duet, launches in recording.duets.items():
        replay = recording.replay(duet, verdicts, apart=apart)
        slower = "–" if duet == "yardstick" else f"{recording.slowdown(duet):.1%}"
        print(
            f"| {recording.workload}, {recording.condition} | {duet}, {len(launches)} | {slower} "
            f"| {replay.share('regressed'):.1%} | {replay.share('pass', 'improved'):.1%} "
            f"| {replay.share('inconclusive'):.1%} | {replay.launches:g} | {replay.seconds:.1f} |"
        )


def _print_side_by_side(some: Sequence[Recording], verdicts: int) -> None:
    """Means over the workloads."""
    condition = some[0].condition
    ours = {duet: [each.replay(duet, verdicts) for each in some if duet in each.duets] for duet in KINDS}
    seconds = median(replay.seconds for replay in ours["same"])
    found = [fmean(replay.share("regressed") for replay in ours[duet]) if ours[duet] else None for duet in KINDS]
    print(f"| pytest-accel | {condition} | {_cells(found)} | {seconds:.1f} |")
    for name, rule in RULES.items():
        found = []
        for duet in KINDS:
            shares = [red(rule, each.duets[duet], each.duets["same"]) for each in some if duet in each.duets]
            found.append(fmean(shares) if shares else None)
        print(f"| {name} | {condition} | {_cells(found)} | |")


#: The columns: unchanged, and slower by real extra work.
KINDS = ("same", "slower-5", "slower-10")


def _cells(shares: Sequence[float | None]) -> str:
    return " | ".join("–" if share is None else f"{share:.1%}" for share in shares)


if __name__ == "__main__":
    main()
