"""What PyTorch's profiler records of calls: the operators that each node of a program dispatches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Sequence

from pytest_accel.worker.formats.torch_model import NODE
from pytest_accel.worker.timing.operators import WARM_UP_CALLS, Execution, Window, make_calls, typical_within

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import OperatorTime

#: _CALL is what one call is named in a profile.
_CALL = "pytest-accel call"


def operator_times(call: Callable[[Any], Any], staged: Sequence[Any], calls: int) -> List[OperatorTime]:
    """Return the time of each operator in one ``call``, whose nodes have their marks."""
    from torch.profiler import ProfilerActivity, profile, record_function

    def traced(inputs: Any) -> None:
        with record_function(_CALL):
            call(inputs)

    make_calls(call, staged, WARM_UP_CALLS)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        make_calls(traced, staged, calls)
    events = profiler.events()
    return typical_within(_executions(events), [_window(event) for event in events if event.name == _CALL])


def _executions(events: Sequence[Any]) -> Iterator[Execution]:
    """Yield what a node dispatched. What that called in turn is a part of it."""
    for event in events:
        around = event.cpu_parent.name if event.cpu_parent is not None else ""
        if around.startswith(NODE):
            kind = event.name.rpartition("::")[2]
            yield Execution(around[len(NODE) :], kind, event.thread, *_window(event))


def _window(event: Any) -> Window:
    """Return begin and end of an event, which PyTorch tells in microseconds."""
    return Window(1e3 * event.time_range.start, 1e3 * event.time_range.end)
