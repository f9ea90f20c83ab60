"""Our times beside those of the vendor's own tool: on the same artefact, with the same settings, in alternation.

A round is a launch: a fresh process on either side, and turns for each. The side whose turn it is not is stopped.
Where one call is made at a time, the busiest threads of either side have a core of their own.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from pytest_accel.acceptance.finding import NotApplicable
from pytest_accel.acceptance.turns import InTurns
from pytest_accel.measuring.latency import Load, warm_up

if TYPE_CHECKING:
    from pytest_accel.facts.records import Variant
    from pytest_accel.processes.client import WorkerClient
    from pytest_accel.worker.accelerator import Accelerator, Arrays, VendorTool

#: _TYPICAL_CALLS is the number of calls that tell how many make a turn.
_TYPICAL_CALLS = 10
#: _WARM_UP_S is the number of seconds that ours may warm up at most; a busy machine never gets steady.
_WARM_UP_S = 5.0
#: _MOST_TURNS is how many times the planned turns a tool gets. One that is not done by then never will be.
_MOST_TURNS = 20


@dataclass(frozen=True)
class Beside:
    """What is timed on both sides. ``artefact`` and ``inputs`` are folders; ``python`` is empty for this interpreter.

    Each side has ``turns`` turns of ``turn_s`` seconds.
    """

    accelerator: type[Accelerator]
    variant: Variant
    artefact: Path
    inputs: Path
    turn_s: float
    turns: int
    python: str = ""
    waiting: Callable[[], None] = lambda: None

    def tool(self, calls: int) -> VendorTool | None:
        """Return the tool, about to make so many calls."""
        return self.accelerator.vendor_tool(str(self.artefact), str(self.inputs), calls, self.variant.options)

    def play(self, ours: WorkerClient) -> Played:
        """Play one round. ``ours`` is a fresh worker. Raises `RuntimeError` with the tool's words where it fails."""
        latencies_ns, wall_ns, load = [], 0, Load.of(self.variant, [])
        loaded = ours.load(self.artefact, self.variant.options)
        ours.stage([{spec.name: np.load(self.inputs / f"{spec.name}.npy") for spec in loaded.signature.inputs}])
        warm_up(ours, max_s=_WARM_UP_S)
        calls = max(1, round(self.turn_s * 1e9 / median(ours.time_block(calls=_TYPICAL_CALLS).latencies_ns)))
        tool = self.tool(self.turns * calls)
        if tool is None:
            raise NotApplicable(f"{self.accelerator.name} names no tool of its vendor")
        command = _command(tool, self.python)
        alone = load.shape == "single_stream"
        with InTurns(command, begins=tool.begins, waiting=self.waiting, apart=alone) as theirs:
            for _ in range(_MOST_TURNS * self.turns):
                with ours.worker.paused():
                    goes_on = theirs.take(self.turn_s)
                if not goes_on:
                    break
                turn_ns, turn_wall_ns = _turn_of(ours, load, calls)
                latencies_ns += turn_ns
                wall_ns += turn_wall_ns
                self.waiting()
            else:
                raise RuntimeError(f"{tool.name} was not done after {_MOST_TURNS * self.turns} turns")
        if not latencies_ns:
            raise RuntimeError(f"{tool.name} was done before ours had a turn:\n{theirs.output()}")
        return Played(tool, latencies_ns, wall_ns, theirs.output(), theirs.stopped_s)


@dataclass(frozen=True)
class Played:
    """One round: the nanoseconds of our calls, and what the tool wrote."""

    tool: VendorTool
    latencies_ns: list[int]
    wall_ns: int
    output: str
    stopped_s: float

    def medians(self) -> dict[str, float]:
        """Return the median latency of either side in milliseconds."""
        return {"ours": median(self.latencies_ns) / 1e6, "theirs": self.said(self.tool.median)}

    def said(self, pattern: str) -> float:
        """Return a number that the tool has written. Raises `RuntimeError` with its words where it is not there."""
        found = re.search(pattern, self.output)
        if found is None:
            raise RuntimeError(f"{self.tool.name} does not tell {pattern!r}:\n{self.output}")
        return float(found.group(1))


def _turn_of(ours: WorkerClient, load: Load, calls: int) -> tuple[list[int], int]:
    """Time a turn of ours, and return the nanoseconds of its calls and of all of it."""
    if load.shape == "single_stream":
        latencies_ns = ours.time_block(calls=calls).latencies_ns
        return latencies_ns, sum(latencies_ns)
    timed = ours.measure(load.shape, calls=calls, checks=0, **load.traffic(seed=1))
    return timed.latencies_ns, timed.wall_ns


def write_inputs(inputs: Arrays, folder: Path) -> None:
    """Write a file for each input, as the tools read them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)


def _command(tool: VendorTool, python: str) -> list[str]:
    if not tool.program:
        return [python or sys.executable, *tool.arguments]
    program = shutil.which(tool.program)
    if program is None:
        raise NotApplicable(f"{tool.program} is not on the PATH: install it, or add its folder to PATH")
    return [program, *tool.arguments]
