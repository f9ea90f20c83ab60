"""Which operator got slower? Both sides once more, with the runtime's own profiler, after a regression was judged.

Such a launch is never judged: a profiler takes time itself. Whatever goes wrong in it changes no verdict. The sides
take turns as in a duet, so that a busy machine slows down both, and of several turns the faster ones count.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from pytest_accel import verdict
from pytest_accel.facts.errors import AccelError
from pytest_accel.regression import duet
from pytest_accel.regression.pacemaker import fits_another
from pytest_accel.verdict import OperatorComparison
from pytest_accel.worker.accelerator import OperatorTime
from pytest_accel.worker.timing.operators import fastest_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_accel.facts.records import Duet
    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.regression.duet import Side
    from pytest_accel.regression.pacemaker import Compared

#: TURNS is the number of turns of each side.
TURNS = 5
#: BUDGET_S is the number of seconds after which there are no more turns. One for each side is always played.
BUDGET_S = 30.0
#: TURN_NS is the number of nanoseconds of the calls of a turn: of a slow model there are fewer.
TURN_NS = 1_000_000_000
#: FEWEST_CALLS is the number of calls of a turn at least.
FEWEST_CALLS = 4
#: MOST_CALLS is the number of calls of a turn at most: a profiler writes a record for each operator of each.
MOST_CALLS = 20

#: Profile has the operators of one side in one turn.
Profile: TypeAlias = "Sequence[OperatorTime]"


def with_operators(verdicts: list[Verdict], compared: Compared, opponent: str = "the baseline") -> list[Verdict]:
    """Return the verdicts; one that is ``regressed`` names the operators that got slower, or says why it cannot.

    Beside the yardstick nothing is told: that knows no operator of the baseline.
    """
    if compared.sides is None or not compared.sides[0].session.settings.profile_regressions:
        return verdicts
    return [
        msgspec.structs.replace(
            answer, details=(*answer.details, *_sentences(compared, *compared.sides, name=opponent))
        )
        if answer.kind == "regressed"
        else answer
        for answer in verdicts
    ]


def _sentences(compared: Compared, candidate: Side, opponent: Side, *, name: str) -> tuple[str, ...]:
    """Return what is told of the operators of a comparison that was lost."""
    if not candidate.session.registry.find(candidate.accelerator).profiles_operators:
        return verdict.operators_unknown(f"nothing profiles the operators of {candidate.accelerator}")
    try:
        comparison = compare_operators(candidate, opponent, calls=_calls(compared.duet))
    except AccelError as error:
        return verdict.operators_unknown(f"the launch with the profiler failed ({error})")
    if comparison is None:
        return verdict.operators_unknown("the profiler tells nothing of them for these options")
    assert compared.ratio is not None, "without a ratio nothing has regressed"
    return verdict.slower_operators(comparison, ratio=compared.ratio.estimate, opponent=name)


def compare_operators(candidate: Side, opponent: Side, *, calls: int) -> OperatorComparison | None:
    """Profile both sides, so many ``calls`` in a turn; None where the profiler tells nothing for their options.

    Raises the errors of `WorkerClient`.
    """
    play_turns = _one_after_the_other if candidate.is_exclusive else _in_turns
    profiles = play_turns({"candidate": candidate, "opponent": opponent}, calls)
    if any(profile is None for side in profiles.values() for profile in side):
        return None
    before, after = (_fastest(filter(None, profiles[name])) for name in ("opponent", "candidate"))
    return OperatorComparison.of(before, after)


def _in_turns(sides: Mapping[str, Side], calls: int) -> Mapping[str, list[Profile | None]]:
    """Profile in alternation, each side in a fresh worker that is stopped while the other has its turn."""
    profiles: dict[str, list[Profile | None]] = {name: [] for name in sides}
    tell = sides["candidate"].session.tell
    with ExitStack() as stack:
        clients = {name: stack.enter_context(side.start()) for name, side in sides.items()}
        duet.load_both(clients, sides, tell.tick)
        began_s = time.monotonic()
        for turn in range(TURNS):
            if turn and not fits_another(turn, time.monotonic() - began_s, BUDGET_S):
                break
            tell("looking for the operators that got slower", f"turn {turn + 1} of {TURNS}", share=turn / TURNS)
            for name in random.sample(list(sides), 2):
                with duet.turn(clients, name) as client:
                    profiles[name].append(client.operator_times(calls))
            if None in (side[-1] for side in profiles.values()):
                break
    return profiles


def _one_after_the_other(sides: Mapping[str, Side], calls: int) -> Mapping[str, list[Profile | None]]:
    """Profile each side in a process that has the device to itself, and ends before the other begins."""
    profiles: dict[str, list[Profile | None]] = {}
    for name, side in sides.items():
        side.session.tell("looking for the operators that got slower")
        with side.start() as client:
            duet.load(client, side)
            profiles[name] = [client.operator_times(calls)]
    return profiles


def _fastest(profiles: Iterable[Profile]) -> list[OperatorTime]:
    """Return the time of each operator in the faster half of one side's turns."""
    turns = [{(operator.name, operator.kind): operator.ns for operator in profile} for profile in profiles]
    operators = dict.fromkeys(operator for turn in turns for operator in turn)
    return [OperatorTime(*each, fastest_mean([turn.get(each, 0.0) for turn in turns], 0.5)) for each in operators]


def _calls(played: Duet) -> int:
    """Return how many calls a turn has: fewer for a slow model, within limits."""
    slower_ns = 1e6 * max(median(launch.candidate_p50_ms for launch in played.launches), 1e-6)
    return int(min(max(TURN_NS // slower_ns, FEWEST_CALLS), MOST_CALLS))
