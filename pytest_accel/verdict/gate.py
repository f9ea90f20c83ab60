"""The one place of the regression decision: is the candidate slower than the baseline, beyond noise?

The unit of replication is the launch, because calls of one process share its memory layout, its clock and its luck.
Each launch gives one number, the log of its pace (candidate time over pacemaker time).

* When the pacemaker is the baseline's own artefact, the mean log pace is the answer: candidate over baseline.
* When it is the yardstick, the answer is the mean log pace now minus the baseline's (two samples of launches).

Launches that other processes disturbed from end to end count for nothing (`DuetLaunch.disturbed`): what they add to
both sides hides a regression, and may do so differently on either.

The rule is sequential: bounds are looked at after every launch, and whoever looks often errs often. They are therefore
those of a confidence sequence (`stats.Spread.margin_at_any_time`), which hold at all looks together, however many there
are and whatever ends them. A schedule of looks that shares the error out (alpha spending) needs as many launches, but
has to know the last look beforehand; here a time budget ends them, and launches get slower when a machine gets busy.

Two launches say next to nothing about their own spread. What launches have been seen to spread by, `SPREAD`, counts for
as much as four more of them would (a moderated t), and more where the pairs within the launches scatter, which is how a
busy machine shows at once. One launch alone never decides: nothing would show that this machine is like the others.

The error of calling an unchanged model regressed is divided by the number of tests of the run (Bonferroni): one red
test among a hundred green ones turns the whole run red, so false alarms add up over a run. This costs launches only
where a model is slower: passing a regressed one wrongly is an error about that model alone and stays per test.

Not here: a weight for the pacemaker. A plain ratio overcorrects where the yardstick feels a disturbance more than the
candidate does: of 14 launches each, a weight of 0.4 fitted on all of them took the spread from 3.2 to 2.2 % for a model
of 0.1 ms on ONNX Runtime, and one of 1.05 changed nothing for a model of 0.7 ms on OpenVINO. A baseline's five launches
do not tell the two cases apart (the fit's error is 0.3); the plain ratio's spread costs launches and no false alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, fsum, inf, log, sqrt
from typing import Literal

from pytest_accel import stats
from pytest_accel.facts.records import Duet, DuetLaunch, Ratio

Decision = Literal["regressed", "pass", "improved", "inconclusive"]

#: DEFAULT_MAX_REGRESSION is the slowdown that is tolerated where nobody says otherwise, as a share.
DEFAULT_MAX_REGRESSION = 0.05
#: SPREAD is the standard deviation of a launch's log pace that is expected: 0.7 to 2 % were seen, the same artefact on
#: both sides. Where launches really spread three times as wide, the error rates still hold.
SPREAD = 0.015
#: SPREAD_FREEDOM is the number of degrees of freedom that this expectation is worth.
SPREAD_FREEDOM = 4.0
#: MOST_LAUNCHES is the number of launches after which a comparison that is still undecided lies at its limit.
MOST_LAUNCHES = 50
#: WIDEST is the largest factor of a bound; one further out says nothing, and records stay finite.
WIDEST = 1e6


@dataclass(frozen=True)
class Gate:
    """Decides between "regressed" (slower by more than ``max_regression``) and "pass" (not slower by that much).

    ``confidence`` holds for the whole decision on either side, however often it is asked. ``tests`` is how many such
    decisions the run makes.
    """

    max_regression: float = DEFAULT_MAX_REGRESSION
    confidence: float = 0.95
    tests: int = 1

    def wants_more(self, launches: Sequence[DuetLaunch], baseline: Duet | None = None) -> bool:
        """Return whether another launch is needed: it is until the answer is clear, or more would not help."""
        return len(launches) < MOST_LAUNCHES and self.decide(self._ratio(launches, baseline)) == "inconclusive"

    def ratio(self, duet: Duet, baseline: Duet | None = None) -> Ratio | None:
        """Candidate time over baseline time; None without a launch on either side that was not disturbed.

        Without ``baseline`` the pacemaker has to be the baseline's own artefact. With it both must have had the same
        pacemaker: raises ValueError when they had not, ask `comparable` first. The ends of the ratio are one-sided
        bounds at the confidences that the decision uses, all looks and tests included.
        """
        if baseline is not None and not comparable(duet, baseline):
            raise ValueError(f"paces beside {duet.pacemaker!r} and {baseline.pacemaker!r} do not compare")
        return self._ratio(duet.launches, baseline)

    def decide(self, ratio: Ratio | None) -> Decision:
        """Return what the ratio says, at any time.

        "improved" is a pass whose upper bound shows the candidate faster by at least half of ``max_regression``.
        """
        if ratio is None:
            return "inconclusive"
        if ratio.lower > 1.0 + self.max_regression:
            return "regressed"
        if ratio.upper < 1.0 - self.max_regression / 2.0:
            return "improved"
        return "pass" if ratio.upper < 1.0 + self.max_regression else "inconclusive"

    def more_launches(self, ratio: Ratio) -> int | None:
        """Return about how many more launches like these would decide; None when no affordable number would."""
        limit = log(1.0 + self.max_regression)
        estimate = log(ratio.estimate)
        margin = log(ratio.upper) - estimate if estimate < limit else estimate - log(ratio.lower)
        distance = abs(estimate - limit)
        needed = ratio.launches * (margin / distance) ** 2 if distance else inf
        return max(1, ceil(needed) - ratio.launches) if needed <= 2 * MOST_LAUNCHES else None

    def _ratio(self, launches: Sequence[DuetLaunch], baseline: Duet | None) -> Ratio | None:
        played = undisturbed(launches)
        stored = undisturbed(baseline.launches) if baseline is not None else None
        if not played or stored == []:
            return None
        spread, worth = _spread(played), float(len(played))
        if stored is not None:
            spread = spread.minus(_spread(stored))
            worth = 1.0 / (1.0 / worth + 1.0 / len(stored))
        error = 1.0 - self.confidence
        below = spread.margin_at_any_time(1.0 - error / self.tests, worth)
        above = spread.margin_at_any_time(1.0 - error, worth)
        # Four regressions of this size out of five would have been called by now. The quantile is that of nineteen out
        # of twenty, because a rule that ends when launches happen to agree takes them for more alike than they are.
        caught = (1.0 + self.max_regression) * _factor(below + spread.margin(0.95)) - 1.0
        return Ratio(
            estimate=_factor(spread.mean),
            lower=_factor(spread.mean - below),
            upper=_factor(spread.mean + above),
            confidence=self.confidence,
            launches=len(played),
            smallest_caught=caught,
        )


def undisturbed(launches: Sequence[DuetLaunch]) -> list[DuetLaunch]:
    """Return the launches that count."""
    return [launch for launch in launches if not launch.disturbed]


def _spread(launches: Sequence[DuetLaunch]) -> stats.Spread:
    """Return the mean log pace of launches, and how far it may be off."""
    within = fsum(launch.log_pace_error**2 for launch in launches) / len(launches)
    return stats.moderated_spread(
        [launch.log_pace for launch in launches], deviation=sqrt(SPREAD**2 + within), freedom=SPREAD_FREEDOM
    )


def comparable(duet: Duet, baseline: Duet) -> bool:
    """Return whether two duets had the same pacemaker, without which their paces say nothing about each other."""
    return (duet.pacemaker, duet.pacemaker_digest) == (baseline.pacemaker, baseline.pacemaker_digest)


def _factor(logarithm: float) -> float:
    return min(max(exp(min(logarithm, 700.0)), 1.0 / WIDEST), WIDEST)
