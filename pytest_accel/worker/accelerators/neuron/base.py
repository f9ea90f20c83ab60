"""What the accelerators of the Neuron family have in common: TensorFlow models, compiled by AWS's SDK for TensorFlow.

The SDK compiles what it can into NeuronOps and leaves the rest to the host without a word. So what was compiled is read
from the artefact, and the driver's counters show that it ran. A call blocks until the device is done, so there is
nothing to synchronise. NaN is no error for the runtime; it is noticed among the outputs. `compiler` compiles, and
`pytest_accel.worker.hardware.neuron_devices` reads the devices.
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from abc import abstractmethod
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    Inspected,
    Missing,
    Observed,
    Option,
    Present,
    Refused,
    Source,
    Tensor,
    require_loaded,
)
from pytest_accel.worker.accelerators.neuron import compiler, graph, torch_program
from pytest_accel.worker.accelerators.neuron.tensorflow_program import (
    TensorFlowFunction,
    TensorFlowProgram,
    TensorFlowSession,
)
from pytest_accel.worker.formats import saved_model, torch_model, yardstick
from pytest_accel.worker.hardware import device_files, neuron_devices, versions
from pytest_accel.worker.vendor_errors import explained

AnyProgram = Union[TensorFlowProgram, torch_program.Traced]

_MODEL = "saved_model"
_VISIBLE_CORES, _NUM_CORES = "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"
_IN_FLIGHT = "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS"
#: _MATMULT names the operators that run on the matrix engine of a NeuronCore, which ``matmult`` casts.
_MATMULT = torch_model.TENSOR_CORE_OPERATORS | frozenset(
    ("MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput")
)
#: _OF_RUNTIME finds the words of the runtime's errors, in TensorFlow and in PyTorch. Others are about the inputs.
_OF_RUNTIME = re.compile(r"nrt_|Nrt::|Neuron Runtime could not|the model status=")

#: NEURON_OPTIONS are what every accelerator of the family has beside the options of the chip.
NEURON_OPTIONS: Mapping[str, Option] = {
    "dynamic_batch": Option(bool, False, doc="let the runtime cut a call into compiled batches"),
    "compiled_batch": Option(int, minimum=1, doc="items that a dynamic batch is cut into; by default batch_size"),
    "core_group": Option(
        int,
        minimum=0,
        compiled_in=False,
        doc="which cores, for several models at once; None: free ones",
    ),
}


class DeviceFailed(Exception):
    """The device or the runtime failed, and the inputs are not at fault."""


class NotExecuted(Exception):
    """The driver counted fewer inferences than calls were made: something else computed the outputs."""


class TensorFlowNeuron(Accelerator):
    """TensorFlow on Neuron devices. A subclass names the chip and the SDK, and turns options into flags."""

    sources: ClassVar[Tuple[str, ...]] = ("saved_model", "keras")
    concurrent = True
    chip: ClassVar[neuron_devices.Chip]
    #: These packages are under test; the SDK is the first.
    packages: ClassVar[Tuple[str, ...]]
    #: These modules of the SDK are imported; the last one has the functions.
    modules: ClassVar[Tuple[str, ...]]

    def __init__(self) -> None:
        self._artefact: Optional[Tuple[AnyProgram, graph.Compiled]] = None
        self._options: Mapping[str, Any] = {}
        self._cores: Dict[str, str] = {}
        self._calls = 0
        self._inferences_before: Optional[int] = None
        self._memory_before_mb: Optional[float] = None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        return device_files.missing_neuron(cls.name, cls.chip.pci_ids)

    @staticmethod
    @abstractmethod
    def compiler_flags(options: Mapping[str, Any]) -> List[str]:
        """Return the compiler's flags for these options, with values after ``=``."""

    @staticmethod
    @abstractmethod
    def visible_cores(options: Mapping[str, Any]) -> int:
        """Return how many NeuronCores a process with these options may use."""

    @staticmethod
    @abstractmethod
    def casts(options: Mapping[str, Any]) -> Tuple[str, bool]:
        """Return NumPy's name of what FP32 is cast to, and whether only operators of the matrix engine are cast."""

    def probe(self) -> Union[Present, Missing]:
        found = neuron_devices.look(self.chip)
        missing = neuron_devices.missing(self.chip, found)
        if missing is not None:
            return missing
        missing = self.missing_sdk()
        if missing is not None:
            return missing
        return Present(self.chip.device, found.identity(), found.cores * self.chip.core_flops)

    def missing_sdk(self) -> Optional[Missing]:
        """Return why the SDK cannot be imported, None when it can."""
        try:
            self._sdk()
        except ImportError as error:
            return neuron_devices.without_sdk(self.packages[0], error)
        return None

    def versions(self) -> Dict[str, str]:
        return {**self.compiler_versions(), "neuron-driver": neuron_devices.driver_version() or "unknown"}

    def compiler_versions(self) -> Dict[str, str]:
        """Return the versions that an artefact depends on."""
        sdk = self._sdk()
        tensorflow = saved_model.import_tensorflow()
        installed, package = versions.installed(*self.packages), self.packages[0]
        return {
            "tensorflow": tensorflow.__version__,
            **installed,
            package: getattr(sdk, "__version__", installed[package]),
        }

    def inspect(self, artefact: str, options: Mapping[str, Any]) -> Inspected:
        """Return which operators were compiled. Whether they run on the device, only the device shows."""
        return Inspected(placement=self._placed(self.compiled(artefact, options), options))

    def compiled(self, artefact: str, options: Mapping[str, Any]) -> graph.Compiled:
        """Read from an artefact what of it was compiled."""
        return graph.read(os.path.join(artefact, _MODEL), self._signature(options))

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        sdk, target = self._sdk(), os.path.join(job.artefact, _MODEL)
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, _MODEL)
            saved_model.write_saved_model(job.source, model)
            saved_model.check_signature(model, options["signature"])
            job.progress(None, f"compiling {job.source.path} with {self.packages[0]}")
            logged = compiler.compile_saved_model(sdk, model, target, self.compiler_flags(options), options)
        graph.require_compiled(graph.read(target, self._signature(options)), logged)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        self._reserve(options)
        self._memory_before_mb = neuron_devices.device_memory_mb()
        self._artefact = program, _ = self.loaded(artefact, options)
        self._options, self._calls, self._inferences_before = options, 0, neuron_devices.inferences()
        return program.inputs, program.outputs

    def loaded(self, artefact: str, options: Mapping[str, Any]) -> Tuple[AnyProgram, graph.Compiled]:
        """Return the artefact as a program that can be called, and what of it was compiled."""
        folder, signature = os.path.join(artefact, _MODEL), self._signature(options)
        compiled = self.compiled(artefact, options)
        return self._tensorflow_program(folder, signature), compiled

    def _tensorflow_program(self, folder: str, signature: str) -> TensorFlowProgram:
        if compiler.traces(self._sdk()):
            return TensorFlowFunction(folder, signature)
        return TensorFlowSession(folder, signature)

    def stage(self, inputs: Arrays) -> Any:
        return self._loaded()[0].stage(inputs)

    def infer(self, staged: Any) -> Arrays:
        program, _ = self._loaded()
        self._calls += 1  # two threads may count one call only; the driver has to count this many at least
        try:
            return program.run(staged)
        except program.errors as error:
            raise _failure(error) from error

    def placement(self) -> Observed:
        """Return the operators in NeuronOps, in the precision that the compiler had to cast them to.

        No runtime gives the precision of an operator. Raises `NotExecuted` where the driver's counters did not move.
        """
        _, compiled = self._loaded()
        self._require_executed(len(compiled.subgraphs))
        return self._placed(compiled, self._options)

    def _placed(self, compiled: graph.Compiled, options: Mapping[str, Any]) -> Observed:
        cast, matmult_only = self.casts(options)
        operators = {name: f"cpu:{operator.precision}" for name, operator in compiled.on_host.items()}
        for name, operator in compiled.on_neuron.items():
            is_cast = operator.precision == "float32" and (not matmult_only or operator.kind in _MATMULT)
            operators[name] = f"neuron:{cast if is_cast else operator.precision}"
        return Observed.of(operators, compiled.share)

    def flops(self) -> Optional[float]:
        once = self._loaded()[1].flops()
        if once is None:
            return None
        return once * int(self._options["batch_size"]) / compiler.compiled_batch(self._options)

    def device_memory_mb(self) -> Optional[float]:
        held_mb = neuron_devices.device_memory_mb()
        return None if held_mb is None else max(0.0, held_mb - (self._memory_before_mb or 0.0))

    def yardstick(self, folder: str) -> Source:
        return (yardstick.write if compiler.traces(self._sdk()) else yardstick.write_for_session)(folder)

    def close(self) -> None:
        """Free the model. The NeuronCores are free only after the process has ended."""
        if self._artefact is not None:
            self._artefact[0].close()
        self._artefact = None

    def _sdk(self) -> Any:
        saved_model.import_tensorflow()
        return [importlib.import_module(name) for name in self.modules][-1]

    def _signature(self, options: Mapping[str, Any]) -> str:
        # A traced model has one signature, whatever the one that it was traced from is called.
        return "serving_default" if compiler.traces(self._sdk()) else str(options["signature"])

    def _loaded(self) -> Tuple[AnyProgram, graph.Compiled]:
        return require_loaded(self._artefact)

    def _reserve(self, options: Mapping[str, Any]) -> None:
        """Name the cores for the runtime. It takes them when it first runs something, and keeps them to the end."""
        count, group = self.visible_cores(options), options["core_group"]
        first = 0 if group is None else group * count
        listed = str(first) if count == 1 else f"{first}-{first + count - 1}"
        wanted = {_NUM_CORES: str(count)} if group is None else {_VISIBLE_CORES: listed}
        if os.environ.get(_IN_FLIGHT, "0") != "0":
            raise Refused(f"{_IN_FLIGHT} is set, so that a call would return before its work is done: unset it")
        if not self._cores:
            for name in (_VISIBLE_CORES, _NUM_CORES):
                if os.environ.get(name):
                    raise Refused(f"{name} is set, and may not be what was asked for: unset it and use core_group")
            os.environ.update(wanted)
            self._cores = wanted
        if wanted != self._cores:
            wish, held = _spelled(wanted), _spelled(self._cores)
            raise Refused(f"{wish} cannot be had, because this worker has {held}: load it in a fresh one")

    def _require_executed(self, neuron_ops: int) -> None:
        total, total_before = neuron_devices.inferences(), self._inferences_before
        if total is None or total_before is None:  # this driver does not count; a NeuronOp has no other place to run
            return
        counted = total - total_before
        if counted < self._calls * neuron_ops:
            raise NotExecuted(
                f"the driver counted {counted} inferences during {self._calls} calls of {neuron_ops} compiled "
                "subgraphs, so the outputs came from elsewhere: nothing here was measured on the device. Look whether "
                "the artefact was compiled by the SDK that runs it, and at the worker's log"
            )


def batch_problem(options: Mapping[str, Any], copies: int) -> Optional[str]:
    """Return why the batch options can never work with this number of copies, or None."""
    compiled, batch = options["compiled_batch"], options["batch_size"]
    if compiled is not None and not options["dynamic_batch"]:
        return f"compiled_batch={compiled} is for a call that the runtime cuts: set dynamic_batch=True, or leave it out"
    if compiled is not None and compiled > batch:
        return f"compiled_batch={compiled} is more than a call has: batch_size={batch}"
    if copies > 1 and copies * compiler.compiled_batch(options) > batch:
        return (
            f"a call of batch_size={batch} in pieces of {compiler.compiled_batch(options)} cannot keep {copies} "
            "copies busy: set dynamic_batch=True and a smaller compiled_batch"
        )
    return None


def _spelled(variables: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def _failure(error: Exception) -> Exception:
    """Return what to raise for an error of a call: `DeviceFailed` for the runtime's errors, else `Refused`."""
    if _OF_RUNTIME.search(str(error)):
        return DeviceFailed(explained("the Neuron runtime failed", error))
    return Refused(explained("Neuron cannot run this model", error))
