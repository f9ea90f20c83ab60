"""The bodies of a call to an endpoint: from arrays to what a container takes, and from its answer back to arrays.

TensorFlow Serving's REST API has two forms of JSON: rows (``instances``, answered by ``predictions``) and columns
(``inputs``, answered by ``outputs``). JSON has no dtypes, so an answer is read with those of the model's signature.
NumPy's format, ``npy``, has one array and keeps the dtype. A container takes it only if its ``inference.py`` does.
`pytest_accel.worker.accelerators.sagemaker.endpoint` sends the bodies.
"""

from __future__ import annotations

import io
import json
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Refused, Tensor

#: CONTENT_TYPES has the content type of each form of a request.
CONTENT_TYPES: Mapping[str, str] = {
    "instances": "application/json",
    "inputs": "application/json",
    "npy": "application/x-npy",
}
#: LIMIT_BYTES is how many bytes InvokeEndpoint takes at most for a real-time call.
LIMIT_BYTES = 6_291_456


class UnfitAnswer(RuntimeError):
    """The answer of the endpoint does not fit the model's signature."""


def encoded(inputs: Arrays, form: str, signature: str) -> bytes:
    """Return one batch as the body of a request. Raises `Refused` when it does not fit the form or the limit."""
    if form == "npy":
        body = _npy(inputs)
    else:
        values: Any = _rows(inputs) if form == "instances" else {name: array.tolist() for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature, form: values}, separators=(",", ":")).encode()
    if len(body) > LIMIT_BYTES:
        raise Refused(
            f"the request's body has {len(body):,} bytes and a real-time endpoint takes {LIMIT_BYTES:,}: ask for a "
            "smaller batch_size" + ("" if form == "npy" else ", or payload='npy' where the container takes it")
        )
    return body


def decoded(body: bytes, content_type: str, outputs: Sequence[Tensor]) -> Arrays:
    """Return the arrays in an answer. Raises `UnfitAnswer` when they are not the model's ``outputs``."""
    values = _from_npy(body, outputs) if content_type.startswith(CONTENT_TYPES["npy"]) else _from_json(body, outputs)
    return {tensor.name: _array(values[tensor.name], tensor) for tensor in outputs}


def _rows(inputs: Arrays) -> List[Any]:
    lengths = {name: len(array) if array.ndim else None for name, array in inputs.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise Refused(f"rows need inputs with one batch in common, got {lengths}: ask for payload='inputs'")
    if len(inputs) == 1:
        (array,) = inputs.values()
        rows: List[Any] = array.tolist()
        return rows
    return [dict(zip(inputs, row)) for row in zip(*(array.tolist() for array in inputs.values()))]


def _npy(inputs: Arrays) -> bytes:
    if len(inputs) != 1:
        raise Refused(f"npy holds one array and the model has the inputs {sorted(inputs)}: ask for payload='inputs'")
    (array,) = inputs.values()
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _from_npy(body: bytes, outputs: Sequence[Tensor]) -> Dict[str, Any]:
    names = [tensor.name for tensor in outputs]
    if len(names) != 1:
        raise UnfitAnswer(f"the endpoint answers in npy, which holds one array, and the model has the outputs {names}")
    try:
        return {names[0]: np.load(io.BytesIO(body), allow_pickle=False)}
    except (ValueError, EOFError) as error:
        raise UnfitAnswer(f"the endpoint's answer cannot be read as npy: {error}") from error


def _from_json(body: bytes, outputs: Sequence[Tensor]) -> Dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise UnfitAnswer(f"the endpoint's answer cannot be read as JSON: {error}") from error
    names = [tensor.name for tensor in outputs]
    if not isinstance(answer, dict) or not ({"predictions", "outputs"} & answer.keys()):
        raise UnfitAnswer(f"the endpoint's answer has neither predictions nor outputs: {_beginning(body)}")
    if "predictions" in answer:
        values = _columns(answer["predictions"], names)
    else:
        values = answer["outputs"]
        if len(names) == 1 and not isinstance(values, dict):  # a single output has no name
            values = {names[0]: values}
    if not isinstance(values, dict) or values.keys() != set(names):
        given = sorted(values) if isinstance(values, dict) else "one without a name"
        raise UnfitAnswer(f"the endpoint gives the outputs {given}, the model has {names}: is it the same model?")
    return values


def _columns(rows: Any, names: Sequence[str]) -> Any:
    """Turn rows into columns by output. Rows of a single output have no name; rows of several are objects."""
    if not isinstance(rows, list) or not rows:
        raise UnfitAnswer("the endpoint's predictions are no rows")
    if not all(isinstance(row, dict) for row in rows):
        return {names[0]: rows} if len(names) == 1 else rows
    return {name: [row.get(name) for row in rows] for name in sorted({name for row in rows for name in row})}


def _array(value: Any, tensor: Tensor) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else tensor.dtype)
    except (TypeError, ValueError) as error:
        raise UnfitAnswer(f"the endpoint's output {tensor.name!r} is no {tensor.dtype} tensor: {error}") from error
    fits = len(tensor.shape) == array.ndim and all(
        promised in (None, size) for promised, size in zip(tensor.shape, array.shape)
    )
    if array.dtype.name != tensor.dtype or not fits:
        raise UnfitAnswer(
            f"the endpoint's output {tensor.name!r} is {array.dtype.name}{list(array.shape)}, the model's is "
            f"{tensor.dtype}{list(tensor.shape)}: is it the same model?"
        )
    return array


def _beginning(body: bytes) -> str:
    return body[:200].decode("utf-8", errors="replace")
