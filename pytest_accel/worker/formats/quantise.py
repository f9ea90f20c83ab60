"""INT8 or FP8 by static quantisation of an ONNX model, with ranges observed on calibration batches.

The result is in Q/DQ form: the operators stay, and pairs of QuantizeLinear and DequantizeLinear stand around them.
In INT8 weights are quantised per channel. With ``int8`` activations the form is symmetric, which TensorRT reads. With
``uint8`` activations it is asymmetric, for which ONNX Runtime has fast kernels on x86. ``fp8`` activations and weights
are E4M3 with one scale for a tensor, of which a spread is learnt in place of a range.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import AbstractSet, Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Progress, Refused
from pytest_accel.worker.formats import graph_precisions, onnx_file
from pytest_accel.worker.vendor_errors import explained

#: QUANTISED_ALREADY says why a model is not quantised once more in a ``precision``.
QUANTISED_ALREADY = (
    "the model is quantised already, and its ranges are not learnt anew: leave precision={precision!r} out to measure "
    "it as it is, or pass the model as it was before it was quantised"
)
ACTIVATIONS = ("uint8", "int8")
#: CALIBRATED are the precisions that are learnt from calibration data.
CALIBRATED = ("int8", "fp8")


class _Form(NamedTuple):
    """A form of Q/DQ in ONNX Runtime's names.

    ``learns`` is how it finds scales. ``operators`` are those that are quantised, all that can be where none is named.
    """

    activations: str
    weights: str
    learns: str = "MinMax"
    per_channel: bool = True
    operators: Tuple[str, ...] = ()


_FORMS = {
    "uint8": _Form("QUInt8", "QInt8"),
    "int8": _Form("QInt8", "QInt8"),
    # ONNX Runtime learns no spread for other operators, and TensorRT has no FP8 for them.
    "fp8": _Form("QFLOAT8E4M3FN", "QFLOAT8E4M3FN", "Distribution", False, ("Conv", "MatMul", "Gemm")),
}


def require(calibration: Sequence[Arrays], precision: str = "int8") -> None:
    """Refuse a calibrated precision without calibration data."""
    if not calibration:
        wanted = "pass calibration=, a few hundred samples like those to be served"
        raise Refused(f"{precision.upper()} needs calibration data: {wanted}")


def quantise(
    model: Any,
    calibration: Sequence[Arrays],
    activations: str,
    progress: Progress,
    scratch: str,
    *,
    reduce_range: bool = False,
) -> Any:
    """Return the model with ``activations`` of a type. Every calibration batch has the model's batch size.

    Large weights of a large model are in files of the folder ``scratch``. With ``reduce_range`` weights have 7 bits,
    which ONNX Runtime advises where products of 8 bits overflow.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if graph_precisions.is_quantised(model):
        raise Refused(QUANTISED_ALREADY.format(precision="fp8" if activations == "fp8" else "int8"))
    weights = {tensor.name for tensor in model.graph.initializer}
    check_inputs({value.name for value in model.graph.input} - weights, calibration)
    form, symmetric = _FORMS[activations], activations != "uint8"
    path = os.path.join(scratch, "quantised.onnx")
    try:
        fused = _fused(model, scratch)
        with redirect_stdout(sys.stderr):  # it prints what its histograms have
            quantize_static(
                fused,
                path,
                _Reader(calibration, progress),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(form.operators),
                per_channel=form.per_channel,
                reduce_range=reduce_range,
                activation_type=QuantType[form.activations],
                weight_type=QuantType[form.weights],
                nodes_to_exclude=_with_scalars(fused) if symmetric else [],
                use_external_data_format=onnx_file.has_files(model),
                calibrate_method=CalibrationMethod[form.learns],
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


def _with_scalars(path: str) -> List[str]:
    """Return the nodes of a file that take a constant of rank 0, for which TensorRT has no Q/DQ. Each gets a name."""
    import onnx

    model = onnx_file.read_graph(path)
    scalars = {tensor.name for tensor in model.graph.initializer if not tensor.dims}
    nodes = [node for node in model.graph.node if not scalars.isdisjoint(node.input)]
    for node in nodes:
        node.name = node.name or f"{node.op_type} of {node.output[0]}"
    onnx.save(model, path)
    return [node.name for node in nodes]
