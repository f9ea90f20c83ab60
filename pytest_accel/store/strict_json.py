"""Decodes JSON that people read and edit, and names the line and the field of each mistake.

Which files these are, and what to do about a mistake, is the caller's to say.
"""

from __future__ import annotations

import json
import re
from collections import Counter
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


#: _LARGEST is where numbers begin that nobody has measured. The largest float is a little further on.
_LARGEST = 1e300
#: _LONGEST_WHOLE is the most characters of a whole number, so that it fits into 64 bits wherever it is sent.
_LONGEST_WHOLE = 18


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

    def too_large(literal: str) -> NoReturn:
        raise Malformed(line_at(text, text.find(literal)), "", f"{literal:.20} is too large a number")

    def real(literal: str) -> float:
        value = float(literal)
        return value if abs(value) < _LARGEST else too_large(literal)

    def whole(literal: str) -> int:
        return int(literal) if len(literal) <= _LONGEST_WHOLE else too_large(literal)

    def single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # a reader sees the first one, and the last one would count
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise Malformed(line_at(text, text.rfind(json.dumps(twice))), "", f"{twice[:20]!r} is there twice")
        return found

    try:
        data = json.loads(text, parse_constant=refuse, parse_float=real, parse_int=whole, object_pairs_hook=single)
        _require_encodable(text, data)
        return data
    except RecursionError:
        raise Malformed(1, "", "not JSON of ours: its brackets are nested too deeply") from None
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} (column {error.colno})"
        if text.startswith("<<<<<<< ", error.pos):
            problem = "an unresolved merge conflict"
        raise Malformed(error.lineno, "", problem) from error


def _require_encodable(text: str, data: Any) -> None:
    """Refuse half of a surrogate pair, which no file and no terminal can hold; only an escape can bring one in."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise Malformed(line_at(text, text.lower().find(half)), "", f"{half} is half of a character") from None


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
