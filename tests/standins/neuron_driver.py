"""The kernel's side of the Neuron driver up to 2.30.1: it hears of inferences, and counts them once nobody tells more.

It runs as a program. Each line of its input is the file of a counter.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path


def add(counter: Path, inferences: int) -> None:
    """Let a counter show more."""
    counter.write_text(f"{int(counter.read_text()) + inferences}\n")


def main() -> None:
    """Count what was told, where there still is a machine to count it."""
    for file, inferences in Counter(line.rstrip("\n") for line in sys.stdin).items():
        if Path(file).exists():
            add(Path(file), inferences)


if __name__ == "__main__":
    main()
