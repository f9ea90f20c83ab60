"""The ``gpu-trt-rtx`` accelerator: TensorRT for RTX, which builds without a GPU and runs on an RTX GPU.

It is a product of its own with TensorRT's interface. An engine is built for the compute capability that ``target=``
names, and its kernels are compiled on the GPU when it is loaded. So `target` and `inspect` work where no GPU is. Layers
compute in the types of the model, which is kept beside an engine below FP32: ONNX Runtime can predict its answers.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import (
    BESIDE,
    CompileJob,
    Inspected,
    Missing,
    Observed,
    Option,
    Present,
    Refused,
    Source,
    Target,
    Tensor,
    require_loaded,
    share_on,
)
from pytest_accel.worker.accelerators.tensorrt import builder_options, layer_list
from pytest_accel.worker.accelerators.tensorrt.builder import PRECISIONS, Recipe
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import FACTS, GpuTrt
from pytest_accel.worker.accelerators.tensorrt.log import done
from pytest_accel.worker.accelerators.tensorrt.runtime_cache import RuntimeCache
from pytest_accel.worker.hardware import nvml
from pytest_accel.worker.hardware.cuda import Cuda

#: _TARGETS are the compute capabilities that NVIDIA builds for; the empty one stands for the GPU that is here.
_TARGETS = ("", "sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
#: _OF_TENSORRT_ALONE are options that this product has no use for. Its builder times no kernels and chooses no
#: precisions, and its engines are not made for being recorded as a CUDA graph.
_OF_TENSORRT_ALONE = ("workspace_mb", "timing_cache", "beside_int8", "cuda_graph")
#: _ENTRIES are those of ``extra`` that its builder takes without a GPU, and that are not about timing kernels.
_ENTRIES = (
    "direct_io",
    "distributive_independence",
    "l2_limit_for_tiling",
    "max_aux_streams",
    "sparse_weights",
    "strict_nans",
    "tiling_optimization_level",
)
#: _WRITTEN is the file in an artefact with the model as it was compiled.
_WRITTEN = os.path.join(BESIDE, "model.onnx")
#: _UNREADABLE are precisions for which ONNX Runtime has no kernels on a processor.
_UNREADABLE = ("bf16",)


class GpuTrtRtx(GpuTrt):
    """Engines of TensorRT for RTX."""

    name = "gpu-trt-rtx"
    product = "TensorRT for RTX"
    package = "tensorrt-rtx"
    tool = "tensorrt_rtx"
    for_older_driver = "an older TensorRT for RTX"
    extra = "gpu-trt-rtx"
    calibrated = ("int8", "fp8")
    own_options: ClassVar[Mapping[str, Option]] = {
        **{name: option for name, option in GpuTrt.own_options.items() if name not in _OF_TENSORRT_ALONE},
        "precision": Option(
            str,
            "fp32",
            choices=(*PRECISIONS, "bf16", "fp8"),
            doc="INT8 and FP8 need calibration data; FP32 is without TF32",
        ),
        "extra": replace(
            GpuTrt.own_options["extra"], entries={name: builder_options.ENTRIES[name] for name in _ENTRIES}
        ),
        "target": Option(
            str, "", choices=_TARGETS, doc="compute capability to build for, such as 'sm89'; empty for the GPU here"
        ),
        "runtime_cache": Option(
            str, "", compiled_in=False, doc="file of kernels compiled on this GPU, which loads share; empty for none"
        ),
    }
    former_options: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._kernels: Optional[RuntimeCache] = None
        self._placement: Optional[Observed] = None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        missing = super().probe_hardware()
        if missing is None:
            return None
        return replace(missing, action=f"{missing.action}; --accel-compile-only needs no GPU, where target= names one")

    def probe(self) -> Union[Present, Missing]:
        found = super().probe()
        if isinstance(found, Present) and _capability_name(str(found.identity["compute_capability"])) not in _TARGETS:
            return Missing(
                "no-hardware",
                f"{self.product} does not build for {found.device}, of compute capability "
                f"{found.identity['compute_capability']}",
                "use gpu-trt, or an RTX GPU",
            )
        return found

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        missing = self._missing_tensorrt()
        capability = missing or self._target(options)
        if isinstance(capability, Missing):
            return capability
        return Target(capability, self._compiler_versions())

    def compile_job(self, job: CompileJob) -> None:
        capability = self._target(job.options)
        if isinstance(capability, Missing):
            raise Refused(f"{capability.reason}: {capability.action}")
        super().compile_job(replace(job, options={**job.options, "target": capability}))

    def inspect(self, artefact: str, options: Mapping[str, Any]) -> Inspected:
        with open(os.path.join(artefact, FACTS), encoding="utf-8") as facts:
            operators = json.load(facts)["operators"]
        placement = Observed.of(operators, share_on("gpu", operators)) if operators else None
        written = os.path.join(artefact, _WRITTEN)
        return Inspected(placement, Source("onnx", written) if os.path.exists(written) else None)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        path = options["runtime_cache"]
        self._kernels = RuntimeCache(path, self._tensorrt_logger()) if path else None
        ends = super().load(artefact, options)
        self._placement = self.inspect(artefact, options).placement
        if self._kernels is not None:
            self._kernels.keep()  # most workers are ended without being asked to close
        return ends

    def placement(self) -> Observed:
        require_loaded(self._engine)
        return self._placement or Observed(None, {})

    def close(self) -> None:
        if self._kernels is not None:
            self._kernels.keep()
        super().close()
        if self._kernels is not None:
            self._kernels.drop()

    def _tensorrt(self) -> Any:
        try:
            import tensorrt_rtx
        except ImportError:  # NVIDIA's package tensorrt-rtx brings that name, and the bindings alone have this one
            import tensorrt_rtx_bindings as tensorrt_rtx

        return tensorrt_rtx

    def _target(self, options: Mapping[str, Any]) -> Union[str, Missing]:
        """Return the compute capability to build for, such as "sm89"."""
        if options["target"]:
            return str(options["target"])
        if self._missing_device() is not None:
            return Missing("no-hardware", "no GPU is here and no target is named", "name one, such as target='sm89'")
        return _capability_name("{}.{}".format(*Cuda().device().compute_capability))

    def _missing_device(self) -> Optional[Missing]:
        try:
            return self.probe_hardware() or nvml.missing() or Cuda().missing()
        except ImportError as error:
            return self._missing_sdk("cuda-python", error)

    def _recipe(self, job: CompileJob) -> Recipe:
        options = job.options
        written = "" if options["precision"] in _UNREADABLE else os.path.join(job.artefact, _WRITTEN)
        return replace(super()._recipe(job), target=options["target"], written_model=written)

    def _capability(self, options: Mapping[str, Any]) -> Tuple[int, int]:
        digits = options["target"][len("sm") :]
        return int(digits[:-1]), int(digits[-1])

    def _bound_to(self, options: Mapping[str, Any]) -> Dict[str, str]:
        return {self.package: self._tensorrt().__version__, "compute_capability": options["target"]}

    def _found_here(self) -> Dict[str, str]:
        here = super()._found_here()
        return {self.package: here[self.package], "compute_capability": _capability_name(here["compute_capability"])}

    def _facts(self, model: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
        listed = layer_list.operators(self._tensorrt_logger().layers, tf32=options["precision"] == "tf32")
        return {**super()._facts(model, options), "operators": listed}

    def _new_context(self, engine: Any) -> Any:
        logger = self._tensorrt_logger()
        config = done(engine.create_runtime_config(), "set how to run this engine", logger)
        # By default a slower kernel serves each new shape, until another thread has compiled the right one.
        strategies = logger.tensorrt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if self._kernels is not None:
            self._kernels.add_to(config)
        return engine.create_execution_context(config)


def _capability_name(capability: str) -> str:
    """Return the name of a compute capability: sm89 of 8.9."""
    return f"sm{capability.replace('.', '')}"
