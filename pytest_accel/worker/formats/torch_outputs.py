"""The outputs of a PyTorch module, by name: whatever the module returns becomes a flat dict of tensors.

A dict, a dataclass, a named tuple and any other object name their tensors themselves. Names of objects inside of
objects are joined. A program that others have exported may return a class that is not installed here; a stand-in keeps
the tensors and their names.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import zipfile
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

from pytest_accel.worker.accelerator import Refused

#: _CLASS finds the classes in the text of a program: its description of what is returned is JSON inside of JSON.
_CLASS = re.compile(r'\\"type\\": \\"([\w.<>]+)\\"')


@contextmanager
def named_outputs(module: Any) -> Iterator[None]:
    """Let ``module`` return a flat dict of its tensors. Raises `Refused` in a call that returns no tensor."""
    forward = module.forward

    @functools.wraps(forward)
    def flat(*args: Any, **kwargs: Any) -> Dict[str, Any]:
        return by_name(forward(*args, **kwargs))

    own = "forward" in vars(module)
    module.forward = flat
    try:
        yield
    finally:
        if own:
            module.forward = forward
        else:
            del module.forward


def by_name(returned: Any) -> Dict[str, Any]:
    """Return the tensors in what a module returned, by name. Tensors of a plain sequence are numbered."""
    found = list(_leaves(returned, "", set()))
    if isinstance(returned, (tuple, list)) and not hasattr(returned, "_fields"):
        names = output_numbers(len(found))
        found = [(name, tensor) for name, (_, tensor) in zip(names, found)]
    if not found:
        raise Refused(f"it returns a {type(returned).__name__} without tensors: return at least one")
    tensors: Dict[str, Any] = {}
    for name, tensor in found:
        while name in tensors:
            name += "_"
        tensors[name] = tensor
    return tensors


def output_numbers(count: int) -> List[str]:
    """Return the names of outputs that have none of their own."""
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]


def _leaves(value: Any, name: str, seen: Set[int]) -> Iterator[Tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name or "output", value
    elif id(value) not in seen and not isinstance(value, (torch.nn.Module, type)):
        seen.add(id(value))  # of an object that contains itself
        for key, part in _parts(value):
            yield from _leaves(part, f"{name}_{key}" if name else str(key), seen)
        seen.discard(id(value))


def _parts(value: Any) -> Iterator[Tuple[Any, Any]]:
    """Yield what an object consists of, by name or by number. Numbers, texts and None consist of nothing."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value)
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif hasattr(value, "__dict__") and not callable(value):
        yield from ((key, part) for key, part in vars(value).items() if not key.startswith("_"))


def names_of(spec: Any, count: int) -> List[str]:
    """Return the names of the ``count`` outputs of a program, from PyTorch's description of what it returns."""
    names = list(_spec_names(spec, ""))
    is_sequence = spec.type in (tuple, list)
    return names if len(set(names)) == len(names) == count and not is_sequence else output_numbers(count)


def _spec_names(spec: Any, name: str) -> Iterator[str]:
    children = spec.children() if hasattr(spec, "children") else spec.children_specs  # before PyTorch 2.9
    if not children:
        if spec.num_leaves:
            yield name or "output"
        return
    for key, child in zip(_keys(spec.context, len(children)), children):
        yield from _spec_names(child, f"{name}_{key}" if name else str(key))


def _keys(context: Any, count: int) -> List[Any]:
    """Return the keys of a dict or class, as its context has them; of anything else the numbers."""
    fields = getattr(context, "_fields", context)
    if isinstance(fields, list) and len(fields) == 2 and all(isinstance(part, list) for part in fields):
        fields = fields[0]  # of a dataclass: the fields with a value, and those that are None
    known = isinstance(fields, (list, tuple)) and len(fields) == count
    return list(fields) if known else list(range(count))


def stand_in_for_classes(path: str) -> None:
    """Give PyTorch a stand-in for each class that a program in this file returns and that is not registered here."""
    from torch.utils import _pytree as pytree

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            texts = [
                archive.read(name).decode("utf-8", "replace") for name in archive.namelist() if name.endswith(".json")
            ]
        for name in sorted({name for text in texts for name in _CLASS.findall(text)}):
            if name not in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE:
                _stand_in(name)


def _stand_in(name: str) -> None:
    """Register a class that keeps its parts and their names, in place of the one with this name."""
    from torch.utils import _pytree as pytree

    class StandIn:
        def __init__(self, parts: Any, context: Any) -> None:
            self.parts, self.context = list(parts), context

    pytree.register_pytree_node(
        StandIn,
        lambda value: (value.parts, value.context),
        lambda parts, context: StandIn(parts, context),
        serialized_type_name=name,
    )
