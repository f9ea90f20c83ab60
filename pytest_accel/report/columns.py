"""Put text in columns, for every table that is read in a terminal.

There is no colour and no wrapping here: a table in a file or in a pipe is the same text.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import zip_longest

#: GAP stands between two columns.
GAP = "  "


def pad(rows: Sequence[Sequence[str]], *, right: Container[int] = ()) -> list[list[str]]:
    """Make each cell as wide as the widest one of its column, and leave out columns without any text.

    The columns whose numbers are in ``right`` are aligned to the right. A row may have fewer cells than the others.
    """
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return [
        [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
            if width
        ]
        for row in rows
    ]


def join(cells: Sequence[str]) -> str:
    """Join the cells of a row to a line without spaces at its end."""
    return GAP.join(cells).rstrip()
