"""How the records of a runtime's profiler become the time of each operator in one call.

A profiler records when each operator began and ended. An operator such as a loop has others inside it, whose time is
theirs. A call that something has disturbed must not name an operator, so of all calls the middle half counts.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle, islice
from typing import Callable, DefaultDict, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, TypeVar

from pytest_accel.worker.accelerator import OperatorTime

#: WARM_UP_CALLS is the number of calls that come before those that a profile is read of.
WARM_UP_CALLS = 2

_Staged = TypeVar("_Staged")
_Key = Tuple[str, str]


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


def make_calls(call: Callable[[_Staged], object], staged: Sequence[_Staged], calls: int) -> None:
    """Make so many calls, with the staged batches in turn."""
    for inputs in islice(cycle(staged), calls):
        call(inputs)


def typical(executions: Iterable[Execution], calls: Sequence[Window]) -> List[OperatorTime]:
    """Return the time of each operator in one of the ``calls``; what was executed outside of them does not count."""
    times_ns: DefaultDict[_Key, List[float]] = defaultdict(lambda: [0.0] * len(calls))
    ordered = sorted(executions, key=lambda each: (each.begin_ns, -each.end_ns))
    for number, window in enumerate(calls):
        within = [each for each in ordered if window.begin_ns <= each.begin_ns and each.end_ns <= window.end_ns]
        for execution, own_ns in own_times(within):
            times_ns[execution.name, execution.kind][number] += own_ns
    return [OperatorTime(name, kind, middle_mean(each)) for (name, kind), each in times_ns.items()]


def own_times(ordered: Iterable[Execution]) -> Iterator[Tuple[Execution, float]]:
    """Yield executions with the nanoseconds of each, without those of executions inside it on its thread.

    They come in the order in which they began, the outer before the inner one.
    """
    inside_ns: Dict[int, float] = {}
    running: DefaultDict[int, List[int]] = defaultdict(list)
    executions = list(ordered)
    for position, execution in enumerate(executions):
        outer = running[execution.thread]
        while outer and executions[outer[-1]].end_ns < execution.end_ns:
            outer.pop()
        if outer:
            inside_ns[outer[-1]] = inside_ns.get(outer[-1], 0.0) + execution.end_ns - execution.begin_ns
        outer.append(position)
    for position, execution in enumerate(executions):
        yield execution, execution.end_ns - execution.begin_ns - inside_ns.get(position, 0.0)


def middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half of ``values``, of which there must be one at least."""
    aside = len(values) // 4
    middle = sorted(values)[aside : len(values) - aside]
    return sum(middle) / len(middle)
