"""The ``inf1`` accelerator: AWS Inferentia with tensorflow-neuron.

A model is spread over NeuronCores in two ways. The compiler makes a pipeline, or the runtime makes copies that share
the items of a call with a dynamic batch. The SDK by itself makes as many copies as a chip has cores, where the model
became one Neuron operator; here a variant says how many. Several models at once take free cores, or one core group per
model. Inferentia has no FP32: a precision is what FP32 is cast to. `pytest_accel.worker.accelerators.neuron.base` has
the rest.
"""

from __future__ import annotations

from typing import Any, ClassVar, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Missing, Option, Target
from pytest_accel.worker.accelerators.neuron.base import NEURON_OPTIONS, TensorFlowNeuron
from pytest_accel.worker.hardware import neuron_devices

#: _CASTS has the compiler's names of casts, by the precision and the operators to cast.
_CASTS = {
    ("bf16", "all"): "all",
    ("bf16", "matmult"): "matmult-bf16",
    ("fp16", "all"): "all-fp16",
    ("fp16", "matmult"): "matmult-fp16",
}


class Inf1(TensorFlowNeuron):
    """AWS Inferentia with tensorflow-neuron."""

    name = "inf1"
    chip = neuron_devices.INFERENTIA
    packages = ("tensorflow-neuron", "neuron-cc")
    modules = ("tensorflow_neuron", "tensorflow.neuron")
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "bf16", choices=("bf16", "fp16"), doc="what FP32 is cast to; there is no FP32 here"),
        "fp32_cast": Option(str, "all", choices=("all", "matmult"), doc="which FP32 operators are cast"),
        "neuroncores": Option(int, 1, minimum=1, doc="NeuronCores that one copy is a pipeline over"),
        "data_parallel": Option(
            int,
            1,
            minimum=1,
            compiled_in=False,
            doc="copies that share a call's compiled batches; the SDK by itself makes four",
        ),
        **NEURON_OPTIONS,
    }

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        pipeline, copies = options["neuroncores"], options["data_parallel"]
        if copies > 1 and pipeline > 1:
            return (
                f"the runtime copies no pipeline: neuroncores={pipeline} and data_parallel={copies} exclude each other"
            )
        if copies > cls.chip.cores:
            return (
                f"data_parallel={copies}: the runtime copies a model over one chip's {cls.chip.cores} cores at most; "
                "for more use several models, each with a core_group"
            )
        return super().impossible(options)

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        """Return the chip: AWS documents that a model may be compiled on an instance without it."""
        missing = self.missing_sdk()
        return missing if missing is not None else Target(self.chip.device, self.compiler_versions())

    @staticmethod
    def own_flags(options: Mapping[str, Any]) -> List[str]:
        return [
            f"--neuroncore-pipeline-cores={options['neuroncores']}",
            f"--fp32-cast={_CASTS[options['precision'], options['fp32_cast']]}",
        ]

    @staticmethod
    def visible_cores(options: Mapping[str, Any]) -> int:
        return int(options["neuroncores"] * options["data_parallel"])

    @staticmethod
    def copies(options: Mapping[str, Any]) -> int:
        return int(options["data_parallel"])

    @staticmethod
    def casts(options: Mapping[str, Any]) -> Tuple[str, bool]:
        return {"bf16": "bfloat16", "fp16": "float16"}[options["precision"]], options["fp32_cast"] == "matmult"
