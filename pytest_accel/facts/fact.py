"""What every fact is: immutable, keyword-only, and strict about what it is made of."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

#: Scalar is the value of a fact about hardware, and of most options.
Scalar: TypeAlias = str | int | float | bool | None
#: OptionValue is the value of an option. The entries of an option such as ``extra`` are scalars by name.
OptionValue: TypeAlias = Scalar | dict[str, Scalar]
#: Positive is a number that is more than 0, such as a duration that others are divided by.
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
#: NotNegative is a number that is 0 or more.
NotNegative: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
#: AtLeastOne is a count of what there is at least one of.
AtLeastOne: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
#: Count is a count of what there may be none of, such as the nanoseconds of a call.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all records: immutable, keyword-only, and strict about what it is made of."""
