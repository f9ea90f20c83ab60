"""Arrays as plain data: dtype, shape and bytes.

Arrays cross between controller and worker in this form only. Nothing is pickled. So both sides may have different
versions of Python and NumPy, and nothing that is read can run code. A large array for a worker on another machine may
be in a file there, which is named by its digest. A controller reads no file that a worker names.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

import numpy as np

#: Plain is a request, or a reply, as plain data.
Plain = Dict[str, Any]
#: Packed is an array as plain data. A worker may find its bytes in a file, by the ``path`` in place of ``data``.
Packed = Dict[str, Any]

#: _NUMERIC_KINDS are the kinds of arrays whose bytes are their value: booleans, integers, floats and complex numbers.
_NUMERIC_KINDS = "biufc"


#: _OF_AN_EXTENSION is what NumPy says of a type that another package has added.
_OF_AN_EXTENSION = 2
#: INSTEAD is what to do about a model that takes or gives a type that NumPy does not have.
INSTEAD = "export the model with a cast inside, so that its inputs and outputs are of a type such as float32"
#: _WIDENED names the types that NumPy does not have, and whose every value float32 has too.
_WIDENED = ("bfloat16", "float8", "float6", "float4")


class NotNumeric(TypeError):
    """An array of objects, strings or an extension type, whose bytes mean nothing on the other side."""


def is_numeric(dtype: str) -> bool:
    """Return whether NumPy has a type of this name for numbers. It has no bfloat16, no float8 and no int4."""
    try:
        return _is_numeric(np.dtype(dtype))
    except TypeError:
        return False


def _is_numeric(dtype: np.dtype) -> bool:
    return dtype.kind in _NUMERIC_KINDS and dtype.isbuiltin != _OF_AN_EXTENSION


def pack(array: np.ndarray, name: str = "array") -> Packed:
    """Return ``array`` as ``{"dtype", "shape", "data"}``; ``name`` is for the message of `NotNumeric`.

    A bfloat16 of TensorFlow's becomes a float32, which has the same value.
    """
    if not _is_numeric(array.dtype) and array.dtype.name.startswith(_WIDENED):
        array = array.astype(np.float32)
    if not _is_numeric(array.dtype):
        raise NotNumeric(
            f"{name!r} has dtype {array.dtype}, which cannot be sent to or from a worker: "
            "convert it to booleans, integers or floats"
        )
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def unpack(packed: Packed) -> np.ndarray:
    """Return the array. It is read-only, because it shares the bytes that came."""
    return np.frombuffer(packed["data"], dtype=np.dtype(packed["dtype"])).reshape(packed["shape"])


def legible(plain: Any) -> Any:
    """Return plain data whose texts are all UTF-8: a lone surrogate becomes an escape that can be read.

    Names of files and words of vendors have such halves of characters, and no text that is sent or written may.
    """
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(plain, dict):
        return {legible(name): legible(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [legible(value) for value in plain]
    return plain


def pack_all(arrays: Mapping[str, np.ndarray]) -> Dict[str, Packed]:
    """Pack one batch of inputs or outputs by name."""
    return {name: pack(np.asarray(array), name) for name, array in arrays.items()}


def unpack_all(packed: Mapping[str, Packed]) -> Dict[str, np.ndarray]:
    """Undo `pack_all`."""
    return {name: unpack(array) for name, array in packed.items()}


def received_all(packed: Mapping[str, Packed]) -> Dict[str, np.ndarray]:
    """Undo `pack_all` in a worker, which reads the arrays that are in files of its machine."""
    return {name: unpack(_with_data(array)) for name, array in packed.items()}


def _with_data(packed: Packed) -> Packed:
    if "path" not in packed:
        return packed
    with open(packed["path"], "rb") as file:
        return {**packed, "data": file.read()}
