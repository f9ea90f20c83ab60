"""What a module has under some names, as JSON: ``python -m tests.contract.surface MODULE NAME...``.

Members of enums with their values, attributes of classes, and the parameters of what can be called: from the code
where it is Python's, else from the first lines of a docstring, where pybind11 and Cython put them. It runs in a process
of its own, so that a vendor's module and the stand-in for it can be compared.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Surface = dict[str, Any]

#: For parameters: a class without a constructor of its own, whose objects the SDK makes.
UNTOLD = "parameters are not told"


def surface(module: object, names: Iterable[str]) -> Surface:
    """By name what a module has; names that it has not are left out."""
    return {name: _described(getattr(module, name)) for name in names if hasattr(module, name)}


def lacking(standin: Surface, real: Surface, where: str = "") -> list[str]:
    """What a stand-in has and the vendor's module has not, or has differently."""
    found = []
    for name, have in standin.items():
        place, theirs = f"{where}{name}", real.get(name)
        if theirs is None:
            found.append(f"{place}: there is none")
        elif theirs == UNTOLD:
            continue
        elif isinstance(have, dict) and isinstance(theirs, dict):
            found += lacking(have, theirs, f"{place}.")
        elif isinstance(have, list) and isinstance(theirs, list):
            if not any(_takes(parameters, have[0]) for parameters in theirs):
                found.append(f"{place}: takes {theirs}, not {have[0]}")
        elif have != theirs:
            found.append(f"{place}: is {theirs}, not {have}")
    return found


def _takes(parameters: list[str], given: list[str]) -> bool:
    """Whether a call with these parameters fits; those with a default end with ``=``."""
    names = [name.rstrip("=") for name in parameters]
    mine = [name.rstrip("=") for name in given]
    return names[: len(mine)] == mine and all(name.endswith("=") for name in parameters[len(mine) :])


def _described(thing: Any) -> Any:
    members: Mapping[str, Any] | None = getattr(thing, "__members__", None)
    if members is not None:
        return {name: int(member) for name, member in members.items()}
    if isinstance(thing, type):
        names = {*vars(thing), *vars(thing).get("__annotations__", {})}
        return {name: _attribute(thing, name) for name in names if not name.startswith("_") or name == "__init__"}
    if callable(thing):
        return _signatures(thing)
    return thing


def _attribute(owner: type, name: str) -> Any:
    value = vars(owner).get(name)
    if not callable(value) or isinstance(value, property) or hasattr(value, "__members__"):
        return "an attribute"
    return _signatures(value)


def _signatures(function: Callable[..., Any]) -> Any:
    """The parameters of each overload without ``self``."""
    if inspect.isfunction(function):
        parameters = inspect.signature(function).parameters.values()
        named = [each.name + ("=" if each.default is not each.empty else "") for each in parameters]
        return [[name for name in named if name != "self"]]
    lines = [re.sub(r"^\d+\. ", "", line) for line in (function.__doc__ or "").splitlines()]
    calls = [line for line in lines if line.startswith(f"{function.__name__}(") and "*args, **kwargs" not in line]
    return [_parameters(line) for line in calls] or UNTOLD


def _parameters(line: str) -> list[str]:
    """``f(self: A, size_t n, kind: B = <B.x: 1>) -> C`` has n and kind, the latter with a default."""
    inside = line[line.index("(") + 1 : line.rindex(")", 0, line.rindex(" -> ") if " -> " in line else None)]
    while (simpler := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", inside)) != inside:
        inside = simpler
    named = [
        part.partition(":")[0].partition("=")[0].split()[-1] + ("=" if "=" in part else "")
        for part in inside.split(",")
        if part.strip()
    ]
    return [name for name in named if name != "self"]


if __name__ == "__main__":
    print(json.dumps(surface(importlib.import_module(sys.argv[1]), sys.argv[2:])))
