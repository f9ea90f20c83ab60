"""Decodes JSON that people read and edit, and names the line and the field of each mistake.

Which files these are, and what to do about a mistake, is the caller's to say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
#: _AT is the end of msgspec's message when the mistake is inside of something: "- at `$.launches[0].p50_ms`".
_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_NAMES_A_FIELD = re.compile(r"^Object (missing required|contains unknown) field `(.+)`$")


class Malformed(ValueError):
    """The text is not what it should be; ``line`` counts from 1 and ``field`` is like ``launches[0].p50_ms``."""

    def __init__(self, line: int, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.line = line
        self.field = field


def parse(text: str) -> Any:
    """Plain data of a JSON text. Raises `Malformed`."""

    def refuse(constant: str) -> NoReturn:
        raise Malformed(line_at(text, text.find(constant)), "", f"{constant} is no JSON number")

    def finite(number: str) -> float:
        if math.isinf(value := float(number)):
            raise Malformed(line_at(text, text.find(number)), "", f"{number:.20} is too large a number")
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise Malformed(1, "", "not JSON of ours: its brackets are nested too deeply") from None
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} (column {error.colno})"
        if text.startswith("<<<<<<< ", error.pos):
            problem = "an unresolved merge conflict"
        raise Malformed(error.lineno, "", problem) from error
    except Malformed:
        raise
    except ValueError as error:  # Python reads no integer of thousands of digits
        raise Malformed(1, "", f"not JSON of ours: {error}") from error


def convert(data: Any, kind: type[T], text: str) -> T:
    """``data`` as a ``kind``; ``text`` is what it was parsed from. Raises `Malformed`."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        problem, field = _AT.sub("", str(error)), found[1].lstrip(".") if found else ""
        if about := _NAMES_A_FIELD.match(problem):
            field = f"{field}.{about[2]}".lstrip(".")
            problem = "this field is missing" if about[1] == "missing required" else "there is no such field"
        raise Malformed(line_of(text, field), field, problem.replace("`", "")) from error


def line_of(text: str, field: str) -> int:
    """Return the line of a field, or of the innermost thing around it that is there."""
    at = _skip(text, 0)
    for name, index in _STEP.findall(f".{field}"):
        inside = dict(_members(text, at))
        if (step := name or int(index)) not in inside:
            break
        at = inside[step]
    return line_at(text, at)


def line_at(text: str, offset: int) -> int:
    """Return the line of a character."""
    return text.count("\n", 0, offset) + 1


def _members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Name or index of each member of the object or array at ``at``, and where its value begins."""
    opening, index = text[at], 0
    if opening not in "{[":
        return
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        step: str | int = index
        if opening == "{":
            step, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # over the colon
        yield step, at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
