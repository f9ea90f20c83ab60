"""What TensorFlow's profiler records of calls: when each operator ran, and on which thread.

The profiler writes its records to a file, in a protocol buffer that TensorFlow brings along: ``xplane.proto``. An event
has the picoseconds since the time of its line. An operator's event is called as its node and type: ``dense/Relu:Relu``.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Optional, Sequence, Tuple

from pytest_accel.worker.formats.saved_model import import_tensorflow
from pytest_accel.worker.timing.operators import WARM_UP_CALLS, Execution, Window, make_calls, typical_within

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import OperatorTime

#: _SCHEMAS are the modules of the message, from TensorFlow 2.12 on and before.
_SCHEMAS = ("tensorflow.tsl.profiler.protobuf.xplane_pb2", "tensorflow.core.profiler.protobuf.xplane_pb2")
#: _HOST is the name of the part of a profile that tells of the processor.
_HOST = "/host:CPU"
#: _CALL is what one call is named in a profile.
_CALL = "pytest-accel call"
#: _OPERATOR finds the events of operators. Those of TensorFlow's own functions have two colons, or a space.
_OPERATOR = re.compile(r"(?:StatefulPartitionedCall/)*([\w./>-]+):([A-Z_]\w*)")
#: _WITH_OPERATORS is the level from which on the profiler records operators.
_WITH_OPERATORS = 2


def operator_times(call: Callable[[Any], Any], staged: Sequence[Any], calls: int) -> Optional[List[OperatorTime]]:
    """Return the time of each operator in one ``call``; None where this TensorFlow cannot read its own records."""
    space = _empty_space()
    if space is None:
        return None
    make_calls(call, staged, WARM_UP_CALLS)
    with tempfile.TemporaryDirectory() as folder:
        _record(call, staged, calls, folder)
        (path,) = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    events = [event for plane in space.planes if plane.name == _HOST for event in _events(plane)]
    return typical_within(_executions(events), [window for name, _, window in events if name == _CALL])


def _empty_space() -> Any:
    """Return an empty message for a profile, None where there is no such module."""
    for schema in _SCHEMAS:
        try:
            return importlib.import_module(schema).XSpace()
        except ImportError:
            continue
    return None


def _record(call: Callable[[Any], Any], staged: Sequence[Any], calls: int, folder: str) -> None:
    """Make the calls while TensorFlow's profiler records what the processor does."""
    profiler = import_tensorflow().profiler.experimental

    def traced(inputs: Any) -> None:
        with profiler.Trace(_CALL):
            call(inputs)

    profiler.start(folder, profiler.ProfilerOptions(host_tracer_level=_WITH_OPERATORS, device_tracer_level=0))
    try:
        make_calls(traced, staged, calls)
    finally:
        profiler.stop()


def _events(plane: Any) -> Iterator[Tuple[str, int, Window]]:
    """Yield name, thread and time of all that was recorded."""
    names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
    for line in plane.lines:
        for event in line.events:
            begin_ns = line.timestamp_ns + event.offset_ps / 1e3
            yield names[event.metadata_id], line.id, Window(begin_ns, begin_ns + event.duration_ps / 1e3)


def _executions(events: Sequence[Tuple[str, int, Window]]) -> Iterator[Execution]:
    for name, thread, window in events:
        if (operator := _OPERATOR.fullmatch(name)) is not None:
            yield Execution(operator.group(1), operator.group(2), thread, *window)
