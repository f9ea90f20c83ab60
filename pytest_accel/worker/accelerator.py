"""The contract of an accelerator: a named way to run a model on a kind of hardware.

A subclass lives in one file of its own, imports its SDK inside its methods, and is made once in each worker. The
controller reads only its class attributes and `probe_hardware`; all else happens in a worker.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Callable, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

import numpy as np

Arrays = Dict[str, np.ndarray]
_Loaded = TypeVar("_Loaded")
#: Called during long work with the share done (None when unknown) and what is being done.
Progress = Callable[[Optional[float], str], None]


@dataclass(frozen=True)
class Option:
    """One keyword that an accelerator's marker takes.

    ``compiled_in`` says whether the value binds the artefact, as a batch size does. Threads bind only how it is run.
    """

    type: type
    default: Any = None
    choices: Tuple[Any, ...] = ()
    minimum: Optional[float] = None
    compiled_in: bool = True
    doc: str = ""


#: How much earlier than needed a sleep is to end.
_AWAKE_S = 2e-4

#: Numbers in one round of `Accelerator.work`: a round takes a microsecond or two.
_WORK_SIZE = 4096

#: Options that every accelerator has; a subclass narrows ``precision`` to what it can do.
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
    #: An upper bound of what the device can do, for plausibility; None when unknown.
    peak_flops: Optional[float] = None


@dataclass(frozen=True)
class Missing:
    """The accelerator cannot be used here: why, and what to do about it.

    ``kind`` is one of no-hardware, no-driver, driver-mismatch, busy, placeholder-package, no-sdk, support-ended,
    not-opted-in, no-access, broken-sdk (which pytest-accel says itself when asking has failed).
    """

    kind: str
    reason: str
    action: str


@dataclass(frozen=True)
class FarSide:
    """What options name outside this machine.

    ``versions`` are of what runs there and is under test like an SDK; ``identity`` is of the device there, flat, and
    replaces what the probe told.
    """

    versions: Dict[str, str]
    identity: Dict[str, Union[str, int, float, bool, None]]


@dataclass(frozen=True)
class Source:
    """What to compile: ``kind`` is "saved_model", "keras", "onnx", ... and ``path`` a file or folder."""

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
    """One input or output; ``shape`` holds None where a dimension is dynamic, ``dtype`` is NumPy's name."""

    name: str
    dtype: str
    shape: Tuple[Optional[int], ...]


@dataclass(frozen=True)
class Observed:
    """Where operators ran and in which precision, as the runtime tells after loading, not as asked.

    ``operators`` maps operator name to "<device>:<precision>"; ``precisions`` counts operators by precision.
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


@dataclass(frozen=True)
class Intermediate:
    """One tensor inside a model: its name, the operator that gives it with its type, and the value for one batch."""

    tensor: str
    operator: str
    kind: str
    value: np.ndarray


class Refused(Exception):
    """The compiler or runtime will not take this model or these options; the message is the vendor's words."""


def require_loaded(loaded: Optional[_Loaded]) -> _Loaded:
    """Return what ``load`` has left, or raise `RuntimeError` where nothing was loaded."""
    if loaded is None:
        raise RuntimeError("nothing is loaded: load an artefact first")
    return loaded


class Accelerator(ABC):
    """A way to run a model. One instance in one worker holds at most one loaded artefact.

    The life of an instance: ``probe``, ``compile`` or ``load``, any number of ``stage`` and ``infer``, ``close``.
    """

    name: ClassVar[str]
    #: The options of its own beside the common ones; an entry here replaces the common one of that name.
    own_options: ClassVar[Mapping[str, Option]] = {}
    #: What to do in place of an option that is gone, by the option's name.
    former_options: ClassVar[Mapping[str, str]] = {}
    #: The kinds of source it compiles.
    sources: ClassVar[Tuple[str, ...]] = ()
    #: Model files of its own, the kind by how the name ends: ``{".engine": "engine"}``.
    file_kinds: ClassVar[Mapping[str, str]] = {}
    #: The extra that installs its SDK: ``pip install 'pytest-accel[cpu]'``.
    extra: ClassVar[str] = ""
    #: The precisions that it cannot compile without calibration data.
    calibrated: ClassVar[Tuple[str, ...]] = ()
    #: The kinds of source that `convert` takes, each with the options that its result depends on.
    converts: ClassVar[Mapping[str, Tuple[str, ...]]] = {}
    #: Whether `intermediates` can be asked for.
    shows_intermediates: ClassVar[bool] = False
    #: The accelerator that computes the reference's outputs for a kind of source.
    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu", "keras": "cpu"}
    #: Whether several threads may call `infer` at once, and the runtime takes their calls side by side.
    concurrent: ClassVar[bool] = False
    #: Whether the model runs outside this machine, where `far_side` looks and no yardstick can run beside it.
    remote: ClassVar[bool] = False
    #: Nanoseconds, monotonic. A device clock may replace it.
    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)

    @classmethod
    def options(cls) -> Dict[str, Option]:
        """Every option this accelerator takes, by name."""
        return {**COMMON_OPTIONS, **cls.own_options}

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        """Why this combination of valid options can never work, or None. Runs at collection: imports no SDK."""
        return None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        """What device files and vendor tools tell without importing an SDK; None when nothing speaks against it."""
        return None

    @abstractmethod
    def probe(self) -> Union[Present, Missing]:
        """Whether the SDK and the device can be used. Runs in a worker and may import the SDK."""

    @abstractmethod
    def versions(self) -> Dict[str, str]:
        """The versions that are under test: SDK, compiler, driver."""

    def far_side(self, options: Mapping[str, Any]) -> FarSide:
        """What a ``remote`` accelerator runs on with these options. Raises `Refused` when it cannot be used."""
        raise NotImplementedError

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        """Convert ``source`` to another kind that `compile` takes, in the empty ``folder``.

        For work that several variants share: what it makes is kept, and compiled in place of ``source``. Raises
        `Refused` with the converter's words.
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

    @abstractmethod
    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        """Load an artefact and return its inputs and outputs. A loaded artefact is replaced."""

    @abstractmethod
    def stage(self, inputs: Arrays) -> Any:
        """Bring one batch to where a served request would find it. Never timed."""

    @abstractmethod
    def infer(self, staged: Any) -> Arrays:
        """Run one batch and return its outputs, visible to the host: this is what is timed."""

    def side_by_side(self, lanes: int, turn: Callable[[], bool]) -> None:
        """Have ``lanes`` threads take turn after turn until a turn returns False; the first error ends them all."""
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
        """Return once the clock shows ``time_ns``. Sleeping ends late, so the last moment is spent awake."""
        while (left_ns := time_ns - self.clock()) > 0:
            time.sleep(max(0.0, left_ns / 1e9 - _AWAKE_S))  # even a sleep of no time lets the other threads run

    def work(self, rounds: int) -> None:
        """Arithmetic of the host's own, so many times the same: what the self-test makes calls slower with."""
        block = np.full(_WORK_SIZE, 2.0, np.float32)
        for _ in range(rounds):
            np.sqrt(block, out=block)

    def synchronize(self) -> None:  # noqa: B027 - synchronous accelerators have nothing to wait for
        """Wait until the device is idle. Called before a time is read."""

    def placement(self) -> Observed:
        """Where the loaded artefact's operators run. The default knows nothing."""
        return Observed(on_device=None, precisions={})

    def intermediates(self, inputs: Arrays) -> List[Intermediate]:
        """The floating-point tensors inside the loaded artefact for one batch, in the order of computation.

        A tensor has the same name in every precision of a model, so that two artefacts can be compared.
        """
        raise NotImplementedError

    def flops(self) -> Optional[float]:
        """Floating-point operations of one call of the loaded artefact, None when they cannot be counted."""
        return None

    def device_memory_mb(self) -> Optional[float]:
        """Peak device memory of this process, None where the device has none of its own."""
        return None

    def parts_ms(self) -> Dict[str, float]:
        """What a typical one of the last calls spent on what is no computing, by name: serialising, a copy."""
        return {}

    def throttled(self) -> str:
        """Why the device runs slower than it could just now, empty when it does not or cannot tell."""
        return ""

    def yardstick(self, folder: str) -> Source:
        """Write the standard yardstick network into ``folder`` in a kind that this accelerator compiles."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most SDKs free what they hold with the process
        """Free the device."""
