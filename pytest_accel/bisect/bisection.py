"""The story of a search: is BAD bad, is GOOD good, which point between them is the first bad one, how sure is that?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import fsum
from typing import TYPE_CHECKING, Protocol

from pytest_accel.bisect.pytest_run import UNASKED_COMPARE_S
from pytest_accel.bisect.search import History, Narrowed, error_share, narrow, steps_for
from pytest_accel.facts.errors import AccelError

if TYPE_CHECKING:
    from pytest_accel.bisect.kept_trials import KeptTrials
    from pytest_accel.bisect.trial import Answer, Fault, FaultKind, Trial

#: TRIES is how often a point is run at most: once more, with twice the time, where the first time has not decided.
TRIES = 2
#: _AGAIN says what to do about an end without an answer.
_AGAIN = "mend that, or give more time with --compare-budget, and --reset has it run again"


class Judge(Protocol):
    """Runs the test at one point."""

    def __call__(self, point: str, *, confidence: float, compare_budget_s: float) -> Trial:
        """Return what the run shows. Raises `AccelError` where no point could be run."""


class NotAsNamed(AccelError):
    """GOOD is not good or BAD is not bad; the message says what was found instead."""


@dataclass(frozen=True)
class Step:
    """One decision, for whoever follows the search: what was run, why, and what is left afterwards.

    ``steps_left`` is how many more are needed at most, where nothing stays undecided. ``is_kept``: it was run before.
    """

    title: str
    trial: Trial
    answer: Answer
    steps_left: int
    is_kept: bool = False


@dataclass(frozen=True)
class Finding:
    """The end of a search.

    ``first_bad`` is the first point that is known to be bad. Where ``undecided`` is not empty, one of those may be the
    first bad one instead. ``confidence`` holds for all ``decisions`` together.
    """

    fault: Fault
    first_bad: str
    undecided: tuple[str, ...]
    confidence: float
    decisions: int
    trials: tuple[Trial, ...]


@dataclass
class Bisection:
    """One search in a history. ``confidence`` is that of the whole answer.

    ``hunt`` is the kind of fault that is looked for; without it that is the most severe one that BAD has. A trial whose
    comparison stays undecided is made once more with twice ``compare_budget_s``. ``follow`` hears of each step.
    """

    history: History
    judge: Judge
    kept: KeptTrials
    follow: Callable[[Step], object]
    confidence: float = 0.95
    compare_budget_s: float = 180.0
    hunt: FaultKind | None = None
    _steps_left: int = field(init=False, default=0)

    def find(self) -> Finding:
        """Find the first bad point. Raises `NotAsNamed` where GOOD is not good or BAD is not bad."""
        everybody = len(self.history.suspects([self.history.good], self.history.bad))
        self._steps_left = steps_for(everybody) + 2
        fault = self._fault_of_bad()
        self._require_good(fault)
        while (narrowed := narrow(self.history, partial(self._known, fault))).ask is not None:
            self._steps_left = steps_for(len(narrowed.suspects))
            title = f"one of {len(narrowed.suspects)}"
            self._decided(title, narrowed.ask, fault)
        return self._finding(fault, narrowed)

    def _fault_of_bad(self) -> Fault:
        trial = self._decided("BAD", self.history.bad, None)
        for fault in trial.faults():
            if self.hunt in (None, fault.kind):
                return fault
        if _answer(trial, None) == "undecided":
            raise NotAsNamed(f"BAD could not be decided: {described(trial)}; {_AGAIN}")
        raise NotAsNamed(f"BAD is not {self.hunt or 'bad'}, so there is nothing to look for: {described(trial)}")

    def _require_good(self, fault: Fault) -> None:
        trial = self._decided("GOOD beside itself", self.history.good, fault)
        if (answer := trial.answer(fault)) != "good":
            found = f"is {fault} too: " if answer == "bad" else "could not be decided: "
            again = "" if answer == "bad" else f"; {_AGAIN}"
            raise NotAsNamed(f"GOOD {found}{described(trial)}{again}")

    def _decided(self, title: str, point: str, fault: Fault | None) -> Trial:
        """Return the trial that counts at a point; it is made where there is none yet."""
        is_kept = True
        while not (trials := self.kept.at(point)) or self._deserves_more(trials, fault):
            if not is_kept:
                self._tell(title, trials[-1], fault)
            budget_s = self._budget_s(fault) * 2 ** len(trials)
            self.kept.add(self.judge(point, confidence=1.0 - self._share(), compare_budget_s=budget_s))
            is_kept = False
        self._steps_left = max(self._steps_left - 1, 0)
        self._tell(title, trials[-1], fault, is_kept=is_kept)
        return trials[-1]

    def _tell(self, title: str, trial: Trial, fault: Fault | None, *, is_kept: bool = False) -> None:
        self.follow(Step(title, trial, _answer(trial, fault), self._steps_left, is_kept))

    def _deserves_more(self, trials: Sequence[Trial], fault: Fault | None) -> bool:
        """Return whether a point's trials have left open what more launches could decide."""
        return len(trials) < TRIES and trials[-1].is_close and _answer(trials[-1], fault) == "undecided"

    def _share(self) -> float:
        spent = fsum(1.0 - trial.confidence for trial in self.kept)
        return error_share(spent, error=1.0 - self.confidence, runs_left=max(self._steps_left, 1))

    def _budget_s(self, fault: Fault | None) -> float:
        asked = fault is None or fault.kind == "regressed"
        return self.compare_budget_s if asked else min(UNASKED_COMPARE_S, self.compare_budget_s)

    def _known(self, fault: Fault, point: str) -> Answer | None:
        trials = self.kept.at(point)
        return None if not trials or self._deserves_more(trials, fault) else trials[-1].answer(fault)

    def _finding(self, fault: Fault, narrowed: Narrowed) -> Finding:
        around = (narrowed.bad, *self.history.before(narrowed.bad))
        return Finding(
            fault=fault,
            first_bad=narrowed.bad,
            undecided=narrowed.undecided,
            confidence=self.confidence,
            decisions=len(self.kept),
            trials=tuple(trials[-1] for point in around if (trials := self.kept.at(point))),
        )


def _answer(trial: Trial, fault: Fault | None) -> Answer:
    """Say what a trial answers; before anybody knows what is hunted, any fault is bad."""
    if fault is not None:
        return trial.answer(fault)
    if trial.faults():
        return "bad"
    return "undecided" if trial.is_close or not trial.verdicts else "good"


def described(trial: Trial) -> str:
    """Return what a trial has shown, and where its output is."""
    return f"{trial.reason} ({trial.log})" if trial.log else trial.reason
