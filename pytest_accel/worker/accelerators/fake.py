"""The fake accelerator: scripted latencies, outputs and failures in no time at all.

A model is a ``*.fake.json`` file that holds a script; `Script` lists the keys. Time is a `FakeClock` that only
inference, compiling and loading advance. So a measurement of hours takes milliseconds and repeats to the nanosecond.
Calls side by side are simulated, without a thread.
A probe runs before there is a model. Its answer comes from the script in the environment variable
``PYTEST_ACCEL_FAKE``, and the script of a model adds to that.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import shutil
import signal
import threading
import zlib
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Callable, ClassVar, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    Inspected,
    Missing,
    Observed,
    OperatorTime,
    Option,
    Present,
    Refused,
    Source,
    Target,
    Tensor,
)

ENVIRONMENT_VARIABLE = "PYTEST_ACCEL_FAKE"
_MODEL = "model.fake.json"
_SIGNALS = {"sigkill": signal.SIGKILL, "sigsegv": signal.SIGSEGV, "sigabrt": signal.SIGABRT}


class FakeClock:
    """A clock that stands still until somebody advances it. Call it for the nanoseconds."""

    def __init__(self) -> None:
        self._now_ns = 0

    def __call__(self) -> int:
        """Nanoseconds since the clock was made."""
        return self._now_ns

    def advance(self, duration_ns: float) -> None:
        """Let time pass."""
        self._now_ns += round(duration_ns)

    def turn_to(self, time_ns: int) -> None:
        """Show another time, also an earlier one: events side by side are simulated one after the other."""
        self._now_ns = time_ns


@dataclass(frozen=True)
class Script:
    """What a fake model does. The fields are the keys of a model file.

    ``latency_ms`` is one number or a list that repeats. A call's latency is that times a lognormal factor exp(N(0,
    ``noise``)) times a factor of the ``shared_noise`` kind, which two workers with one ``shared_seed`` have in common,
    plus the share ``drift`` per call; the first ``cold_calls`` calls take ``cold_factor`` times as long.

    The outputs are a linear map of the flattened inputs with weights from ``weights_seed``, or the inputs themselves
    when ``identity`` is set. ``output_noise`` is the standard deviation of an error that stays the same for the same
    inputs, ``nan`` puts one in the first place, ``returned_shape`` and ``returned_dtype`` break what ``outputs`` says.

    ``asynchronous`` lets a call return at once and finish when the device is synchronised; ``synchronize_lies`` lets it
    not wait even then. ``failures`` maps a phase (probe, compile, load, stage, infer, profile, close) to ``{"how",
    "message", "at_call", "megabytes"}`` where how is refused, error, memory, hang, print, sigkill, sigsegv or sigabrt.
    ``operator_ms`` maps the name of an operator to its type and time in a profile; without any there is no profile.
    ``by_precision`` maps a precision to the keys that are different there. ``target`` names the kind of device that is
    compiled for where it is absent, and with ``compiler_tells`` an artefact tells its placement without it.
    """

    inputs: Sequence[Mapping[str, Any]] = ({"name": "x", "dtype": "float32", "shape": [None, 4]},)
    outputs: Sequence[Mapping[str, Any]] = ({"name": "y", "dtype": "float32", "shape": [None, 3]},)
    latency_ms: Union[float, Sequence[float]] = 1.0
    noise: float = 0.0
    noise_seed: int = 1
    shared_noise: float = 0.0
    shared_seed: int = 2
    drift: float = 0.0
    cold_calls: int = 0
    cold_factor: float = 1.0
    weights_seed: int = 3
    identity: bool = False
    output_noise: float = 0.0
    nan: bool = False
    returned_shape: Optional[Sequence[int]] = None
    returned_dtype: Optional[str] = None
    asynchronous: bool = False
    synchronize_lies: bool = False
    failures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing: Optional[Mapping[str, str]] = None
    device: str = "fake device"
    identity_facts: Mapping[str, Any] = field(default_factory=lambda: {"model": "Fake 1000", "cores": 4})
    peak_flops: Optional[float] = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    flops: Optional[float] = None
    on_device: Optional[float] = 1.0
    precisions: Mapping[str, int] = field(default_factory=lambda: {"float32": 2})
    graph_precisions: Sequence[str] = ()
    operators: Mapping[str, str] = field(
        default_factory=lambda: {"dense": "fake:float32", "softmax": "fake:float32"},
    )
    operator_ms: Mapping[str, Tuple[str, float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: {"fake-sdk": "1.0"})
    device_memory_mb: Optional[float] = None
    throttled: str = ""
    held_back_share: float = 0.0
    device_state: Mapping[str, Any] = field(default_factory=dict)
    compile_s: float = 2.0
    target: str = ""
    compiler_tells: bool = False
    load_s: float = 0.5
    by_precision: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str, precision: str = "fp32") -> Script:
        """Parse a script on top of the environment's; an unknown key is a `ValueError` that names the known ones."""
        keys = {**json.loads(os.environ.get(ENVIRONMENT_VARIABLE, "{}")), **json.loads(text)}
        keys.update(keys.get("by_precision", {}).get(precision, {}))
        known = {key.name for key in fields(cls)}
        unknown = sorted(keys.keys() - known)
        if unknown:
            raise ValueError(f"fake model: unknown {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
        return cls(**keys)


class FakeAccelerator(Accelerator):
    """An accelerator that does what its model's script says."""

    name = "fake"
    sources = ("fake",)
    file_kinds: ClassVar[Mapping[str, str]] = {".fake.json": "fake"}
    concurrent = True
    profiles_operators = True
    references: ClassVar[Mapping[str, str]] = {"fake": "fake"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=("fp32", "fp16", "int8"), doc="precision of the compiled model"),
        "cores": Option(int, 1, minimum=1, compiled_in=False, doc="cores that share the work"),
    }

    def __init__(self) -> None:
        self._time = FakeClock()
        self.clock = self._time
        self._script = Script.read("{}")
        self._calls: Dict[str, int] = {}
        self._unfinished_ns = 0.0
        self._cores = 1

    def probe(self) -> Union[Present, Missing]:
        self._fail("probe")
        if self._script.missing is not None:
            return Missing(**self._script.missing)
        script = self._script
        return Present(script.device, dict(script.identity_facts), script.peak_flops, dict(script.peaks))

    def versions(self) -> Dict[str, str]:
        return dict(self._script.versions)

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        script = Script.read("{}")
        return Target(script.target, dict(script.versions)) if script.target else super().target(options)

    def inspect(self, artefact: str, options: Mapping[str, Any]) -> Inspected:
        script = _script_at(os.path.join(artefact, _MODEL), options["precision"])
        return Inspected(placement=_placement(script)) if script.compiler_tells else super().inspect(artefact, options)

    def compile_job(self, job: CompileJob) -> None:
        if job.source.kind not in self.sources:
            raise Refused(f"the fake accelerator compiles {self.sources[0]!r} models, not {job.source.kind!r}")
        self._script = _script_at(job.source.path, job.options["precision"])
        job.progress(0.0, "compiling")
        self._fail("compile")
        self._time.advance(self._script.compile_s * 1e9)
        shutil.copyfile(job.source.path, os.path.join(job.artefact, _MODEL))
        job.progress(1.0, "compiled")

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self._script = _script_at(os.path.join(artefact, _MODEL), options["precision"])
        self._calls, self._unfinished_ns, self._cores = {}, 0.0, options.get("cores", 1)
        self._fail("load")
        self._time.advance(self._script.load_s * 1e9)
        return [_tensor(spec) for spec in self._script.inputs], [_tensor(spec) for spec in self._script.outputs]

    def stage(self, inputs: Arrays) -> Any:
        self._fail("stage")
        self._time.advance(1e9)  # so long that it shows wherever staging is timed
        return {name: np.array(array) for name, array in inputs.items()}

    def infer(self, staged: Any) -> Arrays:
        self._fail("infer")
        duration_ns = self._latency_ns(self._calls["infer"])
        if self._script.asynchronous:
            self._time.advance(1e3)
            self._unfinished_ns += duration_ns
        else:
            self._time.advance(duration_ns)
        return self._outputs(staged)

    def open_lanes(self, lanes: int, call: Callable[[], Any]) -> None:
        """Make no call: a simulated lane needs nothing."""

    def side_by_side(self, lanes: int, turn: Callable[[], bool]) -> None:
        """Simulate the lanes: every lane has a time, and the lane with the earliest time has the next turn."""
        free_ns = [self._time()] * lanes
        while free_ns:
            self._time.turn_to(heapq.heappop(free_ns))
            if turn():
                heapq.heappush(free_ns, self._time())

    def wait_until(self, time_ns: int) -> None:
        self._time.turn_to(max(time_ns, self._time()))

    def work(self, rounds: int) -> None:
        self._time.advance(rounds * 1e3)

    def work_ahead(self, rounds: int, *, wait: bool = False) -> None:
        if self._script.asynchronous and not wait:
            self._unfinished_ns += rounds * 1e3
        else:
            self.work(rounds)

    def synchronize(self) -> None:
        if not self._script.synchronize_lies:
            self._time.advance(self._unfinished_ns)
        self._unfinished_ns = 0.0

    def placement(self) -> Observed:
        return _placement(self._script)

    def graph_precisions(self, artefact: str, options: Mapping[str, Any]) -> Sequence[str]:
        return _script_at(os.path.join(artefact, _MODEL), options["precision"]).graph_precisions

    def operator_times(self, staged: Sequence[Any], calls: int) -> Optional[List[OperatorTime]]:
        self._fail("profile")
        times = [OperatorTime(name, kind, ms * 1e6) for name, (kind, ms) in self._script.operator_ms.items()]
        return times or None

    def flops(self) -> Optional[float]:
        return self._script.flops

    def device_memory_mb(self) -> Optional[float]:
        return self._script.device_memory_mb

    def throttled(self) -> str:
        return self._script.throttled

    def held_back_ns(self) -> Dict[str, int]:
        return {"heat": round(self.clock() * self._script.held_back_share)} if self._script.held_back_share else {}

    def device_state(self) -> Mapping[str, Any]:
        return self._script.device_state

    def yardstick(self, folder: str) -> Source:
        path = os.path.join(folder, "yardstick.fake.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write("{}")
        return Source("fake", path)

    def close(self) -> None:
        self._fail("close")

    def _latency_ns(self, call: int) -> float:
        script = self._script
        listed = [script.latency_ms] if isinstance(script.latency_ms, (int, float)) else script.latency_ms
        latency_ns = listed[(call - 1) % len(listed)] * 1e6 / self._cores
        for seed, noise in ((script.noise_seed, script.noise), (script.shared_seed, script.shared_noise)):
            if noise:  # seeding takes longer than all the rest of a call
                latency_ns *= random.Random(f"{seed}:{call}").lognormvariate(0.0, noise)
        latency_ns *= 1 + script.drift * call
        return latency_ns * (script.cold_factor if call <= script.cold_calls else 1.0)

    def _outputs(self, inputs: Arrays) -> Arrays:
        script = self._script
        flat = np.concatenate(list(_rows(script.inputs, inputs)), axis=1).astype(np.float64)
        outputs: Arrays = {}
        for position, spec in enumerate(script.outputs):
            shape = [len(flat), *(size or 1 for size in spec["shape"][1:])]
            result = _mapped(flat, int(np.prod(shape[1:])), script.weights_seed + position, script.identity)
            if script.output_noise:
                result = result + script.output_noise * np.stack([_error_of(row, result.shape[1]) for row in flat])
            if script.nan:
                result.flat[0] = np.nan
            result = result.astype(script.returned_dtype or spec["dtype"])
            outputs[spec["name"]] = result.reshape(script.returned_shape or shape)
        return outputs

    def _fail(self, phase: str) -> None:
        """Count a call of this phase and do what the script says about it."""
        self._calls[phase] = self._calls.get(phase, 0) + 1
        failure = self._script.failures.get(phase)
        if failure is None or self._calls[phase] < failure.get("at_call", 1):
            return
        how, message = failure["how"], failure.get("message", f"scripted failure in {phase}")
        if how in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[how])
        elif how == "hang":
            threading.Event().wait()
        elif how == "print":
            for _ in range(failure["megabytes"]):
                os.write(2, b"a scripted line of thirty-two..\n" * 32768)
        else:
            raise {"refused": Refused, "error": RuntimeError, "memory": MemoryError}[how](message)


def _rows(specs: Sequence[Mapping[str, Any]], inputs: Arrays) -> Iterator[np.ndarray]:
    """Yield a flat row for each item of the inputs that have a batch."""
    for spec in specs:
        axis = spec.get("batch_axis", 0)
        if axis is not None and spec["shape"]:
            items = np.moveaxis(inputs[spec["name"]], axis, 0)
            yield items.reshape(len(items), -1)


def _mapped(flat: np.ndarray, width: int, seed: int, identity: bool) -> np.ndarray:
    if identity:
        return flat[:, :width].copy()
    mapped: np.ndarray = flat @ _weights(flat.shape[1], width, seed)
    return mapped


@lru_cache(maxsize=16)
def _weights(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).normal(0.0, 1.0, (rows, columns))


def _error_of(row: np.ndarray, width: int) -> np.ndarray:
    """Return standard normal numbers that depend on the row alone, so that batching does not change them."""
    return np.random.RandomState(zlib.crc32(row.tobytes())).normal(size=width)


def _script_at(path: str, precision: str) -> Script:
    try:
        with open(path, encoding="utf-8") as file:
            return Script.read(file.read(), precision)
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: {error}") from error


def _placement(script: Script) -> Observed:
    return Observed(script.on_device, dict(script.precisions), dict(script.operators))


def _tensor(spec: Mapping[str, Any]) -> Tensor:
    return Tensor(spec["name"], spec["dtype"], tuple(spec["shape"]), spec.get("batch_axis", 0))
