"""Read on which machine an accelerator is: ``gpu-trt=ssh=me@gpu-box//python=/opt/trt/bin/python``.

The parts behind the accelerator's name are written as execnet writes them. Nobody is connected to here.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.settings import Host
from pytest_accel.inputs.registry import nearest

#: EXAMPLE is what an error shows of an accelerator and its host.
EXAMPLE = "gpu-trt=ssh=me@gpu-box//python=/opt/trt/bin/python"
#: _VARIABLE begins a part that sets a variable of the environment there.
_VARIABLE = "env:"
_PARTS = ("ssh", "python", f"{_VARIABLE}NAME")


def read_hosts(lines: Iterable[str]) -> dict[str, Host]:
    """Return the host of each accelerator that a line names.

    Raises `UsageError` that quotes the line and the part of it that cannot be right.
    """
    found: dict[str, Host] = {}
    for line in lines:
        name, separator, parts = (text.strip() for text in line.partition("="))
        if not (name and separator and parts):
            raise UsageError(f"{line!r} is not NAME=ssh=HOST, for example {EXAMPLE}")
        if name in found:
            raise UsageError(f"{line!r}: {name} has a host already, so leave one of them out")
        try:
            found[name] = read_host(parts)
        except UsageError as error:
            raise UsageError(f"{line!r}: {error}") from None
    return found


def read_host(text: str) -> Host:
    """Return the host of ``ssh=HOST//python=PATH//env:NAME=VALUE``, of which only ``ssh`` has to be there.

    Raises `UsageError` that quotes the part which cannot be right.
    """
    given: dict[str, str] = {}
    for part in text.split("//"):
        key, value = _key_and_value(part)
        if key in given:
            raise UsageError(f"{key}= is there twice, so leave one of them out")
        given[key] = value
    destination = given.get("ssh", "").split()[-1:]
    if not destination:
        raise UsageError(f"it has no ssh=HOST, for example {EXAMPLE.partition('=')[2]}")
    if destination[0].startswith("-"):
        raise UsageError(f"ssh={given['ssh']} names no host behind the options of ssh")
    variables = {key.removeprefix(_VARIABLE): value for key, value in given.items() if key.startswith(_VARIABLE)}
    host = Host(given["ssh"], environment=tuple(variables.items()))
    return host._replace(python=given["python"]) if "python" in given else host


def _key_and_value(part: str) -> tuple[str, str]:
    key, separator, value = (text.strip() for text in part.partition("="))
    if not separator:
        raise UsageError(f"{part!r} is not KEY=VALUE, and // stands only between two parts")
    if key.startswith(_VARIABLE):
        name = key.removeprefix(_VARIABLE)
        if not (name.isascii() and name.isidentifier()):
            raise UsageError(f"{name!r} in {part!r} is no name of a variable")
        return key, value
    if key not in _PARTS:
        raise UsageError(f"{key!r} is none of {', '.join(_PARTS)}{nearest(key, _PARTS)}")
    if not value:
        raise UsageError(f"{part!r} has no value")
    return key, value
