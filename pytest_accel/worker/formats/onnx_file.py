"""ONNX files and the weights that lie beside them, read and written without one message of all.

A message of Protocol Buffers ends at 2 GB. So the large weights of a large model stay in files, also while it is
worked on: a tensor in memory then names its file by the whole path. Links are followed as ONNX Runtime follows them:
weights lie in the model's folder, or in that of the file which the model is a link to.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.vendor_errors import explained

#: ONE_MESSAGE_BYTES is the most bytes of a model whose weights are all held in its message. What makes one message of
#: another, such as inferring shapes, needs room for more.
ONE_MESSAGE_BYTES = 2**30
#: LARGE_TENSOR_BYTES is the least size of a tensor that stays in a file. Smaller ones may be shapes that are looked at.
LARGE_TENSOR_BYTES = 1024
#: _ALIGNMENT is the number of bytes that a tensor in a file begins at a multiple of, so that the file can be mapped.
_ALIGNMENT = 4096
#: _CHUNK is the number of bytes that are copied at a time.
_CHUNK = 1 << 24


class Place(NamedTuple):
    """Where the values of a tensor lie: a file by its whole path, and the bytes in it."""

    file: str
    offset: int
    length: int


def read(path: str) -> Any:
    """Return the model of an ``.onnx`` file. Raises `Refused` when the file or its weights cannot be read.

    The weights are in it, but for the large ones of a large model.
    """
    model = read_graph(path)
    places = [(tensor, _place(tensor, path)) for tensor in outside(model)]
    all_bytes = os.path.getsize(path) + sum(place.length for _, place in places)
    for tensor, place in places:
        if all_bytes > ONE_MESSAGE_BYTES and place.length >= LARGE_TENSOR_BYTES:
            _put_outside(tensor, place.file, place.offset, place.length)
        else:
            _put_inside(tensor, place)
    return model


def read_graph(path: str) -> Any:
    """Return the model of an ``.onnx`` file without the weights beside it, which keep the names of the file."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise Refused(explained(f"{path} cannot be read as an ONNX model", error)) from error


def write(model: Any, path: str) -> None:
    """Write the model: a large one with a second file for its large weights, in which the model then has them too."""
    import onnx

    moved: Dict[int, Place] = {}
    tensors = [tensor for tensor in tensors_of(model) if _length(tensor) >= LARGE_TENSOR_BYTES]
    if sum(map(_length, tensors)) > ONE_MESSAGE_BYTES:
        file = f"{path}.data"
        with open(file, "wb") as data:
            moved = {number: _moved(tensor, data, file) for number, tensor in enumerate(tensors)}
        for number, place in moved.items():
            _put_outside(tensors[number], os.path.basename(file), place.offset, place.length)
    else:
        for tensor in outside(model):
            _put_inside(tensor, _stated(tensor))
    onnx.save(model, path)
    for number, place in moved.items():
        _put_outside(tensors[number], *place)


def has_files(model: Any) -> bool:
    """Return whether some weights of a model in memory are in files, as those of a large one are."""
    return any(True for _ in outside(model))


def require_one_message(model: Any, what: str) -> None:
    """Raise `Refused` where ``what`` would need all weights of a large model in one message."""
    if has_files(model):
        raise Refused(
            f"{what} needs a model whose weights are less than {ONE_MESSAGE_BYTES / 2**30:g} GiB: convert it "
            f"before the test, and pass the result"
        )


@contextmanager
def without_links(path: str) -> Iterator[str]:
    """Give the path of the same model and weights as plain files of one folder, for a runtime that follows no links."""
    model = read_graph(path)
    places = {tensor_number: _place(tensor, path) for tensor_number, tensor in enumerate(outside(model))}
    if all(_is_plain(place.file, path) for place in places.values()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        names = {file: str(number) for number, file in enumerate(sorted({place.file for place in places.values()}))}
        for file, name in names.items():
            _link_or_copy(file, os.path.join(folder, name))
        for number, tensor in enumerate(outside(model)):
            _put_outside(tensor, names[places[number].file], places[number].offset, places[number].length)
        copy = os.path.join(folder, os.path.basename(path))
        with open(copy, "wb") as written:
            written.write(model.SerializeToString())
        yield copy


def tensors_of(model: Any) -> Iterator[Any]:
    """Yield all tensors of a model: its weights, those of graphs inside it, and the constants of its nodes."""
    for graph in graphs_of(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def nodes_of(model: Any) -> Iterator[Any]:
    """Yield all nodes of a model, of graphs and functions inside it too."""
    for graph in graphs_of(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield a graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner: List[Any] = [attribute.g] if attribute.HasField("g") else []
            for each in (*inner, *attribute.graphs):
                yield from graphs_of(each)


def outside(model: Any) -> Iterator[Any]:
    """Yield the tensors of a model whose values are in a file."""
    import onnx

    yield from (tensor for tensor in tensors_of(model) if tensor.data_location == onnx.TensorProto.EXTERNAL)


def _stated(tensor: Any) -> Place:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return Place(entries.get("location", ""), int(entries.get("offset", 0)), int(entries.get("length", -1)))


def _place(tensor: Any, path: str) -> Place:
    """Return where the values of a tensor in the file ``path`` lie. Raises `Refused` where they do not."""
    location, offset, length = _stated(tensor)
    folder = os.path.dirname(os.path.abspath(path))
    named = os.path.join(folder, location)
    file = os.path.realpath(named)
    cannot = f"{path} cannot be read as an ONNX model"
    allowed = (os.path.realpath(folder), os.path.dirname(os.path.realpath(path)))
    if os.path.isabs(location) or not any(os.path.commonpath([file, inside]) == inside for inside in allowed):
        raise Refused(
            f"{cannot}: its weights are in {file}, outside of its folder, where ONNX Runtime reads none: put that file "
            f"beside the model"
        )
    if not os.path.isfile(file):
        raise Refused(
            f"{cannot}: its weights are not in {named}: put that file beside the model, or save the model as one file"
        )
    size = os.path.getsize(file)
    length = size - offset if length < 0 else length
    if offset + length > size:
        raise Refused(f"{cannot}: {named} ends within the weights {tensor.name!r}: it is cut off, so fetch it again")
    return Place(file, offset, length)


def _is_plain(file: str, path: str) -> bool:
    """Return whether a file with weights is no link, and is in the folder of the model's own name."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return os.path.commonpath([file, folder]) == folder


def _put_outside(tensor: Any, location: str, offset: int, length: int) -> None:
    import onnx

    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _put_inside(tensor: Any, place: Place) -> None:
    import onnx

    with open(place.file, "rb") as file:
        file.seek(place.offset)
        tensor.raw_data = file.read(place.length)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT


def _length(tensor: Any) -> int:
    """Return how many bytes of values a tensor has, in its message or in a file; of other forms than bytes none."""
    return len(tensor.raw_data) or (_stated(tensor).length if tensor.external_data else 0)


def _moved(tensor: Any, data: BinaryIO, file: str) -> Place:
    """Append the values of a tensor to a file."""
    data.seek(-(-data.seek(0, os.SEEK_END) // _ALIGNMENT) * _ALIGNMENT)
    offset = data.tell()
    if tensor.raw_data:
        data.write(tensor.raw_data)
    else:
        _copy(_stated(tensor), data)
    return Place(file, offset, _length(tensor))


def _copy(place: Place, data: BinaryIO) -> None:
    with open(place.file, "rb") as source:
        source.seek(place.offset)
        left = place.length
        while left:
            chunk = source.read(min(left, _CHUNK))
            data.write(chunk)
            left -= len(chunk)


def _link_or_copy(file: str, name: str) -> None:
    try:
        os.link(file, name)
    except OSError:  # another disk, or one without such links
        shutil.copyfile(file, name)
