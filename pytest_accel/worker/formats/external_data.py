"""The files in which an ONNX model keeps its weights beside itself.

The model names them, under any name, so its neighbours say nothing. Only the fields that lead to such a name are read,
by their numbers in ONNX's ``onnx.proto``: the package ``onnx`` is not where the controller is, and would load all that
is inside. Standard library only.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Dict, Iterator, Mapping, Tuple

#: Field is part of a message: a field's number and its bytes.
Field = Tuple[int, memoryview]

#: _LEADS_TO lists the messages that can hold a tensor, with the fields that lead on: ``{message: {number of the field:
#: message}}``.
_LEADS_TO: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
#: _FIXED_BYTES is the number of bytes of a number of fixed length, by its wire type.
_FIXED_BYTES = {1: 8, 5: 4}


class TooDeep(ValueError):
    """The graphs of a model are nested without an end."""


class _Malformed(ValueError):
    """The bytes are no message of Protocol Buffers."""


def external_files(model: Path) -> Dict[str, Path]:
    """Return the files that an ``.onnx`` file names, by the name that it uses; empty if the file is no ONNX model.

    A file need not exist. Raises `TooDeep`.
    """
    if not model.stat().st_size:
        return {}
    too_deep = False
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        whole = memoryview(content)
        try:
            names = sorted({bytes(name).decode("utf-8", "surrogateescape") for name in _locations(whole, "ModelProto")})
        except (_Malformed, RecursionError) as error:
            names, too_deep = [], isinstance(error, RecursionError)
        finally:
            whole.release()
    if too_deep:  # raised here, where nothing of the file is held any more
        raise TooDeep(f"{model} is no model that can be read: its graphs are nested too deeply")
    return {name: model.parent / name for name in names}


def _locations(message: memoryview, kind: str) -> Iterator[bytes]:
    """Yield the places of all tensors below a message that are outside of the file."""
    if kind == "StringStringEntryProto":
        entry = {number: bytes(value) for number, value in _fields(message)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"")
        return
    for number, value in _fields(message):
        if (inner := _LEADS_TO[kind].get(number)) is not None:
            yield from _locations(value, inner)


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message that have a length; numbers are skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == 0:
            _, at = _varint(message, at)
        elif wire_type in _FIXED_BYTES:
            at += _FIXED_BYTES[wire_type]
        elif wire_type == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise _Malformed
        if at > len(message):
            raise _Malformed


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Malformed
