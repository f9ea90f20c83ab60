"""What the accelerators of the Neuron family have in common: TensorFlow models, compiled by AWS's SDK for TensorFlow.

The SDK compiles what it can into NeuronOps and leaves the rest to the host without a word. So what was compiled is read
from the artefact, and the driver's counters show that it ran: at once, or when the process has ended. A core belongs to
one process until that ends. A call blocks until the device is done, so there is nothing to synchronise. NaN is no error
for the runtime; it is noticed among the outputs. `compiler` compiles, `cores` names the cores to the runtime, and
`pytest_accel.worker.hardware.neuron_devices` reads the devices.
"""

from __future__ import annotations

import importlib
import os
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
from pytest_accel.worker.accelerators.neuron import compiler, cores, graph, torch_program
from pytest_accel.worker.accelerators.neuron.failures import NotExecuted, failure
from pytest_accel.worker.accelerators.neuron.tensorflow_program import TensorFlowFunction
from pytest_accel.worker.formats import saved_model, torch_model, yardstick
from pytest_accel.worker.hardware import device_files, neuron_devices, versions

AnyProgram = Union[TensorFlowFunction, torch_program.Traced]

_MODEL = "saved_model"
_IN_FLIGHT = "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS"
#: _MATMULT names the operators that run on the matrix engine of a NeuronCore, which ``matmult`` casts.
_MATMULT = torch_model.TENSOR_CORE_OPERATORS | frozenset(
    ("MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput")
)

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
    "extra": Option(
        dict, {}, doc='more options of the compiler, such as {"optlevel": 2}; True for one without a value'
    ),
}


class TensorFlowNeuron(Accelerator):
    """TensorFlow on Neuron devices. A subclass names the chip and the SDK, and turns options into flags."""

    sources: ClassVar[Tuple[str, ...]] = ("saved_model", "keras")
    concurrent = True
    exclusive = True
    chip: ClassVar[neuron_devices.Chip]
    #: These packages are under test; the SDK is the first.
    packages: ClassVar[Tuple[str, ...]]
    #: These modules of the SDK are imported; the last one has the functions.
    modules: ClassVar[Tuple[str, ...]]

    def __init__(self) -> None:
        self._artefact: Optional[Tuple[AnyProgram, graph.Compiled]] = None
        self._options: Mapping[str, Any] = {}
        self._claim = cores.Claim(os.environ)
        self._calls = 0
        self._inferences_before: Optional[int] = None
        self._memory_before_mb: Optional[float] = None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        return device_files.missing_neuron(cls.name, cls.chip.pci_ids)

    @staticmethod
    @abstractmethod
    def own_flags(options: Mapping[str, Any]) -> List[str]:
        """Return the compiler's flags for the options that have a name here, with values after ``=``."""

    @classmethod
    def compiler_flags(cls, options: Mapping[str, Any]) -> List[str]:
        """Return all of the compiler's flags for these options, with values after ``=``."""
        return [*cls.own_flags(options), *compiler.extra_flags(options["extra"])]

    @staticmethod
    @abstractmethod
    def visible_cores(options: Mapping[str, Any]) -> int:
        """Return how many NeuronCores a process with these options may use."""

    @staticmethod
    @abstractmethod
    def copies(options: Mapping[str, Any]) -> int:
        """Return how many copies of the model share the items of a call."""

    @classmethod
    def lacking(cls, found: Present, options: Mapping[str, Any]) -> Optional[Missing]:
        needed = cores.cores_needed(cls.visible_cores(options), options["core_group"])
        if found.cores is None or needed <= found.cores:
            return None
        return Missing(
            "too-few-cores",
            f"this variant needs {needed} NeuronCores, and {found.cores} may be taken here",
            "ask for fewer, or run on a larger instance; NEURON_RT_VISIBLE_CORES and NEURON_RT_NUM_CORES allow no more",
        )

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        own = [flag.partition("=")[0] for flag in cls.own_flags(options)]
        return _batch_problem(options, cls.copies(options)) or compiler.extra_problem(options["extra"], own)

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
        try:
            free = cores.Pool.of(os.environ).size(found.cores)
        except Refused as error:
            return Missing("no-access", str(error), "it says which NeuronCores this run may take")
        peak_flops = found.cores * self.chip.core_flops
        return Present(self.chip.device, found.identity(), peak_flops, cores=free)

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
        return graph.read(os.path.join(artefact, _MODEL), compiler.TRACED_SIGNATURE)

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        sdk, target = self._sdk(), os.path.join(job.artefact, _MODEL)
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, _MODEL)
            saved_model.write_saved_model(job.source, model)
            saved_model.check_signature(model, options["signature"])
            job.progress(None, f"compiling {job.source.path} with {self.packages[0]}")
            logged = compiler.compile_saved_model(sdk, model, target, self.compiler_flags(options), options)
        graph.require_compiled(graph.read(target, compiler.TRACED_SIGNATURE), logged)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        _require_synchronous()
        self._claim.take(self.visible_cores(options), options["core_group"])
        self._memory_before_mb = neuron_devices.device_memory_mb()
        self._artefact = program, compiled = self.loaded(artefact, options)
        _require_copies(self.copies(options), compiled, options)
        self._options, self._calls, self._inferences_before = options, 0, neuron_devices.inferences()
        return program.inputs, program.outputs

    def loaded(self, artefact: str, options: Mapping[str, Any]) -> Tuple[AnyProgram, graph.Compiled]:
        """Return the artefact as a program that can be called, and what of it was compiled."""
        self._sdk()  # which tells TensorFlow of NeuronOps
        folder = os.path.join(artefact, _MODEL)
        return TensorFlowFunction(folder, compiler.TRACED_SIGNATURE), self.compiled(artefact, options)

    def stage(self, inputs: Arrays) -> Any:
        return self._loaded()[0].stage(inputs)

    def infer(self, staged: Any) -> Arrays:
        program, _ = self._loaded()
        self._calls += 1  # two threads may count one call only; the driver has to count this many at least
        try:
            return program.run(staged)
        except program.errors as error:
            raise failure(error, "Neuron cannot run this model") from error

    def placement(self) -> Observed:
        """Return the operators in NeuronOps, in the precision that the compiler had to cast them to.

        No runtime gives the precision of an operator. Raises `NotExecuted` where a driver that counts at once has
        counted too few inferences. Any other one is asked once this process has ended: see `executions_made`.
        """
        _, compiled = self._loaded()
        self._require_executed()
        return self._placed(compiled, self._options)

    def _placed(self, compiled: graph.Compiled, options: Mapping[str, Any]) -> Observed:
        cast, matmult_only = self.casts(options)
        operators = {name: f"cpu:{operator.precision}" for name, operator in compiled.on_host.items()}
        for name, operator in compiled.on_neuron.items():
            is_cast = operator.precision == "float32" and (not matmult_only or operator.kind in _MATMULT)
            operators[name] = f"neuron:{cast if is_cast else operator.precision}"
        return Observed.of(operators, compiled.share)

    def executions_made(self) -> int:
        return 0 if self._counted_at_once is not None else self._least_inferences

    def executions_counted(self) -> Optional[int]:
        return neuron_devices.inferences()

    def flops(self) -> Optional[float]:
        once = self._loaded()[1].flops()
        if once is None:
            return None
        return once * int(self._options["batch_size"]) / compiler.compiled_batch(self._options)

    def device_memory_mb(self) -> Optional[float]:
        held_mb = neuron_devices.device_memory_mb()
        return None if held_mb is None else max(0.0, held_mb - (self._memory_before_mb or 0.0))

    def device_state(self) -> Mapping[str, Union[str, int, float]]:
        """Return how many cores and copies were used: the SDK by itself would use all cores of a chip that it sees."""
        if not self._options:
            return {}
        return {"neuroncores": self.visible_cores(self._options), "copies": self.copies(self._options)}

    def yardstick(self, folder: str) -> Source:
        return yardstick.write(folder)

    def close(self) -> None:
        """Free the model. The NeuronCores are free only after the process has ended."""
        self._artefact = None

    def _sdk(self) -> Any:
        saved_model.import_tensorflow()
        return [importlib.import_module(name) for name in self.modules][-1]

    def _loaded(self) -> Tuple[AnyProgram, graph.Compiled]:
        return require_loaded(self._artefact)

    @property
    def _least_inferences(self) -> int:
        """How many inferences the calls so far were at least: a NeuronOp makes one or more in each call."""
        return self._calls * len(self._loaded()[1].subgraphs)

    @property
    def _counted_at_once(self) -> Optional[int]:
        """The inferences since the load, None where the driver counts them later or not at all."""
        total, total_before = neuron_devices.inferences(), self._inferences_before
        if total is None or total_before is None or not neuron_devices.counts_live():
            return None
        return total - total_before

    def _require_executed(self) -> None:
        counted = self._counted_at_once
        if counted is not None and counted < self._least_inferences:
            raise NotExecuted(
                f"the driver counted {counted} inferences, and {self._calls} calls are {self._least_inferences} at "
                "least, so the outputs came from elsewhere: nothing here was measured on the device. Look whether the "
                "artefact was compiled by the SDK that runs it, and at the worker's log"
            )


def _batch_problem(options: Mapping[str, Any], copies: int) -> Optional[str]:
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


def _require_synchronous() -> None:
    """Raise `Refused` where a call would return before its work is done."""
    if os.environ.get(_IN_FLIGHT, "0") != "0":
        raise Refused(f"{_IN_FLIGHT} is set, so that a call would return before its work is done: unset it")


def _require_copies(copies: int, compiled: graph.Compiled, options: Mapping[str, Any]) -> None:
    """Raise `Refused` where the runtime would make one copy: the SDK's `set_execution_plan` copies single NeuronOps."""
    operators = len(compiled.subgraphs)
    if min(copies, compiler.pieces(options)) > 1 and operators != 1:
        raise Refused(
            f"the model became {operators} Neuron operators, and the runtime copies a model of one only: {copies} "
            "copies cannot be had. Ask for one copy, or replace the operators that were left to the host between them"
        )
