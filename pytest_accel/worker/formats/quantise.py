"""INT8 by static quantisation of an ONNX model, with ranges observed on calibration batches.

The result is in Q/DQ form: the operators stay, and pairs of QuantizeLinear and DequantizeLinear stand around them.
Weights are quantised per channel. With ``int8`` activations the form is symmetric, which TensorRT reads. With
``uint8`` activations it is asymmetric, for which ONNX Runtime has fast kernels on x86.
"""

from __future__ import annotations

import os
import tempfile
from typing import AbstractSet, Any, Iterator, Optional, Sequence

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Progress, Refused
from pytest_accel.worker.formats import graph_precisions
from pytest_accel.worker.vendor_errors import explained

#: QUANTISED_ALREADY says why a model is not quantised once more.
QUANTISED_ALREADY = (
    "the model is quantised already, and its ranges are not learnt anew: leave precision='int8' out to measure it as "
    "it is, or pass the model as it was before it was quantised"
)
ACTIVATIONS = ("uint8", "int8")


def require(calibration: Sequence[Arrays]) -> None:
    """Refuse INT8 without calibration data."""
    if not calibration:
        raise Refused("INT8 needs calibration data: pass calibration=, a few hundred samples like those to be served")


def quantise(model: Any, calibration: Sequence[Arrays], activations: str, progress: Progress) -> Any:
    """Return the model in INT8. Every calibration batch has the model's batch size."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if graph_precisions.is_quantised(model):
        raise Refused(QUANTISED_ALREADY)
    weights = {tensor.name for tensor in model.graph.initializer}
    check_inputs({value.name for value in model.graph.input} - weights, calibration)
    symmetric = activations == "int8"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "quantised.onnx")
        try:
            quantize_static(
                _fused(model, folder),
                path,
                _Reader(calibration, progress),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # TensorRT has no INT32 bias; ONNX Runtime quantises it by itself when it loads the model.
                extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": False},
            )
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Refused(explained("ONNX Runtime cannot quantise this model", error)) from error
        return onnx.load(path)


class _Reader:
    """A reader with the method of ONNX Runtime's CalibrationDataReader; None ends the reading."""

    def __init__(self, batches: Sequence[Arrays], progress: Progress) -> None:
        self._batches = self._reported(batches, progress)

    def get_next(self) -> Optional[Arrays]:
        """Return the next batch, or None."""
        return next(self._batches, None)

    @staticmethod
    def _reported(batches: Sequence[Arrays], progress: Progress) -> Iterator[Arrays]:
        for number, batch in enumerate(batches):
            progress(number / len(batches), f"calibrating with batch {number + 1} of {len(batches)}")
            yield batch
        progress(None, "quantising")


def check_inputs(expected: AbstractSet[str], calibration: Sequence[Arrays]) -> None:
    """Refuse calibration batches with other inputs than the model's, or from which no range can be learnt."""
    for batch in calibration:
        if batch.keys() != expected:
            raise Refused(f"calibration: the model takes the inputs {sorted(expected)}, got {sorted(batch)}")
        for name, values in batch.items():
            if not np.isfinite(values).all():
                raise Refused(f"calibration: input {name!r} holds NaN or infinite values, of which no range is learnt")


def _fused(model: Any, folder: str) -> Any:
    """Return the model after ONNX Runtime's portable rewrites, so that no range splits operators that run as one."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = os.path.join(folder, "fused.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)
