"""Show a failure to the author of the test, with a traceback that ends in the test."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

from pytest_accel.facts.errors import AccelError

#: _OWN is the package whose lines are left out of a traceback.
_OWN = "pytest_accel"


def trim(error: BaseException) -> BaseException:
    """Cut the traceback off where it enters this package, so that the test's own line is the last one.

    An error that a user's own function raised, such as a metric that we called, keeps its traceback.
    """
    entries: list[TracebackType] = []
    entry = error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    packages = [entry.tb_frame.f_globals.get("__name__", "").partition(".")[0] for entry in entries]
    # Between two lines of this package there may be one of the standard library, of functools or contextlib.
    last = max(
        (i for i, name in enumerate(packages) if name != _OWN and name not in sys.stdlib_module_names), default=-1
    )
    if last < 0 or _OWN not in packages[last:]:
        return error
    chain: TracebackType | None = None
    for entry in reversed(entries[: last + 1]):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return error.with_traceback(chain)


def message(error: BaseException) -> str:
    """Give the error's message, with its type unless the message was written for the test's author."""
    if isinstance(error, AccelError | AssertionError) and str(error):
        return str(error)
    return "".join(traceback.format_exception_only(error)).strip()


def line(error: BaseException, path: Path) -> int | None:
    """Find the line in a file where the error came from, counted from 1; the innermost of several."""
    entries = traceback.walk_tb(error.__traceback__)
    lines = [number for frame, number in entries if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else None
