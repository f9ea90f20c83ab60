"""What can disturb a measurement on a machine: quotas, governors, tracing and what other processes use.

The facts are read by `pytest_accel.worker.host.conditions`: here in process, and on another host by its attendant.
``ask`` is what asks a machine, which is this one by default. Nobody is judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.facts.records import Conditions
from pytest_accel.machine.here import HERE
from pytest_accel.worker.timing import process_state

if TYPE_CHECKING:
    from pytest_accel.machine.here import Ask


def conditions(ask: Ask = HERE, *, in_process: bool = False, foreign_load_cores: float | None = None) -> Conditions:
    """Return what can disturb a measurement on a machine, by a worker or in this process itself.

    ``tracing`` is what watches a measurement's every step and so slows it, joined by commas. A worker inherits the
    environment, in which coverage asks to be started, but not this process's trace functions: these count only for a
    measurement that is made ``in_process``.
    """
    facts = ask("conditions")
    watchers = process_state.watchers() if in_process else []
    return Conditions(
        tracing=", ".join(filter(None, [facts["tracing"], *watchers])),
        in_process=in_process,
        cpu_quota_cores=facts["cpu_quota_cores"],
        governor=facts["governor"],
        foreign_load_cores=foreign_load_cores,
    )


class ForeignLoad:
    """Watches, from its making on, how much of a machine others use than the workers and what has started them."""

    def __init__(self, ask: Ask = HERE) -> None:
        self._ask = ask
        self._start = self._sample()

    def _sample(self) -> tuple[float, float | None]:
        spent = self._ask("cpu_spent")
        return spent["clock_s"], spent["foreign_s"]

    def cores(self) -> float | None:
        """Return the cores that others kept busy since the start, on average; None where the machine does not tell."""
        (began_s, spent_before_s), (ended_s, spent_s) = self._start, self._sample()
        if spent_before_s is None or spent_s is None:
            return None
        # The two counters tick apart by up to a hundredth of a second, so a quiet machine may come out below nothing.
        return max(0.0, (spent_s - spent_before_s) / (ended_s - began_s)) if ended_s > began_s else 0.0
