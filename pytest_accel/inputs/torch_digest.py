"""The digest of a PyTorch model: of all that decides what it computes.

An exported program is its graph and its weights. A module is more: its classes, and what it keeps beside its weights,
such as a number of heads or a configuration, neither of which its text shows.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from pytest_accel.inputs.classes import class_name, code, package
from pytest_accel.worker.formats import torch_model

#: _PLAIN are the types whose texts say all about a value.
_PLAIN = (str, bytes, bool, int, float, complex, type(None))
#: _NOT_SETTINGS are attributes of a module that change nothing, as a model is exported for inference, or that are
#: looked at elsewhere.
_NOT_SETTINGS = frozenset({"training", "example_input_array"})


def torch_digest(model: Any, *, is_program: bool) -> str:
    """Return the sha256 of a program, or of a module with its classes, settings and example; and PyTorch's version."""
    if is_program:
        texts = [str(model.graph_module.code), str(model.range_constraints), str(model.call_spec)]
        tensors = {**model.state_dict, **model.constants}
    else:
        texts = [repr(model), *_own_code(model), *_settings(model), torch_model.described(model.example_input_array)]
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    whole = hashlib.sha256("\0".join([*texts, str(sys.modules["torch"].__version__)]).encode())
    for key, tensor in sorted(tensors.items()):
        whole.update(f"{key}\0{_tensor(tensor)}".encode())
    return whole.hexdigest()


def _own_code(module: Any) -> list[str]:
    foreign = {"torch", *sys.stdlib_module_names}
    own_classes = {base for part in module.modules() for base in type(part).__mro__ if package(base) not in foreign}
    return sorted(map(code, own_classes))


def _settings(module: Any) -> Iterator[str]:
    """Yield the attributes of a module and the modules inside it that are no weights."""
    of_every_module = {*vars(sys.modules["torch"].nn.Module()), *_NOT_SETTINGS}
    for name, part in module.named_modules():
        for key, value in sorted(vars(part).items()):
            if key not in of_every_module:
                yield f"{name}.{key}={_described(value, set())}"


def _described(value: Any, seen: set[int]) -> str:
    """Return a text that is the same in every process, and another one for another value."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in seen or hasattr(value, "named_modules"):
        return class_name(type(value))  # described already, or described as a part of the model
    seen = {*seen, id(value)}
    if hasattr(value, "detach"):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return str(sorted((str(key), _described(part, seen)) for key, part in value.items()))
    if isinstance(value, AbstractSet):
        return str(sorted(_described(part, seen) for part in value))
    if isinstance(value, (list, tuple)):
        return str([_described(part, seen) for part in value])
    return f"{class_name(type(value))}{_inside(value, seen)}"


def _inside(value: Any, seen: set[int]) -> str:
    if isinstance(value, functools.partial):
        return _described([value.func, value.args, value.keywords], seen)
    if inspect.isroutine(value) or isinstance(value, type):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return str(getattr(value, "__qualname__", ""))
    if hasattr(value, "__dict__"):
        return _described(vars(value), seen)
    return "" if " at 0x" in str(value) else str(value)


def _tensor(tensor: Any) -> str:
    content = hashlib.sha256(torch_model.content(tensor)).hexdigest()
    return f"{tensor.dtype}{tuple(tensor.shape)}{content}"
