"""A clock that is years off, for all that a box runs: no name space has one, so a library stands before the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest


def shifted_clock(by: str) -> dict[str, str]:
    """Return the environment of a box whose clock differs ``by`` so much, such as ``"-3650d"``; skip without faketime.

    Times of files are shifted too, and the monotonic clock goes on as ever.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("there is no libfaketime, which shifts a box's clock: apt-get install libfaketime")
    return {"LD_PRELOAD": str(library), "FAKETIME": by, "DONT_FAKE_MONOTONIC": "1"}
