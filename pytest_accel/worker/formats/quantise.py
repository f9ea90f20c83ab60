"""INT8 by static quantisation of an ONNX model, with ranges observed on calibration batches.

The result is in Q/DQ form: the operators stay, and pairs of QuantizeLinear and DequantizeLinear stand around them.
Weights are quantised per channel. With ``int8`` activations the form is symmetric, which TensorRT reads. With
``uint8`` activations it is asymmetric, for which ONNX Runtime has fast kernels on x86.
"""

from __future__ import annotations

import os
from typing import AbstractSet, Any, Iterator, Optional, Sequence

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Progress, Refused
from pytest_accel.worker.formats import graph_precisions, onnx_file
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


def quantise(model: Any, calibration: Sequence[Arrays], activations: str, progress: Progress, scratch: str) -> Any:
    """Return the model in INT8. Every calibration batch has the model's batch size.

    Large weights of a large model are in files of the folder ``scratch``.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if graph_precisions.is_quantised(model):
        raise Refused(QUANTISED_ALREADY)
    weights = {tensor.name for tensor in model.graph.initializer}
    check_inputs({value.name for value in model.graph.input} - weights, calibration)
    symmetric = activations == "int8"
    path = os.path.join(scratch, "quantised.onnx")
    try:
        quantize_static(
            _fused(model, scratch),
            path,
            _Reader(calibration, progress),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=onnx_file.has_files(model),
            # TensorRT has no INT32 bias; ONNX Runtime quantises it by itself when it loads the model.
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": False},
        )
    except Refused:
        raise
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise Refused(explained("ONNX Runtime cannot quantise this model", error)) from error
    return onnx_file.read(path)


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


def _fused(model: Any, scratch: str) -> str:
    """Write the model after ONNX Runtime's portable rewrites, so that no range splits operators that run as one."""
    import onnxruntime

    source = os.path.join(scratch, "source.onnx")
    onnx_file.write(model, source)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    fused = os.path.join(scratch, "fused.onnx")
    options.optimized_model_filepath = fused
    if onnx_file.has_files(model):
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "fused.onnx.data")
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return fused
