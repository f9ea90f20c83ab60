"""What ONNX Runtime's profiler records: the kernels of calls, by the names of their operators in the model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Set

from pytest_accel.worker.formats import onnx_file
from pytest_accel.worker.timing.operators import Execution, Window, typical_within

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import OperatorTime

#: _ADDED_TO_A_NAME finds what graph rewriting and profiling add to an operator's name. The number differs between
#: sessions.
_ADDED_TO_A_NAME = re.compile(r"(_nchwc|_token_\d+)*_kernel_time$")
#: _BLOCKED finds the kernels in the processor's own layout. ONNX Runtime's ``NchwcTransformer`` names them for what
#: they give out, and whether there are any depends on the vectors of the processor.
_BLOCKED = re.compile(r"_nchwc(_token_\d+)*_kernel_time$")


class Profile:
    """The text that a session's profiler has written, of the model at ``path``."""

    def __init__(self, text: str, path: str) -> None:
        self._events: List[Dict[str, Any]] = json.loads(text)
        #: The kernels that ran, each as the profiler describes it.
        self.kernels = [
            event for event in self._events if event.get("cat") == "Node" and "input_type_shape" in event["args"]
        ]
        # The names of a large model are looked up where they are needed alone.
        needed = any(_BLOCKED.search(kernel["name"]) or _is_numbered(kernel) for kernel in self.kernels)
        nodes = list(onnx_file.nodes_of(onnx_file.read_graph(path))) if needed else []
        self._named: Set[str] = {node.name for node in nodes}
        self._makers: Mapping[str, Any] = {output: node for node in nodes for output in node.output}

    def name_of(self, kernel: Mapping[str, Any]) -> str:
        """Return the name of a kernel's operator in the model, empty for a blocked kernel of one without a name."""
        return _name_of(kernel["name"], kernel["args"]["op_name"], self._makers)

    def operator_times(self, calls: int) -> List[OperatorTime]:
        """Return the time of each operator in one of the last ``calls``."""
        runs = [_window(event) for event in self._events if event["name"] == "model_run"]
        return typical_within((self._execution(kernel) for kernel in self.kernels), sorted(runs)[-calls:])

    def _execution(self, kernel: Mapping[str, Any]) -> Execution:
        name = self.name_of(kernel) or _ADDED_TO_A_NAME.sub("", kernel["name"])
        if _is_numbered(kernel) and name not in self._named:
            name = ""  # ONNX Runtime's own word for a node without a name
        return Execution(name, kernel["args"]["op_name"], kernel["tid"], *_window(kernel))


def _name_of(profiled: str, kind: str, makers: Mapping[str, Any]) -> str:
    """Return the name of a kernel's operator in the model. ``makers`` are the nodes by what they give out.

    An activation that was fused into a blocked kernel lies between its output and the operator of its ``kind``.
    """
    name = _ADDED_TO_A_NAME.sub("", profiled)
    maker = makers.get(name) if _BLOCKED.search(profiled) else None
    while maker is not None and maker.op_type != kind:
        maker = makers.get(maker.input[0]) if len(maker.input) == 1 else None
    return maker.name if maker is not None else name


def _is_numbered(kernel: Mapping[str, Any]) -> bool:
    """Return whether a kernel is called by its type and its number in the graph, as one without a name is."""
    facts = kernel["args"]
    return bool(kernel["name"] == f"{facts['op_name']}_{facts.get('node_index')}_kernel_time")


def _window(event: Mapping[str, Any]) -> Window:
    """Return begin and end of an event, which ONNX Runtime writes in microseconds."""
    return Window(1e3 * event["ts"], 1e3 * (event["ts"] + event["dur"]))
