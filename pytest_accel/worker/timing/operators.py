"""How the records of a runtime's profiler become the time of each operator in one call.

A profiler records when each operator began and ended. An operator such as a loop has others inside it, whose time is
theirs. Other processes make an operator slower and never faster, so of all calls the fastest quarter counts: with the
middle half, and a load of eight on two cores, a wrong operator came first in 3 of 20 networks.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle, islice
from typing import Callable, DefaultDict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, TypeVar

from pytest_accel.worker.accelerator import OperatorTime

#: WARM_UP_CALLS is the number of calls that come before those that a profile is read of.
WARM_UP_CALLS = 2
#: FASTEST is the share of calls that count.
FASTEST = 0.25

_Staged = TypeVar("_Staged")


class Execution(NamedTuple):
    """One execution of an operator as a profiler has recorded it, on one thread. `OperatorTime` says what a name is."""

    name: str
    kind: str
    thread: int
    begin_ns: float
    end_ns: float


class Window(NamedTuple):
    """The time from the begin of one call to its end, in nanoseconds of the profiler's clock."""

    begin_ns: float
    end_ns: float

    def has(self, execution: Execution) -> bool:
        """Return whether an execution began and ended in this time."""
        return self.begin_ns <= execution.begin_ns and execution.end_ns <= self.end_ns


def make_calls(call: Callable[[_Staged], object], staged: Sequence[_Staged], calls: int) -> None:
    """Make so many calls, with the staged batches in turn."""
    for inputs in islice(cycle(staged), calls):
        call(inputs)


def typical(calls: Sequence[Iterable[OperatorTime]]) -> List[OperatorTime]:
    """Return the time of each operator in one of the ``calls``. What is listed twice in a call counts twice."""
    times_ns: DefaultDict[Tuple[str, str], List[float]] = defaultdict(lambda: [0.0] * len(calls))
    for number, operators in enumerate(calls):
        for operator in operators:
            times_ns[operator.name, operator.kind][number] += operator.ns
    return [OperatorTime(name, kind, fastest_mean(each, FASTEST)) for (name, kind), each in times_ns.items()]


def typical_within(executions: Iterable[Execution], calls: Iterable[Window]) -> List[OperatorTime]:
    """Return what `typical` does of the executions within the ``calls``. Those outside of them do not count."""
    ordered = sorted(executions, key=lambda each: (each.begin_ns, -each.end_ns))
    return typical([list(own_times([each for each in ordered if call.has(each)])) for call in calls])


def own_times(ordered: Sequence[Execution]) -> Iterator[OperatorTime]:
    """Yield the time of each execution without that of executions inside it on its thread.

    They come in the order in which they began, the outer before the inner one.
    """
    inside_ns = [0.0] * len(ordered)
    running: DefaultDict[int, List[int]] = defaultdict(list)
    for position, execution in enumerate(ordered):
        around = running[execution.thread]
        while around and ordered[around[-1]].end_ns < execution.end_ns:
            around.pop()
        if around:
            inside_ns[around[-1]] += execution.end_ns - execution.begin_ns
        around.append(position)
    for execution, others_ns in zip(ordered, inside_ns):
        yield OperatorTime(execution.name, execution.kind, execution.end_ns - execution.begin_ns - others_ns)


def fastest_mean(values: Sequence[float], share: float) -> float:
    """Return the mean of the lowest ``share`` of ``values``, of one of them at least."""
    fastest = sorted(values)[: max(1, int(len(values) * share))]
    return sum(fastest) / len(fastest)
