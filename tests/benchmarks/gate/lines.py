"""What long programs record: a file with a fact a line, as JSON, so that an interrupted one goes on where it was."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import msgspec

from pytest_accel.facts.fact import Fact
from tests.benchmarks.gate.burners import busy

_Recorded = TypeVar("_Recorded", bound=Fact)
_Task = TypeVar("_Task")


def lines_of(path: Path, kind: type[_Recorded]) -> Iterator[_Recorded]:
    """What is there, oldest first."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        yield msgspec.json.decode(line, type=kind)


def append(path: Path, fact: Fact) -> None:
    """Add a line."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(fact) + b"\n")


def record_all(path: Path, tasks: list[_Task], play: Callable[[_Task], Fact], *, condition: str, ends_s: float) -> None:
    """Play the tasks in random order, until there are no more or the time is over; each gives a line."""
    random.shuffle(tasks)
    with busy() if condition == "busy" else nullcontext():
        while tasks and time.monotonic() < ends_s:
            append(path, play(tasks.pop()))
