"""The commands share these exit statuses and arguments, and print their answers with these functions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

#: DONE is the exit status of a command that did what it was asked to do.
DONE = 0
#: FOUND is the exit status that answers a script: there are differences, or there is nothing to show.
FOUND = 1
#: TROUBLE is the exit status of a wrong call, or of a file that cannot be used.
TROUBLE = 2
#: INTERRUPTED is the exit status after Ctrl-C, which is that of a shell.
INTERRUPTED = 130


def print_json(data: Any) -> None:
    """Print records or plain data as indented JSON. Names of files that are no UTF-8 are escaped."""
    import msgspec

    from pytest_accel.worker.wire import legible

    plain = legible(msgspec.to_builtins(data))
    print(msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=2).decode())


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose columns of numbers are aligned to the right."""
    from pytest_accel.report import columns

    table = [tuple(heads), *map(tuple, rows)]
    numeric = {at for at, (_, *cells) in enumerate(zip(*table, strict=True)) if all(map(_is_number, cells))}
    for cells in columns.pad(table, right=numeric):
        print(columns.join(cells))


def tell_faults(faults: Iterable[str]) -> bool:
    """Print sentences about what could not be read where errors go, and say whether there are any."""
    sentences = list(faults)
    for fault in sentences:
        print(f"pytest-accel: {fault}", file=sys.stderr)
    return bool(sentences)


def number(value: float | None) -> str:
    """Write a number for a table; a dash where it is not known."""
    return "-" if value is None else f"{value:.4g}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True


def add_json(command: argparse.ArgumentParser) -> None:
    """Add the option ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def at_least_zero(text: str) -> float:
    """Read a number that is not negative. It is a type for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value
