"""The ``inf2`` and ``trn1`` accelerators: AWS Inferentia2 and Trainium with tensorflow-neuronx or torch-neuronx.

Models of TensorFlow need the first package, models of PyTorch the second. The accelerator is here with either of them.
AWS no longer maintains tensorflow-neuronx: Neuron 2.29 was the first release without it. An installed one still runs.
Unlike Inferentia these chips have FP32, which is the default here. The compiler's default would cast matrix
multiplications to BF16. There are no pipelines: NeuronCores hold copies that share the items of a dynamic batch.
`pytest_accel.worker.accelerators.neuron.base` and `pytest_accel.worker.accelerators.neuron.torch_program` have the
rest.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Accelerator, CompileJob, Missing, Option, Source, Target
from pytest_accel.worker.accelerators.neuron import compiler, graph, torch_program
from pytest_accel.worker.accelerators.neuron.base import NEURON_OPTIONS, AnyProgram, TensorFlowNeuron
from pytest_accel.worker.formats import yardstick
from pytest_accel.worker.hardware import neuron_devices

_DTYPES = {"fp32": "float32", "tf32": "tf32", "bf16": "bfloat16", "fp16": "float16"}


class Inf2(TensorFlowNeuron):
    """AWS Inferentia2 with tensorflow-neuronx or torch-neuronx."""

    name = "inf2"
    sources = ("saved_model", "keras", "torch")
    references: ClassVar[Mapping[str, str]] = {**Accelerator.references, "torch": "cpu-torch"}
    chip = neuron_devices.INFERENTIA2
    packages = ("tensorflow-neuronx", "neuronx-cc")
    modules = ("tensorflow_neuronx",)
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=tuple(_DTYPES), doc="what FP32 operators compute in"),
        "auto_cast": Option(
            str, "matmult", choices=("matmult", "all"), doc="which FP32 operators another precision is for"
        ),
        "neuroncores": Option(int, 1, minimum=1, compiled_in=False, doc="NeuronCores whose copies share a call"),
        **NEURON_OPTIONS,
    }

    @staticmethod
    def own_flags(options: Mapping[str, Any]) -> List[str]:
        if options["precision"] == "fp32":
            return ["--auto-cast=none"]
        return [f"--auto-cast={options['auto_cast']}", f"--auto-cast-type={options['precision']}"]

    @staticmethod
    def visible_cores(options: Mapping[str, Any]) -> int:
        return int(options["neuroncores"])

    @staticmethod
    def copies(options: Mapping[str, Any]) -> int:
        return int(options["neuroncores"])

    @staticmethod
    def casts(options: Mapping[str, Any]) -> Tuple[str, bool]:
        return _DTYPES[options["precision"]], options["auto_cast"] == "matmult"

    def missing_sdk(self) -> Optional[Missing]:
        try:
            torch_program.sdk()
        except ImportError as error:
            missing = super().missing_sdk()
            is_placeholder = missing is not None and neuron_devices.PLACEHOLDER in str(error)
            return neuron_devices.without_sdk(torch_program.PACKAGE, error) if is_placeholder else missing
        return None

    def compiler_versions(self) -> Dict[str, str]:
        of_torch = torch_program.sdk_versions()
        if of_torch and super().missing_sdk() is not None:
            return of_torch
        return {**super().compiler_versions(), **of_torch}

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        """Return the chip where torch-neuronx is installed, which AWS documents to compile without it.

        No source says that of tensorflow-neuronx, so that alone needs the device.
        """
        try:
            torch_program.sdk()
        except ImportError:
            return super().target(options)
        return Target(self.chip.device, self.compiler_versions())

    def compile_job(self, job: CompileJob) -> None:
        if job.source.kind != "torch":
            super().compile_job(job)
            return
        job.progress(None, f"compiling {job.source.path} with {torch_program.PACKAGE}")
        flags = [*self.compiler_flags(job.options), "--target", self.chip.family]
        torch_program.compile_program(job.source.path, job.artefact, flags, job.options)

    def compiled(self, artefact: str, options: Mapping[str, Any]) -> graph.Compiled:
        if not torch_program.is_artefact(artefact):
            return super().compiled(artefact, options)
        return torch_program.compiled(artefact)

    def loaded(self, artefact: str, options: Mapping[str, Any]) -> Tuple[AnyProgram, graph.Compiled]:
        if not torch_program.is_artefact(artefact):
            return super().loaded(artefact, options)
        copies = min(self.copies(options), compiler.pieces(options))
        traced = torch_program.Traced(artefact, copies, dynamic_batch=options["dynamic_batch"])
        return traced, traced.compiled

    def yardstick(self, folder: str) -> Source:
        if super().missing_sdk() is None:
            return super().yardstick(folder)
        return yardstick.write_torch(folder)


class Trn1(Inf2):
    """AWS Trainium, which runs the same artefacts as Inferentia2."""

    name = "trn1"
    chip = neuron_devices.TRAINIUM
