"""The ``gpu-trt`` accelerator: TensorRT engines on an NVIDIA GPU, in FP32, TF32, FP16 or INT8.

A SavedModel or a Keras file is converted by tf2onnx first. The artefact is a folder with the engine and the facts that
bind it to this TensorRT and this kind of GPU. The engine is built in `builder` and run in `engine`, through the CUDA of
`pytest_accel.worker.hardware.cuda`. Engines inside a SavedModel are another accelerator, ``gpu-tftrt``.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import (
    Arrays,
    CompileJob,
    Missing,
    Observed,
    Option,
    Present,
    Progress,
    Refused,
    Source,
    Tensor,
    VendorTool,
    require_loaded,
)
from pytest_accel.worker.accelerators.tensorrt import builder_options
from pytest_accel.worker.accelerators.tensorrt.builder import PRECISIONS, Batches, Recipe, build
from pytest_accel.worker.accelerators.tensorrt.engine import Engine
from pytest_accel.worker.accelerators.tensorrt.log import capturing_logger
from pytest_accel.worker.formats import batch_axes, onnx_file, onnx_model, yardstick
from pytest_accel.worker.formats.quantise import require
from pytest_accel.worker.hardware import gpu_peak, nvml, versions
from pytest_accel.worker.hardware.cuda import Cuda
from pytest_accel.worker.hardware.nvidia_gpu import NvidiaGpu

_ENGINE = "model.engine"
FACTS = "facts.json"
_MODEL = "model.onnx"


class GpuTrt(NvidiaGpu):
    """TensorRT engines on an NVIDIA GPU."""

    #: This is the name of what builds and runs engines.
    product: ClassVar[str] = "TensorRT"
    #: This package has it, and its version counts.
    package: ClassVar[str] = "tensorrt"
    #: This is its command that times an engine.
    tool: ClassVar[str] = "trtexec"
    #: A driver that is older than the CUDA libraries takes this.
    for_older_driver: ClassVar[str] = (
        "an older TensorRT: for a driver of CUDA 12 the extra gpu-trt-cu12, with tensorrt-cu12<11 and cuda-python<13"
    )
    name = "gpu-trt"
    extra = "gpu-trt"
    sources = ("saved_model", "keras", "onnx")
    calibrated: ClassVar[Tuple[str, ...]] = ("int8",)
    concurrent = True
    in_flight = 2  # the copies of one call go on beside the computing of the other
    converts: ClassVar[Mapping[str, Tuple[str, ...]]] = {
        "saved_model": ("signature", "batch_size", "profile"),
        "keras": ("signature", "batch_size", "profile"),
    }
    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu", "keras": "cpu", "onnx": "cpu-ort"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=PRECISIONS, doc="INT8 needs calibration data; FP32 is without TF32"),
        "profile": Option(
            str, "", doc="smallest:best:largest batch of an engine that takes several, '1:8:32'; empty for one alone"
        ),
        "workspace_mb": Option(int, None, minimum=1, doc="memory that one layer may use; TensorRT's default is all"),
        "timing_cache": Option(str, "", doc="file of kernels' times that builds share, so that they choose alike"),
        "beside_int8": Option(
            str, "fp32", choices=("fp32", "fp16"), doc="what layers may compute in beside INT8, up to TensorRT 10"
        ),
        "cuda_graph": Option(bool, False, compiled_in=False, doc="calls repeat the engine's kernels as a CUDA graph"),
        "extra": Option(dict, {}, entries=builder_options.ENTRIES, doc="the builder's own options"),
    }
    former_options: ClassVar[Mapping[str, str]] = {
        "mode": "use the accelerator 'gpu-tftrt' for engines inside a SavedModel, and leave mode= out for all others"
    }

    def __init__(self) -> None:
        super().__init__()
        self._logger: Any = None
        self._engine: Optional[Engine] = None
        self._flops: Optional[float] = None

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        if options.get("beside_int8", "fp32") != "fp32" and options["precision"] != "int8":
            return f"beside_int8={options['beside_int8']!r} says what computes beside INT8: ask for precision='int8'"
        if not options["profile"]:
            return None
        try:
            batches = Batches.parse(options["profile"])
        except ValueError as error:
            return str(error)
        if not batches.smallest <= options["batch_size"] <= batches.largest:
            return f"batch_size={options['batch_size']} is outside of profile={options['profile']!r}"
        return None

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        """Return NVIDIA's tool for the product, whose "Latency" has both copies in it as ours has.

        It makes ``calls`` calls however long they take, and draws inputs of its own.
        """
        engine = os.path.join(artefact, _ENGINE)
        arguments = (f"--loadEngine={engine}", f"--iterations={calls}", "--duration=0")
        return VendorTool(
            cls.tool,
            arguments,
            begins="Starting inference",
            program=cls.tool,
            median=r"\] Latency: .*?median = ([\d.]+) ms",
        )

    def probe(self) -> Union[Present, Missing]:
        try:
            cuda = Cuda()
        except ImportError as error:
            return self._missing_sdk("cuda-python", error)
        # In this order: where CUDA does not work, TensorRT may crash.
        missing = nvml.missing() or cuda.missing(self.for_older_driver) or self._missing_tensorrt()
        if missing is not None:
            return missing
        device = cuda.device()
        peaks = gpu_peak.peaks(device.compute_capability, device.sm_count, device.clock_hz)
        found = self._device.present(device.identity())
        return replace(found, peak_flops=max(peaks.values(), default=None), peaks=peaks)

    def versions(self) -> Dict[str, str]:
        return {**self._compiler_versions(), **Cuda().versions(), "nvidia-driver": self._device.driver_version()}

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        progress(None, f"converting {source.path}")
        path = os.path.join(folder, _MODEL)
        model, ends = _converted(source, options)
        onnx_file.write(model, path)
        batch_axes.keep_signature(ends, folder)
        return Source("onnx", path)

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        if options["precision"] in self.calibrated:
            require(job.calibration, options["precision"])
        capability = self._capability(options)
        if options["precision"] == "tf32" and capability < nvml.TF32_FROM:
            raise Refused(nvml.NO_TF32.format(*capability))
        job.progress(None, f"converting {job.source.path}")
        model, ends = _converted(job.source, options)
        plan = build(model, self._recipe(job), job.calibration, job.progress, self._tensorrt_logger())
        flops = onnx_model.count_flops(onnx_model.fix_batch(model, options["batch_size"], ends))
        batch_axes.keep_axes(batch_axes.axes_of(ends, options["batch_size"]), job.artefact)
        with open(os.path.join(job.artefact, _ENGINE), "wb") as file:
            file.write(plan)
        with open(os.path.join(job.artefact, FACTS), "w", encoding="utf-8") as facts:
            json.dump({**self._bound_to(options), **self._facts(model, options), "flops": flops}, facts, indent=2)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        try:
            with open(os.path.join(artefact, FACTS), encoding="utf-8") as file:
                facts = json.load(file)
            with open(os.path.join(artefact, _ENGINE), "rb") as plan:
                engine = plan.read()
        except OSError as error:
            raise Refused(f"{artefact} holds no engine of {self.name}: compile the model anew ({error})") from error
        for fact, here in self._found_here().items():
            if facts[fact] != here:
                raise Refused(f"this engine was built for {fact} {facts[fact]}, and here is {here}: compile it anew")
        self._flops = facts["flops"]
        self._engine = Engine(
            engine,
            int64_inputs=facts["int64_inputs"],
            cuda=Cuda(),
            logger=self._tensorrt_logger(),
            new_context=self._new_context,
            cuda_graph=options.get("cuda_graph", False),
        )
        sides = self._engine.inputs, self._engine.outputs
        return batch_axes.with_axes(sides, batch_axes.kept_axes(artefact, batch_axes.ends_of(*sides)))

    def stage(self, inputs: Arrays) -> Any:
        return require_loaded(self._engine).stage(inputs)

    def infer(self, staged: Any) -> Arrays:
        return self.finish(self.begin(staged))

    def begin(self, staged: Any) -> Any:
        return require_loaded(self._engine).begin(staged)

    def finish(self, begun: Any) -> Arrays:
        return require_loaded(self._engine).finish(begun)

    def placement(self) -> Observed:
        return require_loaded(self._engine).placement()

    def flops(self) -> Optional[float]:
        return self._flops

    def device_memory_mb(self) -> Optional[float]:
        held_mb = super().device_memory_mb()
        return require_loaded(self._engine).device_memory_mb() if held_mb is None else held_mb

    def parts_ms(self) -> Dict[str, float]:
        return require_loaded(self._engine).copies_ms()

    def raw_answers(self) -> Dict[str, str]:
        inspector = require_loaded(self._engine).information()
        return {**super().raw_answers(), "tensorrt-inspector.json": inspector}

    def yardstick(self, folder: str) -> Source:
        return yardstick.write_onnx(folder)

    def close(self) -> None:
        self._engine = None

    def _tensorrt(self) -> Any:
        """Return the module. Raises `ImportError` where it is not installed."""
        import tensorrt

        return tensorrt

    def _compiler_versions(self) -> Dict[str, str]:
        """Return the versions of all software that the bytes of an engine depend on."""
        used = versions.installed("onnx", "onnxruntime", "tf2onnx", "tensorflow")
        return {self.package: self._tensorrt().__version__, **used}

    def _recipe(self, job: CompileJob) -> Recipe:
        options = job.options
        return Recipe(
            precision=options["precision"],
            batches=Batches.parse(options["profile"]) if options["profile"] else None,
            workspace_mb=options.get("workspace_mb"),
            timing_cache=options.get("timing_cache", ""),
            beside_int8=options.get("beside_int8", "fp32"),
            extra=options["extra"],
        )

    def _capability(self, options: Mapping[str, Any]) -> Tuple[int, int]:
        """Return the compute capability that is built for."""
        return Cuda().device().compute_capability

    def _bound_to(self, options: Mapping[str, Any]) -> Dict[str, str]:
        """Return what an engine with these options will be bound to."""
        return self._found_here()

    def _found_here(self) -> Dict[str, str]:
        """Return what an engine has to be bound to that runs here.

        It also runs on other GPUs of the compute capability, but not as fast.
        """
        device = Cuda().device()
        capability = "{}.{}".format(*device.compute_capability)
        return {self.package: self._tensorrt().__version__, "gpu": device.name, "compute_capability": capability}

    def _facts(self, model: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
        """Return what else is kept beside an engine that was built just now."""
        return {"int64_inputs": _int64_inputs(model)}

    def _new_context(self, engine: Any) -> Any:
        return engine.create_execution_context()

    def _tensorrt_logger(self) -> Any:
        if self._logger is None:
            self._logger = capturing_logger(self._tensorrt())
        return self._logger

    def _missing_sdk(self, what: str, error: ImportError) -> Missing:
        return Missing("no-sdk", f"{what} cannot be used: {error}", f"pip install 'pytest-accel[{self.extra}]'")

    def _missing_tensorrt(self) -> Optional[Missing]:
        """Return why TensorRT cannot build here, None when it can. Its builder is made, which needs the device."""
        try:
            tensorrt = self._tensorrt()
        except ImportError as error:
            return self._missing_sdk(self.product, error)
        if not hasattr(tensorrt, "OnnxParser"):
            found = f"the package {self.package} ({tensorrt.__file__})"
            return Missing(
                "placeholder-package",
                f"{found} has no OnnxParser: it is not NVIDIA's {self.product}",
                f"pip uninstall it, then pip install {self.package}",
            )
        if not hasattr(tensorrt.IExecutionContext, "execute_async_v3"):
            return Missing(
                "support-ended",
                f"{self.product} {tensorrt.__version__} has no execute_async_v3",
                "install TensorRT 8.6 or newer",
            )
        logger = self._tensorrt_logger()
        try:
            tensorrt.Builder(logger)
        except TypeError as error:  # pybind11's way to say that it got no object
            words = "; ".join(logger.errors) or str(error)
            return Missing(
                "driver-mismatch",
                f"{self.product} {tensorrt.__version__} makes no builder here: {words}",
                f"install a driver that is as new as its CUDA libraries, or {self.for_older_driver}",
            )
        return None


def _converted(source: Source, options: Mapping[str, Any]) -> Tuple[Any, batch_axes.Ends]:
    """Return the source as an ONNX model of one batch size, or of any where there is a profile; and its signature."""
    return onnx_model.converted(source, options["signature"], None if options["profile"] else options["batch_size"])


def _recipe(options: Mapping[str, Any]) -> Recipe:
    return Recipe(
        precision=options["precision"],
        batches=Batches.parse(options["profile"]) if options["profile"] else None,
        workspace_mb=options["workspace_mb"],
        timing_cache=options["timing_cache"],
        beside_int8=options["beside_int8"],
        extra=options["extra"],
    )


def _int64_inputs(model: Any) -> List[str]:
    from onnx import TensorProto

    return [value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.INT64]
