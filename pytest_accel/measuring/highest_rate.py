"""How many calls a second can be served within the latency limits? A search by halving, with a server at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel import verdict
from pytest_accel.measuring.results import Bounded, HighestRate, Latency, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_accel.facts.records import Budgets, Measurement

#: HALVINGS is the number of rates that are tried, each in the middle of what is left: the last one is a 32nd of the
#: capacity from the true limit.
HALVINGS = 5


def search(
    serve: Callable[[float], Measurement], *, capacity: float, budgets: Budgets, confidence: float, looks: int = 1
) -> HighestRate:
    """Try rates between none and ``capacity``, in calls a second, which nothing can exceed.

    ``serve`` measures a server at a rate. A rate holds when it is kept and every latency limit passes; what is
    undecided does not hold. ``confidence`` is that of all trials together, of which each took ``looks``.
    """
    holds, breaks = 0.0, capacity
    trials: list[Trial] = []
    for _ in range(HALVINGS):
        middle = (holds + breaks) / 2
        trial = _tried(middle, serve(middle), budgets, confidence, looks * HALVINGS)
        trials.append(trial)
        holds, breaks = (middle, breaks) if trial.met else (holds, middle)
    return HighestRate(
        rate=Bounded(holds, name="calls/s", bound=_bound(trials)), capacity=capacity, trials=tuple(trials)
    )


def _tried(rate: float, measurement: Measurement, budgets: Budgets, confidence: float, looks: int) -> Trial:
    answers = verdict.judge_sla(measurement, budgets, confidence=confidence, looks=looks)
    failing = [answer for answer in answers if answer.kind != "pass"]
    failing += [answer for answer in verdict.judge_measurement(measurement) if answer.kind == "not-measured"]
    return Trial(
        rate=rate,
        met=not failing,
        latency=Latency(measurement, confidence),
        reason=(failing or answers)[-1].summary,
    )


def _bound(trials: list[Trial]) -> str:
    """Return the two trials between which the limits break."""
    best = max((trial for trial in trials if trial.met), key=lambda trial: trial.rate, default=None)
    worst = min((trial for trial in trials if not trial.met), key=lambda trial: trial.rate, default=None)
    return " ".join(f"At {trial.rate:.4g}/s: {trial.reason}" for trial in (best, worst) if trial is not None)
