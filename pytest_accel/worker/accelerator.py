"""The contract of an accelerator: a named way to run a model on a kind of hardware.

A subclass lives in a file of its own and imports its SDK inside its methods. Each worker makes one instance of it. The
controller reads only the class attributes and calls `probe_hardware`; all else happens in a worker.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, Event
from typing import Any, Callable, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

import numpy as np

Arrays = Dict[str, np.ndarray]
_Loaded = TypeVar("_Loaded")
#: Progress is called during long work with the share that is done, None when unknown, and a description.
Progress = Callable[[Optional[float], str], None]


@dataclass(frozen=True)
class Option:
    """One keyword that an accelerator's marker takes.

    ``compiled_in`` says whether the value binds the artefact, as a batch size does. Threads bind only how it is run.
    An option of the type dict has a value for each of its entries. ``entries`` are those that it takes; where there are
    none, it takes all.
    """

    type: type
    default: Any = None
    choices: Tuple[Any, ...] = ()
    minimum: Optional[float] = None
    compiled_in: bool = True
    doc: str = ""
    entries: Mapping[str, "Option"] = field(default_factory=dict)


#: _AWAKE_S is the number of seconds, before a time that is waited for, at which a sleep ends and the thread stays
#: awake.
_AWAKE_S = 2e-4

#: _WORK_SIZE is how many numbers one round of `Accelerator.work` computes with, which takes a microsecond or two.
_WORK_SIZE = 4096

#: COMMON_OPTIONS are common to all accelerators; a subclass narrows ``precision`` to what it can do.
COMMON_OPTIONS: Mapping[str, Option] = {
    "batch_size": Option(int, 1, minimum=1, doc="items in one call"),
    "precision": Option(str, "fp32", choices=("fp32",), doc="precision of the compiled model"),
    "load_shape": Option(
        str,
        "single_stream",
        choices=("single_stream", "multi_stream", "server", "offline"),
        compiled_in=False,
        doc="how calls are issued",
    ),
    "concurrency": Option(
        int, 1, minimum=1, compiled_in=False, doc="calls in flight of a multi_stream, or lanes of a server"
    ),
    "rate": Option(float, minimum=1e-3, compiled_in=False, doc="calls a second, on average, that arrive at a server"),
    "signature": Option(str, "serving_default", doc="the SavedModel signature to run"),
}


@dataclass(frozen=True)
class Present:
    """The device is here and can be used. ``identity`` comes from the device's own handle and is flat."""

    device: str
    identity: Dict[str, Union[str, int, float, bool, None]]
    #: No device of this kind does more floating-point operations a second in any precision; None when unknown.
    peak_flops: Optional[float] = None
    #: The same by precision, under the names that the option ``precision`` has: fp32, tf32, fp16, bf16, fp8, int8.
    peaks: Mapping[str, float] = field(default_factory=dict)
    #: A run may take this many cores of the device; None where no option asks for cores.
    cores: Optional[int] = None


@dataclass(frozen=True)
class Missing:
    """The accelerator cannot be used here: the reason, and what to do about it.

    ``kind`` is one of no-hardware, no-driver, driver-mismatch, busy, too-few-cores, placeholder-package, no-sdk,
    support-ended, not-opted-in and no-access. pytest-accel itself adds broken-sdk, when a probe has failed, and the
    kinds of `HostUnfit`, of a machine that cannot be used. Only `Accelerator.target` says needs-device, or
    nothing-to-compile.
    """

    kind: str
    reason: str
    action: str


@dataclass(frozen=True)
class FarSide:
    """What runs outside this machine for some options.

    ``versions`` are of the software there, which is under test like an SDK. ``identity`` holds the flat facts of the
    device there; it takes the place of the identity that the probe found.
    """

    versions: Dict[str, str]
    identity: Dict[str, Union[str, int, float, bool, None]]


@dataclass(frozen=True)
class Target:
    """What a compiler that works without the device makes an artefact for.

    ``device`` names the kind of device, in the same words on every machine: ``sm75``, ``Inferentia``. ``versions`` are
    of all software that the artefact depends on, such as the compiler; a driver is none of it.
    """

    device: str
    versions: Dict[str, str]


@dataclass(frozen=True)
class Source:
    """A model to compile: ``kind`` is "saved_model", "keras", "onnx" or the like, and ``path`` a file or folder."""

    kind: str
    path: str


@dataclass(frozen=True)
class CompileJob:
    """One model to compile, and all that the result depends on.

    ``artefact`` is the empty folder for the result. ``calibration`` holds batches of inputs to observe ranges on, for a
    precision that needs them.
    """

    source: Source
    artefact: str
    options: Mapping[str, Any]
    progress: Progress
    calibration: Sequence[Arrays] = ()


@dataclass(frozen=True)
class Tensor:
    """One input or output. ``shape`` holds None where a dimension is dynamic; ``dtype`` is NumPy's name of the type.

    ``batch_axis`` says which dimension is the batch, None for a tensor that belongs to the whole call.
    """

    name: str
    dtype: str
    shape: Tuple[Optional[int], ...]
    batch_axis: Optional[int] = 0


@dataclass(frozen=True)
class Observed:
    """Where operators ran and in which precision: what the runtime says after loading, not what was asked for.

    ``operators`` maps the name of an operator to "<device>:<precision>"; ``precisions`` counts operators by precision.
    """

    on_device: Optional[float]
    precisions: Dict[str, int]
    operators: Dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, operators: Mapping[str, str], on_device: Optional[float]) -> Observed:
        """Count the precisions of ``operators``."""
        precisions = Counter(place.partition(":")[2] for place in operators.values())
        return cls(on_device, dict(precisions), dict(operators))


def share_on(device: str, operators: Mapping[str, str]) -> Optional[float]:
    """Return the share of ``operators`` that ran on ``device``, None where there are no operators."""
    there = sum(place.partition(":")[0] == device for place in operators.values())
    return there / len(operators) if operators else None


#: BESIDE is the folder in an artefact for what nobody deploys with it. It counts for nothing in the artefact's size.
BESIDE = "beside"


@dataclass(frozen=True)
class Inspected:
    """What an artefact tells without its device.

    ``placement`` is what the compiler says of the operators. ``model`` is the file that was compiled, where the
    accelerator that `references` names for its kind can run it: an ``onnx`` in FP16, or with Q/DQ pairs. It may lie in
    the folder `BESIDE` of the artefact.
    """

    placement: Optional[Observed] = None
    model: Optional[Source] = None


@dataclass(frozen=True)
class Intermediate:
    """One tensor inside a model for one batch: ``operator`` is what computes it, and ``kind`` the operator's type."""

    tensor: str
    operator: str
    kind: str
    value: np.ndarray


@dataclass(frozen=True)
class OperatorTime:
    """How long one operator takes in one call, by the runtime's own profiler.

    ``name`` is the operator's name in the model, and ``kind`` its type. Operators without a name have one entry for
    each kind, with the sum of their times.
    """

    name: str
    kind: str
    ns: float


@dataclass(frozen=True)
class VendorTool:
    """How the vendor's own tool times an artefact, one call after the other. Ours has to say the same beside it.

    ``program`` is looked for on the PATH. Where it is empty, the worker's interpreter gets the ``arguments``. The tool
    writes ``begins`` once it times, and in the end its median latency in milliseconds, where ``median`` matches.
    """

    name: str
    arguments: Tuple[str, ...]
    begins: str
    program: str = ""
    median: str = r"Median: +([\d.]+)"


class Refused(Exception):
    """The compiler or runtime does not take this model or these options; the message is in the vendor's words."""


def require_loaded(loaded: Optional[_Loaded]) -> _Loaded:
    """Return what ``load`` has left, or raise `RuntimeError` where nothing was loaded."""
    if loaded is None:
        raise RuntimeError("nothing is loaded: load an artefact first")
    return loaded


def _unheard(sentence: str) -> None:
    """Tell a sentence to nobody, where no worker has said who hears it."""


class Accelerator(ABC):
    """A way to run a model. One instance in one worker holds at most one loaded artefact.

    An instance is asked to ``probe``, to ``compile`` or ``load``, to ``stage`` and ``infer`` many times, and in the
    end to ``close``::

        class Doubler(Accelerator):
            name = "doubler"
            sources = ("onnx",)

            def probe(self):
                return Present(device="doubler", identity={"model": "Doubler 1"})

            def versions(self):
                return {"doubler": "1.0"}

            def compile_job(self, job):
                shutil.copy(job.source.path, job.artefact)

            def load(self, artefact, options):
                return [Tensor("x", "float32", (None, 4))], [Tensor("y", "float32", (None, 4))]

            def stage(self, inputs):
                return inputs["x"]

            def infer(self, staged):
                return {"y": staged * 2}
    """

    name: ClassVar[str]
    #: These options are added to the common ones; an entry replaces the common option of the same name.
    own_options: ClassVar[Mapping[str, Option]] = {}
    #: An option that is gone has an entry here, which says what to do in place of it.
    former_options: ClassVar[Mapping[str, str]] = {}
    #: These kinds of source can be compiled.
    sources: ClassVar[Tuple[str, ...]] = ()
    #: A model file whose name ends like a key here is a source of that kind: ``{".engine": "engine"}``.
    file_kinds: ClassVar[Mapping[str, str]] = {}
    #: This extra installs the SDK: ``pip install 'pytest-accel[cpu]'``.
    extra: ClassVar[str] = ""
    #: These precisions need calibration data.
    calibrated: ClassVar[Tuple[str, ...]] = ()
    #: These kinds of source can be converted; the value names the options that the result of `convert` depends on.
    converts: ClassVar[Mapping[str, Tuple[str, ...]]] = {}
    #: This flag says whether `intermediates` is implemented.
    shows_intermediates: ClassVar[bool] = False
    #: This flag says whether `operator_times` is implemented.
    profiles_operators: ClassVar[bool] = False
    #: The accelerator named here computes the outputs of the reference for a kind of source.
    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu", "keras": "cpu"}
    #: These options are other than their defaults where this accelerator runs the reference.
    as_reference: ClassVar[Mapping[str, Union[str, int, float, bool]]] = {}
    #: This flag says whether several threads may call `infer` at once, and the runtime takes their calls side by side.
    concurrent: ClassVar[bool] = False
    #: This flag says whether the model runs outside this machine. Then `far_side` describes what is there.
    remote: ClassVar[bool] = False
    #: This flag says whether the device, or a part of it, belongs to one process until that ends. Then a comparison
    #: runs one process at a time, and the worker that compiles is never asked to load.
    exclusive: ClassVar[bool] = False
    #: This flag says whether `deploy` makes what outlives a process, and has to be deleted by `delete_deployments`.
    deploys: ClassVar[bool] = False
    #: These functions import the SDK, each a ``"module:function"`` of the worker rooms. They start no thread that a
    #: fork would lose, and touch no device: a process that has called them is forked for each launch of a comparison.
    preload: ClassVar[Tuple[str, ...]] = ()
    #: So many calls of one thread may have begun before the first of them is finished.
    in_flight: ClassVar[int] = 1
    #: The clock returns nanoseconds and never goes back. An accelerator may have a clock of the device here.
    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)
    #: This tells the user a sentence at once, and it stays to be read: what costs money from now on, for example. The
    #: worker sets it.
    announce: Callable[[str], None] = staticmethod(_unheard)

    @classmethod
    def options(cls) -> Dict[str, Option]:
        """Return every option that this accelerator takes, by name."""
        return {**COMMON_OPTIONS, **cls.own_options}

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        """Return why this combination of valid options can never work, or None.

        It is called at collection, so it imports no SDK.
        """
        return None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        """Return why device files and vendor tools rule the accelerator out, or None. It imports no SDK."""
        return None

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        """Return how the vendor's own tool makes ``calls`` calls of an artefact, or None where there is no such tool.

        The folder ``inputs`` has a file ``NAME.npy`` for each input. It is called in the controller and imports no SDK.
        """
        return None

    @classmethod
    def lacking(cls, found: Present, options: Mapping[str, Any]) -> Optional[Missing]:
        """Return what the device that was found lacks for these options, or None. It imports no SDK."""
        return None

    @abstractmethod
    def probe(self) -> Union[Present, Missing]:
        """Return whether the SDK and the device can be used. It is called in a worker and may import the SDK."""

    @abstractmethod
    def versions(self) -> Dict[str, str]:
        """Return the versions that are under test: SDK, compiler, driver."""

    def far_side(self, options: Mapping[str, Any]) -> FarSide:
        """Return what a ``remote`` accelerator runs on with these options. Raises `Refused` when it cannot be used."""
        raise NotImplementedError

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        """Return what these options compile for, where the compiler works without the device.

        The answer is the same with the device and without it, so that either machine finds what the other has
        compiled. It is called in a worker, before a model is compiled. The default is that the compiler needs the
        device. Raises `Refused` for options that the compiler has no such device for.
        """
        return Missing("needs-device", f"the compiler of {self.name} needs the device", "compile where the device is")

    def inspect(self, artefact: str, options: Mapping[str, Any]) -> Inspected:
        """Return what an artefact tells without its device; nothing is loaded on it. The default tells nothing."""
        return Inspected()

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        """Convert ``source`` to another kind that `compile` takes, in the empty ``folder``.

        Several variants share the result: it is kept, and compiled in place of ``source``. Raises `Refused` with the
        converter's words.
        """
        raise NotImplementedError

    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        """Compile ``source`` into the empty folder ``artefact``: what a worker calls. `CompileJob` has the details.

        An accelerator overrides this method or `compile_job`, whichever it likes better.
        """
        self.compile_job(CompileJob(source, artefact, options, progress, calibration))

    def compile_job(self, job: CompileJob) -> None:
        """Compile ``job.source`` into the folder ``job.artefact``. Raises `Refused` with the vendor's words."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither compile nor compile_job")

    def deploy(self, artefact: str, options: Mapping[str, Any], progress: Progress) -> None:  # noqa: B027
        """Bring up outside this machine what `load` of the same artefact will use. It may take long.

        What was brought up is deleted once no process uses it, however the processes end. Raises `Refused` with the
        service's words.
        """

    def delete_deployments(self, patience_s: float, progress: Progress) -> Sequence[str]:
        """Return once all is deleted that this run has deployed: the run ends after that.

        It waits for ``patience_s`` seconds at most. Returns a sentence for all that is left, with what to do about it.
        """
        return ()

    @abstractmethod
    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        """Load an artefact and return its inputs and outputs. A loaded artefact is replaced."""

    @abstractmethod
    def stage(self, inputs: Arrays) -> Any:
        """Bring one batch to where a request finds its inputs when it is served. This is never timed."""

    @abstractmethod
    def infer(self, staged: Any) -> Arrays:
        """Run one batch and return the outputs, visible to the host. This is what is timed."""

    def begin(self, staged: Any) -> Any:
        """Begin the call of one batch, and return what `finish` takes.

        The default makes the whole call. An accelerator with ``in_flight`` calls returns before the device is done.
        """
        return self.infer(staged)

    def finish(self, begun: Any) -> Arrays:
        """Return the outputs of a call that this thread has begun, visible to the host. Calls finish in their order."""
        outputs: Arrays = begun
        return outputs

    def open_lanes(self, lanes: int, call: Callable[[], Any]) -> None:
        """Let ``lanes`` threads make one ``call`` each, all at once.

        What a thread needs for its calls is made in this way before a time is read.
        """
        all_there = Barrier(lanes)

        def first() -> bool:
            all_there.wait()
            call()
            return False

        self.side_by_side(lanes, first)

    def side_by_side(self, lanes: int, turn: Callable[[], bool]) -> None:
        """Let ``lanes`` threads call ``turn`` again and again until it returns False. The first error ends them all."""
        failed = Event()

        def lane() -> None:
            try:
                while not failed.is_set() and turn():
                    pass
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(lanes) as threads:
            running = [threads.submit(lane) for _ in range(lanes)]
        for finished in running:
            finished.result()

    def wait_until(self, time_ns: int) -> None:
        """Return once the clock shows ``time_ns``. A sleep may end late, so the thread stays awake at the end."""
        while (left_ns := time_ns - self.clock()) > 0:
            time.sleep(max(0.0, left_ns / 1e9 - _AWAKE_S))  # even a sleep of no time lets the other threads run

    def work(self, rounds: int) -> None:
        """Compute ``rounds`` rounds on the host. The self-test makes calls slower by this work."""
        block = np.full(_WORK_SIZE, 2.0, np.float32)
        for _ in range(rounds):
            np.sqrt(block, out=block)

    def work_ahead(self, rounds: int, *, wait: bool = False) -> None:
        """Put ``rounds`` rounds of work before the next call, where its computation has to wait for them.

        A device with a queue has it in the queue of that call. With ``wait`` it returns when the work is done. The
        default computes on the host.
        """
        self.work(rounds)

    def synchronize(self) -> None:  # noqa: B027 - synchronous accelerators have nothing to wait for
        """Wait until the device is idle. It is called before a time is read."""

    def placement(self) -> Observed:
        """Return where the operators of the loaded artefact run. The default knows nothing."""
        return Observed(on_device=None, precisions={})

    def executions_made(self) -> int:
        """Return how many executions the device has to count at least once this process has ended.

        It is 0 where `placement` has proven that the calls ran there. Only an ``exclusive`` accelerator is asked, after
        its `placement`.
        """
        return 0

    def executions_counted(self) -> Optional[int]:
        """Return how many executions the device has counted of all processes so far, None where it does not tell."""
        return None

    def graph_precisions(self, artefact: str, options: Mapping[str, Any]) -> Sequence[str]:
        """Return the precisions that the graph of an artefact has itself, whatever a runtime makes of them.

        A reference is asked: what a model has in itself is no fallback from what was asked for. The default knows none.
        """
        return ()

    def intermediates(self, inputs: Arrays) -> List[Intermediate]:
        """Return the floating-point tensors inside the loaded artefact for one batch, in the order of computation.

        A tensor has the same name in every precision of a model, so that two artefacts can be compared.
        """
        raise NotImplementedError

    def operator_times(self, staged: Sequence[Any], calls: int) -> Optional[List[OperatorTime]]:
        """Return how long each operator of the loaded artefact takes in one call, by the runtime's own profiler.

        So many ``calls`` are profiled, with the staged batches in turn, after some to warm up. No time that is judged
        is measured in this process. None: the profiler tells nothing with these options. The default knows nothing.
        """
        return None

    def flops(self) -> Optional[float]:
        """Return the floating-point operations of one call of the loaded artefact, None when they cannot be counted."""
        return None

    def device_memory_mb(self) -> Optional[float]:
        """Return the peak of device memory of this process, None where the device has no memory apart."""
        return None

    def parts_ms(self) -> Dict[str, float]:
        """Return how long a typical call spent on work that is no computing, by name: serialising, a copy."""
        return {}

    def throttled(self) -> str:
        """Return why the device runs slower than it could at this moment, empty when no reason is known."""
        return ""

    def held_back_ns(self) -> Dict[str, int]:
        """Return for how many nanoseconds each cause has held the device back so far, as the device counts them.

        A cause is in words, such as heat. Only the growth from one call to the next counts.
        """
        return {}

    def device_state(self) -> Mapping[str, Union[str, int, float]]:
        """Return clocks, temperature, power and the like at this moment as flat facts, which a record keeps."""
        return {}

    def yardstick(self, folder: str) -> Source:
        """Write the standard yardstick network into ``folder`` in a kind that this accelerator compiles."""
        raise NotImplementedError(f"{type(self).__name__} has no `yardstick`, which baselines and the self-test need")

    def raw_answers(self) -> Dict[str, str]:
        """Return what the vendor's interfaces say of the device and the loaded artefact, verbatim, by file name.

        An acceptance keeps them, so that a stand-in can be held to them.
        """
        return {}

    def close(self) -> None:  # noqa: B027 - most SDKs free what they hold with the process
        """Free the device."""
