"""A worker's operations with types: what may be asked of it, and replies that are checked before anybody uses them.

The process is started and ended in `process`; what the numbers mean is judged elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from pytest_accel.facts.errors import CacheError, UnfitInput, WorkerError
from pytest_accel.facts.fact import Fact, OptionValue, Scalar
from pytest_accel.facts.records import Placement, Signature, TensorSpec
from pytest_accel.facts.settings import Settings
from pytest_accel.processes.replies import valid
from pytest_accel.processes.worker_files import FilesHere
from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import FarSide, Intermediate, Missing, OperatorTime, Present, Source, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from pytest_accel.processes.process import AnyWorker
    from pytest_accel.processes.worker_files import WorkerFiles
    from pytest_accel.worker.accelerator import Arrays, Progress

_BAD_CLOCK = "the accelerator's `clock` has to go on, and it stood still or went back"

LoadShape: TypeAlias = Literal["single_stream", "multi_stream", "server", "offline"]


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
    whether an artefact has to be deployed before it is loaded. Paths are those of this machine, and ``files`` brings
    what they name to the worker, and back.
    """

    def __init__(
        self, worker: AnyWorker, deadlines: Deadlines, *, deploys: bool = False, files: WorkerFiles | None = None
    ) -> None:
        self.worker = worker
        self.files = files or FilesHere()
        self._deadlines = deadlines
        self._deploys = deploys

    def probe(self) -> Present | Missing:
        """Return whether the accelerator can be used here."""
        reply = self._ask("probe", phase="probe")
        if "missing" in reply:
            return valid(reply["missing"], Missing, "probe")
        return valid(reply.get("present"), Present, "probe")

    def versions(self) -> dict[str, str]:
        """Return the versions under test, Python's and NumPy's among them."""
        return valid(self._ask("versions", phase="versions"), dict[str, str], "versions")

    def far_side(self, options: Mapping[str, OptionValue]) -> FarSide:
        """Return what a remote accelerator runs on with these options. `CompileFailed` says why it cannot be used."""
        return valid(self._ask("far_side", phase="compile", options=dict(options)), FarSide, "far_side")

    def target(self, options: Mapping[str, OptionValue]) -> Target | Missing:
        """Return what these options compile for without the device, or why they do not.

        `CompileFailed` says what the compiler has no such device for.
        """
        reply = self._ask("target", phase="compile", options=dict(options))
        if "missing" in reply:
            return valid(reply["missing"], Missing, "target")
        return valid(reply.get("target"), Target, "target")

    def inspect(self, folder: Path, options: Mapping[str, OptionValue]) -> Inspection:
        """Return what an artefact tells without its device."""
        artefact = self.files.there(folder)
        inspection = valid(
            self._ask("inspect", phase="inspect", artefact=artefact, options=dict(options)), Inspection, "inspect"
        )
        model = inspection.model and _moved(inspection.model, artefact, folder, "inspect")
        return Inspection(placement=inspection.placement, model=model)

    def yardstick(self, folder: Path) -> Source:
        """Write the accelerator's standard yardstick network into ``folder``."""
        with self.files.made(folder) as there:
            source = valid(self._ask("yardstick", phase="yardstick", folder=there), Source, "yardstick")
        return _moved(source, there, folder, "yardstick")

    def convert(
        self, source: Source, folder: Path, options: Mapping[str, OptionValue], on_progress: Progress | None = None
    ) -> Converted:
        """Convert ``source`` into ``folder``. `CompileFailed` has the converter's words."""
        with self.files.made(folder) as there:
            reply = self.worker.request(
                "convert",
                phase="compile",
                deadline_s=self._deadlines.compile_s,
                on_progress=on_progress,
                source=self._sent(source),
                folder=there,
                options=dict(options),
            )
        return valid(reply, Converted, "convert")

    def compile(
        self,
        source: Source,
        folder: Path,
        options: Mapping[str, OptionValue],
        on_progress: Progress | None = None,
        calibration: Sequence[Mapping[str, np.ndarray]] = (),
        within: Path | None = None,
    ) -> float:
        """Compile ``source`` into ``folder`` and return the seconds it took. `CompileFailed` has the vendor's words.

        ``calibration`` holds batches of inputs of the compiled batch size, which INT8 needs. ``within`` is a folder
        that belongs to the source as a whole, such as that of a conversion.
        """
        with self.files.made(folder) as there:
            reply = self.worker.request(
                "compile",
                phase="compile",
                deadline_s=self._deadlines.compile_s,
                on_progress=on_progress,
                source=self._sent(source, within),
                artefact=there,
                options=dict(options),
                calibration=self._packed(calibration, "compile"),
            )
        return valid(reply.get("seconds"), float, "compile")

    def load(self, folder: Path, options: Mapping[str, OptionValue], on_progress: Progress | None = None) -> Loaded:
        """Load an artefact in place of the one before. Raises `CacheError` where its folder is gone.

        Where it has to be deployed first, ``on_progress`` hears of that.
        """
        if not folder.is_dir():  # which no compiler has refused
            raise CacheError(
                f"{folder} is gone: something has removed it from the compile cache while this run used it; run again, "
                "and keep the cache where nobody cleans up, with --accel-cache-dir"
            )
        artefact = self.files.there(folder)
        if self._deploys:
            self.worker.request(
                "deploy",
                phase="deploy",
                deadline_s=self._deadlines.deploy_s,
                on_progress=on_progress,
                artefact=artefact,
                options=dict(options),
            )
        reply = self._ask("load", phase="load", artefact=artefact, options=dict(options))
        inputs, outputs = (valid(reply.get(side), tuple[TensorSpec, ...], "load") for side in ("inputs", "outputs"))
        return Loaded(
            signature=Signature(inputs=inputs, outputs=outputs), load_s=valid(reply.get("load_s"), float, "load")
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
        return valid(reply.get("left"), tuple[str, ...], "delete_deployments")

    def graph_precisions(self, folder: Path, options: Mapping[str, OptionValue]) -> tuple[str, ...]:
        """Return the precisions that the graph of an artefact has itself, in the names that runtimes give to them."""
        artefact = self.files.there(folder)
        reply = self._ask("graph_precisions", phase="load", artefact=artefact, options=dict(options))
        return valid(reply.get("precisions"), tuple[str, ...], "graph_precisions")

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run one batch, untimed. Raises `UnfitInput` where the inputs are not what the artefact takes."""
        (packed,) = self._packed([inputs], "predict")
        reply = self._ask("predict", phase="predict", inputs=packed)
        return _arrays(reply.get("outputs"), "predict")

    def stage(self, batches: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Bring the batches that timed calls rotate among to where a served request would find them."""
        self._ask("stage", phase="stage", batches=self._packed(batches, "stage"))

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float, window: int) -> WarmUp:
        """Call until the latency is steady, within limits."""
        reply = self._ask("warm_up", phase="warm-up", min_calls=min_calls, min_s=min_s, max_s=max_s, window=window)
        return valid(reply, WarmUp, "warm-up")

    def measure(self, load_shape: LoadShape, *, calls: int, checks: int, **traffic: float) -> Timed:
        """Time ``calls`` calls and keep the outputs of ``checks`` of them.

        ``traffic`` is ``concurrency`` for a multi_stream, and ``concurrency``, ``rate`` and ``seed`` for a server.
        """
        reply = self._ask("measure", phase="measure", load_shape=load_shape, calls=calls, checks=checks, **traffic)
        kept = valid(reply.get("checked", ()), list[dict[str, Any]], "measure")
        checked = [{**call, "outputs": _arrays(call.get("outputs"), "measure")} for call in kept]
        latencies_ns = _latencies(reply, calls, "measure")
        waits_ns = _times(reply, "waits_ns", "measure")
        if waits_ns and len(waits_ns) != calls:
            raise WorkerError(f"the worker tells {len(waits_ns)} waits of {calls} calls", phase="measure")
        times = {"latencies_ns": latencies_ns, "waits_ns": waits_ns}
        timed = valid({**reply, **times, "checked": checked}, Timed, "measure")
        if timed.wall_ns <= 0:
            raise WorkerError(f"{_BAD_CLOCK} for all of {calls} calls", phase="measure")
        return timed

    def time_block(self, *, calls: int, settle: int = 1, first_core: int = 0) -> TimedBlock:
        """Play a turn of a duet on the cores from ``first_core`` on: untimed calls to settle, then the timed ones."""
        reply = self._ask("time_block", phase="measure", calls=calls, settle=settle, first_core=first_core)
        latencies_ns = _latencies(reply, calls, "measure")
        if not any(latencies_ns):
            raise WorkerError(f"{_BAD_CLOCK} for all of {calls} calls", phase="measure")
        return valid({**reply, "latencies_ns": latencies_ns}, TimedBlock, "measure")

    def add_work(self, share: float) -> int:
        """Slow every later call of this worker down by ``share`` of its time, with real work; the rounds of it."""
        return valid(self._ask("add_work", phase="extra work", share=share).get("rounds"), int, "extra work")

    def put_work_ahead(self, share: float) -> WorkAhead:
        """Time calls, work that takes ``share`` of a call's time, and calls that have to wait for that work."""
        return valid(self._ask("put_work_ahead", phase="measure", share=share), WorkAhead, "measure")

    def write_example(self, name: str, kind: str, folder: Path) -> Source:
        """Write an example network of the worker's into ``folder``. Its framework must be there."""
        with self.files.made(folder) as there:
            reply = self._ask("write_example", phase="example", name=name, kind=kind, folder=there)
        return _moved(valid(reply, Source, "example"), there, folder, "example")

    def raw_answers(self) -> dict[str, str]:
        """Return what the vendor's interfaces say of the device and the loaded artefact, by file name."""
        return valid(self._ask("raw_answers", phase="raw answers"), dict[str, str], "raw answers")

    def placement(self) -> tuple[Placement, float | None]:
        """Return where the operators run, and the floating-point operations of one call where they can be counted."""
        reply = self._ask("placement", phase="placement")
        counted = valid({"flops": reply.pop("flops", None)}, dict[str, float | None], "placement")
        return valid(reply, Placement, "placement"), counted["flops"]

    def executions_made(self) -> int:
        """Return how many executions the device has to count once this worker has ended; 0 where nothing is open."""
        reply = self._ask("executions_made", phase="placement")
        return valid(reply.get("executions"), int, "executions_made")

    def executions_counted(self) -> int | None:
        """Return how many executions the device has counted of all processes, None where it does not tell."""
        reply = self._ask("executions_counted", phase="placement")
        return valid({"executions": reply.get("executions")}, dict[str, int | None], "executions_counted")["executions"]

    def intermediates(self, inputs: Mapping[str, np.ndarray]) -> list[Intermediate]:
        """Return the floating-point tensors inside the loaded artefact for one batch, in the order of computation."""
        (packed,) = self._packed([inputs], "intermediates")
        reply = self._ask("intermediates", phase="intermediates", inputs=packed)
        return [
            valid(
                {**tensor, "value": _arrays({"value": tensor.get("value")}, "intermediates")["value"]},
                Intermediate,
                "intermediates",
            )
            for tensor in valid(reply.get("intermediates", ()), list[dict[str, Any]], "intermediates")
        ]

    def operator_times(self, calls: int) -> list[OperatorTime] | None:
        """Return how long each operator takes in one of ``calls``, by the runtime's profiler; None: it cannot tell."""
        reply = self._ask("operator_times", phase="profiling", calls=calls)
        return valid({"operators": reply.get("operators")}, dict[str, list[OperatorTime] | None], "profiling")[
            "operators"
        ]

    def close(self) -> None:
        """Free the device; the worker stays and can load again."""
        self._ask("close", phase="close")

    def _sent(self, source: Source, within: Path | None = None) -> dict[str, str]:
        path = Path(source.path)
        if within is None:
            return {"kind": source.kind, "path": self.files.there(path)}
        return {"kind": source.kind, "path": os.path.join(self.files.there(within), path.relative_to(within))}  # noqa: PTH118 - a path of the worker's machine

    def _packed(self, batches: Sequence[Mapping[str, np.ndarray]], phase: str) -> list[dict[str, wire.Packed]]:
        try:
            return self.files.arrays(batches)
        except wire.NotNumeric as error:
            raise UnfitInput(str(error), phase=phase) from error

    def _ask(self, op: str, *, phase: str, **params: Any) -> dict[str, Any]:
        return self.worker.request(op, phase=phase, deadline_s=self._deadlines.run_s, **params)


def _moved(source: Source, there: str, folder: Path, phase: str) -> Source:
    """Return a source that the worker has in its folder ``there`` as it is in ``folder``, where that has come to."""
    if there == str(folder):
        return source
    inner = os.path.relpath(source.path, there)
    if inner.split("/")[0] == "..":
        raise WorkerError(f"the worker's reply to {phase} names {source.path}, which is not in {there}", phase=phase)
    return Source(source.kind, str(folder / inner))


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
    return valid(_arrays({name: reply.get(name)}, phase)[name].tolist(), list[int], phase)
