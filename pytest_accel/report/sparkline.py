"""Draw a series in a line of text, one character for a run or for a few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from statistics import fmean

#: BLOCKS are eight heights.
BLOCKS = "▁▂▃▄▅▆▇█"
#: PLAIN are eight heights for a terminal that cannot print the blocks.
PLAIN = "_.-~=+*#"
#: LONGEST is the most characters of a line. Of more values, neighbours share a character.
LONGEST = 40
#: SMALLEST_RANGE is the least ratio of the highest line to the lowest one, so that noise does not look like mountains.
SMALLEST_RANGE = 1.1


def sparkline(values: Sequence[float], encoding: str | None) -> str:
    """Return the line for positive values, in characters that ``encoding`` has."""
    characters = BLOCKS if _has_blocks(encoding) else PLAIN
    heights = [log(value) for value in _shared(values)]
    low, high = min(heights), max(heights)
    span = max(high - low, log(SMALLEST_RANGE))
    bottom = (low + high - span) / 2.0
    steps = len(characters) - 1
    return "".join(characters[round(steps * (height - bottom) / span)] for height in heights)


def _has_blocks(encoding: str | None) -> bool:
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _shared(values: Sequence[float]) -> list[float]:
    """Return one value for each character: the geometric mean of those that share it."""
    count = min(len(values), LONGEST)
    ends = [round(nth * len(values) / count) for nth in range(count + 1)]
    return [exp(fmean(map(log, values[begin:end]))) for begin, end in pairwise(ends)]
