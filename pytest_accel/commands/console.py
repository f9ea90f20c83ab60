"""What the commands share: exit statuses, arguments of one kind, and how answers are printed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

#: Exit statuses: the command did what it was asked; it found what a script wants to know; the call was wrong.
DONE, FOUND, TROUBLE = 0, 1, 2


def print_json(data: Any) -> None:
    """Print records or plain data as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(data, order="sorted"), indent=2).decode())


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose columns of numbers are aligned to the right."""
    from pytest_accel.report import columns

    table = [tuple(heads), *map(tuple, rows)]
    numeric = {at for at, (_, *cells) in enumerate(zip(*table, strict=True)) if all(map(_is_number, cells))}
    for cells in columns.pad(table, right=numeric):
        print(columns.join(cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def at_least_zero(text: str) -> float:
    """Read a number from 0 on, as argparse wants its types."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number
