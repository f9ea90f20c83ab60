"""Strategies that change what is valid a little, and values that nobody expects: what a fuzz run is fed with."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

#: STRANGE are values that have broken programs before.
STRANGE = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400),
    *(0.0, -0.0, 0.5, 1e-320, 1e300, 1.7e308, math.inf, -math.inf, math.nan),
    *("", " ", ".", "..", "../../etc/passwd", "a/b", "\0", "\ud800", "\u202e", "é" * 300, "1", "nan", "None", "{}"),
]
SCALARS = st.one_of(st.sampled_from(STRANGE), st.integers(), st.floats(), st.text(max_size=8), st.booleans())
#: JSON is any value that JSON can have.
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


class _Opaque:
    """An object that says nothing of itself."""


#: OBJECTS is any value that a test's author may pass by mistake.
OBJECTS = st.one_of(
    JSON,
    st.sampled_from([np.float32(0.5), np.int64(3), np.array([1.0, 2.0]), np.array(3), np.nan, Fraction(1, 3), 1 + 2j]),
    st.sampled_from([b"bytes", bytearray(b"x"), {1, 2}, frozenset(), (), range(3), print, int, _Opaque(), _Opaque]),
    st.builds(iter, st.lists(SCALARS, max_size=2)),
    st.tuples(SCALARS, SCALARS),
)


def changed(valid: Any, values: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    """Plain data like ``valid`` with up to three changes: another value, something missing, something more."""

    @st.composite
    def draw_changed(draw: st.DrawFn) -> Any:
        data = copy.deepcopy(valid)
        for _ in range(draw(st.integers(0, 3))):
            places = list(_places(data))
            holder, key = draw(st.sampled_from(places)) if places else (None, None)
            if holder is not None:
                _CHANGES[draw(st.sampled_from(sorted(_CHANGES)))](holder, key, draw(values))
        return data

    return draw_changed()


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every dict or list of the data with each of its keys."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inside:
        yield data, key
        yield from _places(value)


def _replace(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


def _remove(holder: Any, key: Any, value: Any) -> None:
    del holder[key]


def _add(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, value)
    else:
        holder[f"{key}_"] = value


def _rescale(holder: Any, key: Any, value: Any) -> None:
    old = holder[key]
    if isinstance(old, int | float) and not isinstance(old, bool) and isinstance(value, int | float):
        holder[key] = -old if value < 0 else old * 2


_CHANGES: dict[str, Callable[[Any, Any, Any], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "rescale": _rescale,
}


def bitten(valid: bytes) -> st.SearchStrategy[bytes]:
    """Bytes like ``valid`` in which some are other ones, missing, or more; or anything at all."""

    @st.composite
    def draw_bitten(draw: st.DrawFn) -> bytes:
        data = bytearray(valid)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(data)))
            data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])

    return st.one_of(draw_bitten(), st.binary(max_size=64))


def written(valid: Any) -> st.SearchStrategy[bytes]:
    """The text of plain data that were changed, or of which bytes were."""
    whole = json.dumps(valid).encode()
    text = changed(valid).map(lambda data: json.dumps(data).encode("utf-8", "surrogatepass"))
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 5_000, b'{"a": ' + b"9" * 5_000 + b"}", b""])
    return st.one_of(text, text, text, bitten(whole), deep)


def is_kept(given: Any, found: Any) -> bool:
    """Return whether all that was given is found again as it was, types included."""
    if isinstance(given, dict):
        return isinstance(found, dict) and all(name in found and is_kept(given[name], found[name]) for name in given)
    if isinstance(given, list):
        same = isinstance(found, list | tuple) and len(given) == len(found)
        return same and all(is_kept(one, other) for one, other in zip(given, found, strict=True))
    if isinstance(given, bool) or isinstance(found, bool):
        return given is found
    return bool(given == found)
