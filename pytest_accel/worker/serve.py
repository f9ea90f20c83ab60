"""The operations of a worker: what a request does to the accelerator, and the plain data that goes back.

A request is ``{"op", "params"}``; its answer is any number of ``{"progress"}`` messages and then one ``{"result"}`` or
``{"error"}``. How processes are started and what an answer means is the controller's business.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Sequence

import numpy as np

from pytest_accel.worker import redaction, wire
from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    Missing,
    Progress,
    Refused,
    Source,
    Tensor,
    require_loaded,
)
from pytest_accel.worker.formats.examples import write as examples
from pytest_accel.worker.timing import extra_work, process_state, side_by_side, single_calls
from pytest_accel.worker.timing.device_watch import DeviceWatch
from pytest_accel.worker.timing.threads import Threads, Turn
from pytest_accel.worker.wire import legible

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

_LOAD_SHAPES: Mapping[str, Callable[..., single_calls.CallTimes]] = {
    "single_stream": single_calls.single_stream,
    "offline": single_calls.offline,
    "multi_stream": side_by_side.multi_stream,
    "server": side_by_side.server,
}

#: _LONG names the operations that report progress.
_LONG = ("convert", "compile", "deploy", "delete_deployments")


def serve(channel: Any, accelerator: Accelerator) -> None:
    """Answer the requests that come over an execnet channel until it is closed."""
    operations = Operations(accelerator, Threads() if waits_for_cores(accelerator) else None)
    accelerator.announce = lambda sentence: channel.send({"notice": redaction.redacted(legible(sentence))})
    kept_secret: List[str] = []
    for request in channel:
        reply = answer(operations, request, lambda share, doing: channel.send({"progress": [share, legible(doing)]}))
        if redaction.known() != kept_secret:  # the controller shows the log of a process that has died
            kept_secret = redaction.known()
            channel.send({"secrets": legible(kept_secret)})
        send(channel, reply)


def send(channel: Any, reply: Plain) -> None:
    """Send a reply. One that cannot be sent, since it has objects of an SDK for example, is an error of its own."""
    try:
        channel.send(legible(reply))
    except Exception as error:
        channel.send({"error": described(TypeError(f"the answer cannot be sent: {error}"))})


def waits_for_cores(accelerator: Accelerator) -> bool:
    """Return whether measured times contain the time that threads wait for a core.

    They do not where the model runs on another machine, or where the device's clock measures.
    """
    return not accelerator.remote and accelerator.clock is time.perf_counter_ns


def answer(operations: Operations, request: Plain, progress: Progress) -> Plain:
    """Return the last message for one request. An exception of the accelerator is an answer too, such as an exit."""
    try:
        return {"result": operations.perform(request["op"], request["params"], progress)}
    except BaseException as error:
        return {"error": described(error)}


def described(error: BaseException) -> Plain:
    """Return an exception as plain data.

    ``refused`` distinguishes a refusal by the vendor's software from a failure. Of a refusal the traceback is that of
    the cause.
    """
    traced = error.__cause__ if isinstance(error, Refused) else error
    stack = "".join(traceback.format_exception(type(traced), traced, traced.__traceback__)) if traced else ""
    return {
        "type": type(error).__name__,
        "message": redaction.redacted(legible(str(error))),
        "traceback": redaction.redacted(legible(stack)),
        "refused": isinstance(error, Refused),
    }


class Operations:
    """The state of one accelerator between requests: what is loaded and staged. A public method is an operation.

    ``threads`` places the threads of this process on cores; None leaves them where they are.
    """

    def __init__(self, accelerator: Accelerator, threads: Optional[Threads] = None) -> None:
        self._accelerator = accelerator
        self._inputs: Optional[List[Tensor]] = None
        self._staged: List[Any] = []
        self._threads = threads

    def perform(self, op: str, params: Plain, progress: Progress) -> Plain:
        """Do one operation. Only those that take long report progress."""
        reporting = {"progress": progress} if op in _LONG else {}
        reply: Plain = getattr(self, op)(**params, **reporting)
        return reply

    def hello(self) -> Plain:
        """Return which Python and which process answers."""
        return {"python": platform.python_version(), "pid": os.getpid(), "numpy": np.__version__}

    def probe(self) -> Plain:
        """Return whether the accelerator can be used. Files are read first: an SDK may crash without a device."""
        found = self._accelerator.probe_hardware() or self._accelerator.probe()
        return {"missing": vars(found)} if isinstance(found, Missing) else {"present": vars(found)}

    def versions(self) -> Plain:
        """Return the versions of everything under test."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            **self._accelerator.versions(),
        }

    def far_side(self, options: Plain) -> Plain:
        """Return what a remote accelerator runs on."""
        return vars(self._accelerator.far_side(options))

    def target(self, options: Plain) -> Plain:
        """Return what these options compile for without the device, or why they do not."""
        found = self._accelerator.target(options)
        return {"missing": vars(found)} if isinstance(found, Missing) else {"target": vars(found)}

    def inspect(self, artefact: str, options: Plain) -> Plain:
        """Return what an artefact tells without its device."""
        inspected = vars(self._accelerator.inspect(artefact, options))
        return {name: None if found is None else vars(found) for name, found in inspected.items()}

    def yardstick(self, folder: str) -> Plain:
        """Write the standard yardstick network and return it as a source."""
        os.makedirs(folder, exist_ok=True)
        return vars(self._accelerator.yardstick(folder))

    def convert(self, source: Plain, folder: str, options: Plain, progress: Progress) -> Plain:
        """Convert into ``folder``, which is made when it is not there; the answer's path is relative to it."""
        os.makedirs(folder, exist_ok=True)
        start = self._accelerator.clock()
        made = self._accelerator.convert(Source(**source), folder, options, progress)
        seconds = (self._accelerator.clock() - start) / 1e9
        return {"kind": made.kind, "path": os.path.relpath(made.path, folder), "seconds": seconds}

    def compile(
        self, source: Plain, artefact: str, options: Plain, progress: Progress, calibration: Sequence[Plain] = ()
    ) -> Plain:
        """Compile into the folder ``artefact``, which is made when it is not there."""
        os.makedirs(artefact, exist_ok=True)
        batches = [wire.received_all(packed) for packed in calibration]
        start = self._accelerator.clock()
        self._accelerator.compile(Source(**source), artefact, options, progress, batches)
        return {"seconds": (self._accelerator.clock() - start) / 1e9}

    def graph_precisions(self, artefact: str, options: Plain) -> Plain:
        """Return the precisions that the graph of an artefact has itself. Nothing is loaded for that."""
        return {"precisions": list(self._accelerator.graph_precisions(artefact, options))}

    def deploy(self, artefact: str, options: Plain, progress: Progress) -> Plain:
        """Bring up what loading an artefact needs outside this machine."""
        self._accelerator.deploy(artefact, options, progress)
        return {}

    def delete_deployments(self, patience_s: float, progress: Progress) -> Plain:
        """Wait until what this run has deployed is deleted, and return what is left."""
        return {"left": list(self._accelerator.delete_deployments(patience_s, progress))}

    def load(self, artefact: str, options: Plain) -> Plain:
        """Load an artefact in place of the one before. The peak of memory is counted from here on."""
        self._inputs, self._staged = None, []
        process_state.forget_memory_peak()
        start = self._accelerator.clock()
        inputs, outputs = self._accelerator.load(artefact, options)
        load_s = (self._accelerator.clock() - start) / 1e9
        self._inputs = inputs
        return {"inputs": _specs(inputs), "outputs": _specs(outputs), "load_s": load_s}

    def predict(self, inputs: Plain) -> Plain:
        """Run one batch, untimed."""
        accelerator = self._accelerator
        outputs = accelerator.infer(accelerator.stage(self._fitting(inputs)))
        accelerator.synchronize()
        return {"outputs": wire.pack_all(outputs)}

    def stage(self, batches: Sequence[Plain]) -> Plain:
        """Stage the batches that timed calls take in turn, in place of the batches before."""
        self._staged = []
        self._staged = [self._accelerator.stage(self._fitting(inputs)) for inputs in batches]
        return {}

    def warm_up(self, min_calls: int, min_s: float, max_s: float, window: int) -> Plain:
        """Call until the latency is steady."""
        warm = single_calls.warm_up(
            self._accelerator, self._ready(), min_calls=min_calls, min_s=min_s, max_s=max_s, window=window
        )
        return vars(warm)

    def measure(self, load_shape: str, calls: int, checks: int, **traffic: float) -> Plain:
        """Time the steady phase. `single_calls` and `side_by_side` say which ``traffic`` a load shape takes."""
        staged, watch = self._ready(), DeviceWatch(self._accelerator)
        timed = _LOAD_SHAPES[load_shape](self._accelerator, staged, calls, checks, **traffic)
        state, throttled = self._accelerator.device_state(), watch.causes(timed.wall_ns)
        return {
            "latencies_ns": wire.pack(np.array(timed.latencies_ns, np.int64)),
            "waits_ns": wire.pack(np.array(timed.waits_ns, np.int64)),
            "wall_ns": max(-1, timed.wall_ns),  # of a clock that goes back; execnet cannot send any such number
            "checked": [{"batch": c.batch, "outputs": wire.pack_all(c.outputs)} for c in timed.checked],
            "host_memory_mb": process_state.memory_peak_mb(),
            "device_memory_mb": self._accelerator.device_memory_mb(),
            "parts_ms": self._accelerator.parts_ms(),
            "conditions": {
                "tracing": ", ".join(process_state.watchers()),
                "throttled": throttled,
                "device_state": dict(state),
            },
        }

    def time_block(self, calls: int, settle: int, first_core: int = 0) -> Plain:
        """One turn of a duet."""
        staged, watch = self._ready(), DeviceWatch(self._accelerator)
        with self._threads.apart(first_core) if self._threads else nullcontext(Turn()) as turn:
            latencies_ns = single_calls.time_block(self._accelerator, staged, calls, settle)
        return {
            "latencies_ns": wire.pack(np.array(latencies_ns, np.int64)),
            "cores_taken": turn.cores_taken,
            "throttled": watch.causes(sum(latencies_ns)),
        }

    def add_work(self, share: float) -> Plain:
        """Slow down every call by real work, until the process ends."""
        return {"rounds": extra_work.add(self._accelerator, self._ready(), share)}

    def put_work_ahead(self, share: float) -> Plain:
        """Time calls, work of a known length, and calls that have to wait for that work."""
        return vars(extra_work.put_ahead(self._accelerator, self._ready(), share))

    def write_example(self, name: str, kind: str, folder: str) -> Plain:
        """Write an example network."""
        return vars(examples.write(name, kind, folder))

    def raw_answers(self) -> Plain:
        """Return what the vendor's interfaces say, verbatim."""
        return dict(self._accelerator.raw_answers())

    def placement(self) -> Plain:
        """Return where the operators of the loaded artefact run. This may take memory: ask after measuring."""
        return {**vars(self._accelerator.placement()), "flops": self._accelerator.flops()}

    def executions_made(self) -> Plain:
        """Return what the device has to count of the calls so far, once this process has ended."""
        return {"executions": self._accelerator.executions_made()}

    def executions_counted(self) -> Plain:
        """Return what the device has counted so far, of all processes."""
        return {"executions": self._accelerator.executions_counted()}

    def intermediates(self, inputs: Plain) -> Plain:
        """Return the tensors inside the loaded artefact for one batch."""
        shown = self._accelerator.intermediates(self._fitting(inputs))
        return {"intermediates": [{**vars(tensor), "value": wire.pack(tensor.value)} for tensor in shown]}

    def operator_times(self, calls: int) -> Plain:
        """Return how long each operator takes in one call, by the runtime's own profiler."""
        times = self._accelerator.operator_times(self._ready(), calls)
        return {"operators": None if times is None else [vars(time) for time in times]}

    def close(self) -> Plain:
        """Free the device; another artefact can be loaded afterwards."""
        self._inputs, self._staged = None, []
        self._accelerator.close()
        return {}

    def _ready(self) -> List[Any]:
        if not self._staged:
            raise RuntimeError("nothing is staged: load an artefact and stage at least one batch before timing")
        return self._staged

    def _fitting(self, packed: Plain) -> Arrays:
        """Return the arrays. Raises `Refused` where they do not fit the inputs of the loaded artefact."""
        expected = {tensor.name: tensor for tensor in require_loaded(self._inputs)}
        arrays = wire.received_all(packed)
        if arrays.keys() != expected.keys():
            raise Refused(f"the model takes the inputs {sorted(expected)}, got {sorted(arrays)}")
        for name, array in arrays.items():
            if not _fits(array, expected[name]):
                tensor = expected[name]
                raise Refused(
                    f"input {name!r} takes {tensor.dtype}{list(tensor.shape)}, got {array.dtype}{list(array.shape)}"
                )
        return arrays


def _specs(tensors: Sequence[Tensor]) -> List[Plain]:
    return [{**vars(tensor), "shape": list(tensor.shape)} for tensor in tensors]


def _fits(array: np.ndarray, tensor: Tensor) -> bool:
    return (
        array.dtype.name == tensor.dtype
        and array.ndim == len(tensor.shape)
        and all(size in (None, length) for size, length in zip(tensor.shape, array.shape))
    )
