"""Can the gate hold on this machine? ``--accel-selftest`` has it decide two cases whose answers are known.

The yardstick network beside itself must not be called slower; beside itself with real work added to each call, twice
what is tolerated, it must. The two cases take turns until the time is spent. Nothing is simulated: launches are the
gate's own, and the work is done in the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import WorkerError
from pytest_accel.facts.records import Duet
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.regression.pacemaker import fits_another, race, yardstick
from pytest_accel.verdict.gate import DEFAULT_MAX_REGRESSION, Gate

if TYPE_CHECKING:
    from pytest_accel.facts.records import Ratio
    from pytest_accel.regression.duet import Side
    from pytest_accel.session.session import Session
    from pytest_accel.verdict.gate import Decision

#: EXTRA is the work that is added, as a multiple of the regression that is tolerated.
EXTRA = 2.0


@dataclass(frozen=True)
class GateTrial:
    """One verdict of the gate. ``ratio`` is None when it had too few launches for one."""

    decision: Decision
    ratio: Ratio | None


@dataclass(frozen=True)
class Proof:
    """What the gate said of one accelerator. ``extra_work`` is the share by which the slowed network did more."""

    accelerator: str
    extra_work: float
    unchanged: tuple[GateTrial, ...]
    slowed: tuple[GateTrial, ...]

    @property
    def green(self) -> int:
        """How many unchanged networks were not called slower."""
        return sum(trial.decision != "regressed" for trial in self.unchanged)

    @property
    def red(self) -> int:
        """How many slowed networks were called slower."""
        return sum(trial.decision == "regressed" for trial in self.slowed)

    @property
    def holds(self) -> bool:
        """Whether every answer was the right one."""
        return self.green == len(self.unchanged) and self.red == len(self.slowed)

    @property
    def smallest_caught(self) -> float | None:
        """The smallest slowdown that was seen here: by the longest comparison, since clear cases end before that."""
        trials = (*self.unchanged, *self.slowed)
        return min((trial.ratio.smallest_caught for trial in trials if trial.ratio is not None), default=None)


@dataclass(frozen=True)
class Unproven:
    """An accelerator that the gate could not be tried on, and why."""

    accelerator: str
    reason: str
    holds: bool = False


def prove_all(session: Session) -> Iterator[Proof | Unproven]:
    """Try the gate on each accelerator that was chosen, else on all that are here; at least one answer."""
    chosen = session.settings.accelerators
    present = [name for name in chosen or session.registry.names if session.absence(name) is None]
    for name in chosen or present:
        if name not in present:
            yield Unproven(name, f"absent: {session.absence(name)}")
            continue
        if session.registry.find(name).remote:
            yield Unproven(name, "it runs outside this machine, where no yardstick can run", holds=chosen is None)
            continue
        try:
            yield prove(session, name)
        except WorkerError as error:
            yield Unproven(name, str(error))
    if not (chosen or present):
        yield Unproven("the gate", "no accelerator is here; --accel-list says why")


def prove(session: Session, accelerator: str, *, clock: Callable[[], float] = time.monotonic) -> Proof:
    """Try the gate on an accelerator, which is ours alone meanwhile, for about ``selftest_budget_s``.

    Each case is tried once at least. The limit is the project's ``max_regression``.
    """
    limit = session.settings.budgets.get("max_regression", DEFAULT_MAX_REGRESSION)
    gate = Gate(max_regression=limit, confidence=session.settings.confidence)
    unchanged: list[GateTrial] = []
    slowed: list[GateTrial] = []
    with session.exclusive(accelerator):
        (plan,) = expand_marker((accelerator,), {}, session.registry)
        network = yardstick(session, plan.variant)
        began_s = clock()
        while not slowed or fits_another(len(slowed), clock() - began_s, session.settings.selftest_budget_s):
            title = f"testing the gate on {accelerator}, round {len(slowed) + 1}"
            unchanged.append(_trial(network, network, gate, f"{title}, unchanged"))
            more = replace(network, extra_work=EXTRA * limit)
            slowed.append(_trial(more, network, gate, f"{title}, slowed"))
    return Proof(accelerator, EXTRA * limit, tuple(unchanged), tuple(slowed))


def _trial(candidate: Side, opponent: Side, gate: Gate, title: str) -> GateTrial:
    launches = race(candidate, opponent, gate, title=title)
    ratio = gate.ratio(Duet(pacemaker="yardstick", pacemaker_digest="", launches=launches))
    return GateTrial(gate.decide(ratio), ratio)
