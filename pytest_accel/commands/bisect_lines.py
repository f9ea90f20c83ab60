"""The lines that ``pytest-accel bisect`` prints: one for each decision, and the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel.bisect.bisection import described
from pytest_accel.verdict import times

if TYPE_CHECKING:
    from pytest_accel.bisect.bisection import Finding, Step
    from pytest_accel.bisect.search import History
    from pytest_accel.bisect.trial import Answer, Trial


def of_step(step: Step, history: History) -> str:
    """Return the line of a decision: which point, of how many, what came out, how long it took, how many are left."""
    left = f"{step.steps_left} to go" if step.steps_left else "the last one"
    seconds = "kept" if step.is_kept else f"{step.trial.seconds:.0f} s"
    return f"{of_trial(step.answer, history.shown(step.trial.point), step.trial)}  ({step.title}; {seconds}; {left})"


def of_trial(answer: Answer, name: str, trial: Trial) -> str:
    """Return the line of one trial. Without a ratio, or undecided, it says why, and where pytest's output is."""
    parts = [f"{answer:<9}", name]
    if trial.ratio is not None:
        parts.append(times(trial.ratio))
    if trial.ratio is None or answer == "undecided":
        parts.append(described(trial))
    return "  ".join(parts)


def of_finding(finding: Finding, history: History) -> Iterator[str]:
    """Return the answer, how sure it is, and what was measured there and right before."""
    sure = f"{100 * finding.confidence:.4g} % confidence over {finding.decisions} decisions"
    if finding.undecided:
        yield f"first {finding.fault}: one of these; all but the last could not be decided ({sure})"
        yield from (f"  {history.shown(point)}" for point in (*finding.undecided, finding.first_bad))
    else:
        yield f"first {finding.fault}: {history.shown(finding.first_bad)} ({sure})"
    for trial in finding.trials:
        place = "there" if trial.point == finding.first_bad else "before"
        yield f"  {place:<6}  {history.shown(trial.point)}  {times(trial.ratio) if trial.ratio else trial.reason}"
