"""Which accelerators there are: our own, those of installed packages, and those a conftest adds.

An accelerator is known by a reference, ``"module:Class"``; its module is imported only when the accelerator is used.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import UsageError

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Accelerator

ENTRY_POINT_GROUP = "pytest_accel.accelerators"

_ROOM = "pytest_accel.worker.accelerators"
BUILTIN: Mapping[str, str] = {
    "cpu": f"{_ROOM}.tensorflow.cpu:Cpu",
    "cpu-ort": f"{_ROOM}.onnx_runtime.cpu_ort:CpuOrt",
    "cpu-openvino": f"{_ROOM}.openvino:CpuOpenVino",
    "cpu-torch": f"{_ROOM}.pytorch.cpu_torch:CpuTorch",
    "gpu": f"{_ROOM}.tensorflow.gpu:Gpu",
    "gpu-ort": f"{_ROOM}.onnx_runtime.gpu_ort:GpuOrt",
    "gpu-tftrt": f"{_ROOM}.tensorflow.gpu_tftrt:GpuTfTrt",
    "gpu-torch": f"{_ROOM}.pytorch.gpu_torch:GpuTorch",
    "gpu-trt": f"{_ROOM}.tensorrt.gpu_trt:GpuTrt",
    "gpu-trt-rtx": f"{_ROOM}.tensorrt.gpu_trt_rtx:GpuTrtRtx",
    "inf1": f"{_ROOM}.neuron.inf1:Inf1",
    "inf2": f"{_ROOM}.neuron.inf2_trn1:Inf2",
    "trn1": f"{_ROOM}.neuron.inf2_trn1:Trn1",
    "eia": f"{_ROOM}.eia:ElasticInference",
    "sagemaker": f"{_ROOM}.sagemaker.sagemaker:SageMaker",
}


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence about a wrong word: ``, did you mean 'x'?``, or a full stop when none is close."""
    close = difflib.get_close_matches(word, list(valid), n=1)
    return f", did you mean {close[0]!r}?" if close else "."


class Registry:
    """All accelerators by name; later sources replace earlier ones of the same name."""

    def __init__(self, references: Mapping[str, str] = BUILTIN) -> None:
        self._references = dict(references)

    @classmethod
    def discover(cls, added: Iterable[Mapping[str, str]] = ()) -> Registry:
        """Our own accelerators, then the entry points of installed packages, then ``added``."""
        from importlib.metadata import entry_points

        references = dict(BUILTIN)
        references.update((point.name, point.value) for point in entry_points(group=ENTRY_POINT_GROUP))
        for more in added:
            references.update(more)
        return cls(references)

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._references)

    def reference(self, name: str) -> str:
        """``"module:Class"`` of an accelerator; a `UsageError` names the nearest one when there is none."""
        try:
            return self._references[name]
        except KeyError:
            valid = ", ".join(self.names)
            raise UsageError(f"unknown accelerator {name!r}{nearest(name, self.names)} Known: {valid}") from None

    def find(self, name: str) -> type[Accelerator]:
        """Return the accelerator's class."""
        reference = self.reference(name)
        module, _, attribute = reference.partition(":")
        try:
            found: type[Accelerator] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"accelerator {name!r} is registered as {reference!r}, which cannot be imported: {error}"
            ) from error
        return found
