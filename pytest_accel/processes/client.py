"""A worker's operations with types: what may be asked of it, and replies that are checked before anybody uses them.

The process is started and ended in `process`; what the numbers mean is judged elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from pytest_accel.facts.errors import CacheError, UnfitInput, WorkerError
from pytest_accel.facts.fact import Fact, OptionValue, Scalar
from pytest_accel.facts.records import Placement, Signature, TensorSpec
from pytest_accel.facts.settings import Settings
from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import FarSide, Intermediate, Missing, OperatorTime, Present, Source, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from pytest_accel.processes.process import AnyWorker
    from pytest_accel.worker.accelerator import Arrays, Progress

_BAD_CLOCK = "the accelerator's `clock` has to go on, and it stood still or went back"

LoadShape: TypeAlias = Literal["single_stream", "multi_stream", "server", "offline"]
_Reply = TypeVar("_Reply")


class Deadlines(Fact, frozen=True):
    """How long one request may take, in seconds; ``run_s`` is for everything but compiling and deploying."""

    compile_s: float
    run_s: float
    deploy_s: float = Settings.deploy_timeout_s


class Loaded(Fact, frozen=True):
    """A loaded artefact."""

    signature: Signature
    load_s: float


class Converted(Fact, frozen=True):
    """What a source was converted to, its path relative to the folder that it was put into."""

    kind: str
    path: str
    seconds: float


class Inspection(Fact, frozen=True):
    """What an artefact tells without its device: the compiler's placement, and a file to predict its accuracy with."""

    placement: Placement | None
    model: Source | None


class WarmUp(Fact, frozen=True):
    """What it took to get warm."""

    first_inference_ns: int
    calls: int
    seconds: float
    steady: bool


class Checked(Fact, frozen=True):
    """The outputs of one timed call and which of the staged batches it had."""

    batch: int
    outputs: dict[str, Any]


class WorkerConditions(Fact, frozen=True):
    """What the worker itself knows of what could have disturbed it; empty when nothing did."""

    tracing: str
    throttled: str
    device_state: dict[str, Scalar] = msgspec.field(default_factory=dict)


class Timed(Fact, frozen=True):
    """The steady phase of one launch. ``latencies_ns`` is every call in order, ``wall_ns`` the time of them all.

    ``waits_ns`` is how much of each latency a call to a server waited for a free lane; empty for other load shapes.
    """

    latencies_ns: list[int]
    waits_ns: list[int]
    wall_ns: int
    checked: tuple[Checked, ...]
    host_memory_mb: float | None
    device_memory_mb: float | None
    parts_ms: dict[str, float]
    conditions: WorkerConditions


class TimedBlock(Fact, frozen=True):
    """One turn of a duet. ``cores_taken`` is how many of its cores other processes had, on average over its time.

    ``throttled`` says what held the device back meanwhile.
    """

    latencies_ns: list[int]
    cores_taken: float
    throttled: str = ""


class WorkAhead(Fact, frozen=True):
    """The fastest call, work of a known length, and call behind that work."""

    call_ns: int
    work_ns: int
    both_ns: int


class WorkerClient:
    """One worker, asked for one operation at a time.

    Every method raises the errors of `Worker.request`; a reply of the wrong shape is a `WorkerError`. ``deploys`` says
    whether an artefact has to be deployed before it is loaded.
    """

    def __init__(self, worker: AnyWorker, deadlines: Deadlines, *, deploys: bool = False) -> None:
        self.worker = worker
        self._deadlines = deadlines
        self._deploys = deploys

    def probe(self) -> Present | Missing:
        """Return whether the accelerator can be used here."""
        reply = self._ask("probe", phase="probe")
        if "missing" in reply:
            return _valid(reply["missing"], Missing, "probe")
        return _valid(reply.get("present"), Present, "probe")

    def versions(self) -> dict[str, str]:
        """Return the versions under test, Python's and NumPy's among them."""
        return _valid(self._ask("versions", phase="versions"), dict[str, str], "versions")

    def far_side(self, options: Mapping[str, OptionValue]) -> FarSide:
        """Return what a remote accelerator runs on with these options. `CompileFailed` says why it cannot be used."""
        return _valid(self._ask("far_side", phase="compile", options=dict(options)), FarSide, "far_side")

    def target(self, options: Mapping[str, OptionValue]) -> Target | Missing:
        """Return what these options compile for without the device, or why they do not.

        `CompileFailed` says what the compiler has no such device for.
        """
        reply = self._ask("target", phase="compile", options=dict(options))
        if "missing" in reply:
            return _valid(reply["missing"], Missing, "target")
        return _valid(reply.get("target"), Target, "target")

    def inspect(self, folder: Path, options: Mapping[str, OptionValue]) -> Inspection:
        """Return what an artefact tells without its device."""
        reply = self._ask("inspect", phase="inspect", artefact=str(folder), options=dict(options))
        return _valid(reply, Inspection, "inspect")

    def yardstick(self, folder: Path) -> Source:
        """Write the accelerator's standard yardstick network into ``folder``."""
        return _valid(self._ask("yardstick", phase="yardstick", folder=str(folder)), Source, "yardstick")

    def convert(
        self, source: Source, folder: Path, options: Mapping[str, OptionValue], on_progress: Progress | None = None
    ) -> Converted:
        """Convert ``source`` into ``folder``. `CompileFailed` has the converter's words."""
        reply = self.worker.request(
            "convert",
            phase="compile",
            deadline_s=self._deadlines.compile_s,
            on_progress=on_progress,
            source={"kind": source.kind, "path": source.path},
            folder=str(folder),
            options=dict(options),
        )
        return _valid(reply, Converted, "convert")

    def compile(
        self,
        source: Source,
        folder: Path,
        options: Mapping[str, OptionValue],
        on_progress: Progress | None = None,
        calibration: Sequence[Mapping[str, np.ndarray]] = (),
    ) -> float:
        """Compile ``source`` into ``folder`` and return the seconds it took. `CompileFailed` has the vendor's words.

        ``calibration`` holds batches of inputs of the compiled batch size, which INT8 needs.
        """
        reply = self.worker.request(
            "compile",
            phase="compile",
            deadline_s=self._deadlines.compile_s,
            on_progress=on_progress,
            source={"kind": source.kind, "path": source.path},
            artefact=str(folder),
            options=dict(options),
            calibration=[_packed(inputs, "compile") for inputs in calibration],
        )
        return _valid(reply.get("seconds"), float, "compile")

    def load(self, folder: Path, options: Mapping[str, OptionValue], on_progress: Progress | None = None) -> Loaded:
        """Load an artefact in place of the one before. Raises `CacheError` where its folder is gone.

        Where it has to be deployed first, ``on_progress`` hears of that.
        """
        if not folder.is_dir():  # which no compiler has refused
            raise CacheError(
                f"{folder} is gone: something has removed it from the compile cache while this run used it; run again, "
                "and keep the cache where nobody cleans up, with --accel-cache-dir"
            )
        if self._deploys:
            self.worker.request(
                "deploy",
                phase="deploy",
                deadline_s=self._deadlines.deploy_s,
                on_progress=on_progress,
                artefact=str(folder),
                options=dict(options),
            )
        reply = self._ask("load", phase="load", artefact=str(folder), options=dict(options))
        inputs, outputs = (_valid(reply.get(side), tuple[TensorSpec, ...], "load") for side in ("inputs", "outputs"))
        return Loaded(
            signature=Signature(inputs=inputs, outputs=outputs), load_s=_valid(reply.get("load_s"), float, "load")
        )

    def delete_deployments(self, on_progress: Progress | None = None) -> tuple[str, ...]:
        """Return once all is deleted that this run has deployed; a sentence for each thing that is left."""
        patience_s = self._deadlines.deploy_s
        reply = self.worker.request(
            "delete_deployments",
            phase="deploy",
            deadline_s=patience_s + self._deadlines.run_s,
            on_progress=on_progress,
            patience_s=patience_s,
        )
        return _valid(reply.get("left"), tuple[str, ...], "delete_deployments")

    def graph_precisions(self, folder: Path, options: Mapping[str, OptionValue]) -> tuple[str, ...]:
        """Return the precisions that the graph of an artefact has itself, in the names that runtimes give to them."""
        reply = self._ask("graph_precisions", phase="load", artefact=str(folder), options=dict(options))
        return _valid(reply.get("precisions"), tuple[str, ...], "graph_precisions")

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run one batch, untimed. Raises `UnfitInput` where the inputs are not what the artefact takes."""
        reply = self._ask("predict", phase="predict", inputs=_packed(inputs, "predict"))
        return _arrays(reply.get("outputs"), "predict")

    def stage(self, batches: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Bring the batches that timed calls rotate among to where a served request would find them."""
        self._ask("stage", phase="stage", batches=[_packed(inputs, "stage") for inputs in batches])

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float, window: int) -> WarmUp:
        """Call until the latency is steady, within limits."""
        reply = self._ask("warm_up", phase="warm-up", min_calls=min_calls, min_s=min_s, max_s=max_s, window=window)
        return _valid(reply, WarmUp, "warm-up")

    def measure(self, load_shape: LoadShape, *, calls: int, checks: int, **traffic: float) -> Timed:
        """Time ``calls`` calls and keep the outputs of ``checks`` of them.

        ``traffic`` is ``concurrency`` for a multi_stream, and ``concurrency``, ``rate`` and ``seed`` for a server.
        """
        reply = self._ask("measure", phase="measure", load_shape=load_shape, calls=calls, checks=checks, **traffic)
        kept = _valid(reply.get("checked", ()), list[dict[str, Any]], "measure")
        checked = [{**call, "outputs": _arrays(call.get("outputs"), "measure")} for call in kept]
        latencies_ns = _latencies(reply, calls, "measure")
        waits_ns = _times(reply, "waits_ns", "measure")
        if waits_ns and len(waits_ns) != calls:
            raise WorkerError(f"the worker tells {len(waits_ns)} waits of {calls} calls", phase="measure")
        times = {"latencies_ns": latencies_ns, "waits_ns": waits_ns}
        timed = _valid({**reply, **times, "checked": checked}, Timed, "measure")
        if timed.wall_ns <= 0:
            raise WorkerError(f"{_BAD_CLOCK} for all of {calls} calls", phase="measure")
        return timed

    def time_block(self, *, calls: int, settle: int = 1, first_core: int = 0) -> TimedBlock:
        """Play a turn of a duet on the cores from ``first_core`` on: untimed calls to settle, then the timed ones."""
        reply = self._ask("time_block", phase="measure", calls=calls, settle=settle, first_core=first_core)
        latencies_ns = _latencies(reply, calls, "measure")
        if not any(latencies_ns):
            raise WorkerError(f"{_BAD_CLOCK} for all of {calls} calls", phase="measure")
        return _valid({**reply, "latencies_ns": latencies_ns}, TimedBlock, "measure")

    def add_work(self, share: float) -> int:
        """Slow every later call of this worker down by ``share`` of its time, with real work; the rounds of it."""
        return _valid(self._ask("add_work", phase="extra work", share=share).get("rounds"), int, "extra work")

    def put_work_ahead(self, share: float) -> WorkAhead:
        """Time calls, work that takes ``share`` of a call's time, and calls that have to wait for that work."""
        return _valid(self._ask("put_work_ahead", phase="measure", share=share), WorkAhead, "measure")

    def write_example(self, name: str, kind: str, folder: Path) -> Source:
        """Write an example network of the worker's into ``folder``. Its framework must be there."""
        reply = self._ask("write_example", phase="example", name=name, kind=kind, folder=str(folder))
        return _valid(reply, Source, "example")

    def raw_answers(self) -> dict[str, str]:
        """Return what the vendor's interfaces say of the device and the loaded artefact, by file name."""
        return _valid(self._ask("raw_answers", phase="raw answers"), dict[str, str], "raw answers")

    def placement(self) -> tuple[Placement, float | None]:
        """Return where the operators run, and the floating-point operations of one call where they can be counted."""
        reply = self._ask("placement", phase="placement")
        counted = _valid({"flops": reply.pop("flops", None)}, dict[str, float | None], "placement")
        return _valid(reply, Placement, "placement"), counted["flops"]

    def executions_made(self) -> int:
        """Return how many executions the device has to count once this worker has ended; 0 where nothing is open."""
        reply = self._ask("executions_made", phase="placement")
        return _valid(reply.get("executions"), int, "executions_made")

    def executions_counted(self) -> int | None:
        """Return how many executions the device has counted of all processes, None where it does not tell."""
        reply = self._ask("executions_counted", phase="placement")
        return _valid({"executions": reply.get("executions")}, dict[str, int | None], "executions_counted")[
            "executions"
        ]

    def intermediates(self, inputs: Mapping[str, np.ndarray]) -> list[Intermediate]:
        """Return the floating-point tensors inside the loaded artefact for one batch, in the order of computation."""
        reply = self._ask("intermediates", phase="intermediates", inputs=_packed(inputs, "intermediates"))
        return [
            _valid(
                {**tensor, "value": _arrays({"value": tensor.get("value")}, "intermediates")["value"]},
                Intermediate,
                "intermediates",
            )
            for tensor in _valid(reply.get("intermediates", ()), list[dict[str, Any]], "intermediates")
        ]

    def operator_times(self, calls: int) -> list[OperatorTime] | None:
        """Return how long each operator takes in one of ``calls``, by the runtime's profiler; None: it cannot tell."""
        reply = self._ask("operator_times", phase="profiling", calls=calls)
        return _valid({"operators": reply.get("operators")}, dict[str, list[OperatorTime] | None], "profiling")[
            "operators"
        ]

    def close(self) -> None:
        """Free the device; the worker stays and can load again."""
        self._ask("close", phase="close")

    def _ask(self, op: str, *, phase: str, **params: Any) -> dict[str, Any]:
        return self.worker.request(op, phase=phase, deadline_s=self._deadlines.run_s, **params)


def _valid(reply: object, shape: type[_Reply], phase: str) -> _Reply:
    try:
        return msgspec.convert(reply, shape)
    except msgspec.ValidationError as error:
        raise WorkerError(f"the worker's reply to {phase} is malformed: {error}", phase=phase) from error


def _packed(inputs: Mapping[str, np.ndarray], phase: str) -> dict[str, wire.Packed]:
    try:
        return wire.pack_all(inputs)
    except wire.NotNumeric as error:
        raise UnfitInput(str(error), phase=phase) from error


def _arrays(packed: Any, phase: str) -> Arrays:
    try:
        return wire.unpack_all(packed)
    except Exception as error:  # NumPy has many ways to say that a dtype or a shape is none
        raise WorkerError(f"the worker's reply to {phase} holds a malformed array: {error}", phase=phase) from error


def _latencies(reply: dict[str, Any], calls: int, phase: str) -> list[int]:
    latencies_ns = _times(reply, "latencies_ns", phase)
    if len(latencies_ns) != calls:
        raise WorkerError(f"the worker timed {len(latencies_ns)} calls instead of {calls}", phase=phase)
    if back := sum(latency_ns < 0 for latency_ns in latencies_ns):
        raise WorkerError(f"{_BAD_CLOCK} in {back} of {calls} calls", phase=phase)
    return latencies_ns


def _times(reply: dict[str, Any], name: str, phase: str) -> list[int]:
    return _valid(_arrays({name: reply.get(name)}, phase)[name].tolist(), list[int], phase)
