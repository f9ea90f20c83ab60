"""What every fact is: immutable, keyword-only, and strict about what it is made of."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

#: Scalar is the value of an option or of a fact about hardware.
Scalar: TypeAlias = str | int | float | bool | None


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all records: immutable, keyword-only, and strict about what it is made of."""
