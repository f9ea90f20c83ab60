"""Verdicts of two rivals that also decide in three ways: ``python -m tests.benchmarks.gate.live_rivals FOLDER``.

``benchmatrix`` and ``stackgate`` are given the networks of `live`, with the same limit and at most the same seconds.
They live in an environment of their own below ``FOLDER``, which is made from the package index. Each verdict is a line
of JSON in ``rival_verdicts.jsonl`` beside this file, so a run can be interrupted and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from importlib.metadata import version
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from pytest_accel.facts.fact import Fact
from tests.benchmarks.gate.lines import lines_of, record_all
from tests.benchmarks.gate.live import BLOCKS, write_network
from tests.benchmarks.gate.record import CONDITIONS

VERDICTS = Path(__file__).parent / "rival_verdicts.jsonl"
PACKAGES = ("benchmatrix==1.2.1", "stackgate==0.1.1")
LIMIT_PERCENT = "2.5"
#: METRIC is the one of three that answers our question; without the others there is time for more runs.
METRIC = "single_call_latency"
#: RUNS is how many runs of each side fit a minute, at 2 to 3 s each. It is twice the five that each rival begins with.
RUNS = 10

BENCHMARK = """
import os

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
batch = {"x0": np.ones((1, 32, 56, 56), np.float32)}


def call():
    return session.run(None, batch)
"""
MATRIX = """
from benchmark import call
from benchmatrix import BenchmarkCase, make_benchmark_test

test_network = make_benchmark_test({"network": lambda _: call()}, [BenchmarkCase.from_values("batch", 1)])
"""
LOOP = """
from benchmark import call

for _ in range(300):
    call()
"""


class RivalVerdict(Fact, frozen=True):
    """One verdict of a rival in its own word, and the seconds of all its runs."""

    rival: str
    condition: str
    case: str
    kind: str
    seconds: float


def verdicts() -> list[RivalVerdict]:
    """The verdicts there are, oldest first."""
    return list(lines_of(VERDICTS, RivalVerdict))


def set_up(folder: Path) -> Path:
    """Write the projects and make the environment, unless they are there; return its folder of commands."""
    for case, blocks in BLOCKS.items():
        project = folder / case
        project.mkdir(parents=True, exist_ok=True)
        for name, text in (("benchmark.py", BENCHMARK), ("test_matrix.py", MATRIX), ("loop.py", LOOP)):
            (project / name).write_text(text, encoding="utf-8")
        write_network(project / "network.onnx", blocks)
    commands = folder / "environment" / "bin"
    if not commands.is_dir():
        venv.create(commands.parent, with_pip=True)
        runtime = [f"{package}=={version(package)}" for package in ("onnxruntime", "numpy", "pytest-benchmark")]
        run([commands / "pip", "install", "-q", *PACKAGES, *runtime], folder)
    return commands


def run(command: list[Any], folder: Path) -> str:
    """Run a command and return what it prints; its status is a verdict, and no failure."""
    done = subprocess.run([str(word) for word in command], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout


def benchmatrix(commands: Path, folder: Path, case: str, runs: int) -> str:
    """Pairs of pytest runs in both orders, then its paired comparison."""
    pytest = [commands / "python", "-m", "pytest", "-q", "--benchmark-only", "test_matrix.py", "-k", METRIC]
    collect = ["collect-paired", "--pairs", runs, "--output", "runs", "--random-seed", random.randrange(1 << 30)]
    sides = ["--baseline-cwd", folder / "same", "--candidate-cwd", folder / case]
    run([commands / "benchmatrix", *collect, *sides, "--", *pytest, ":::", *pytest], folder)
    judge = ["compare", "runs", "--paired", "--threshold", f"{LIMIT_PERCENT}%", "--format", "json"]
    report = json.loads(run([commands / "benchmatrix", *judge], folder))
    (cell,) = report["comparisons"]
    return str(cell["regression"])


def stackgate(commands: Path, folder: Path, case: str, runs: int) -> str:
    """Profiles of the candidate, then of the baseline, as its workflow for CI has them."""
    for side, project in (("candidate", case), ("baseline", "same")):
        record = ["record", "--runs", runs, "--out", folder / "runs" / side, "--", commands / "python", "loop.py"]
        run([commands / "stackgate", *record], folder / project)
    judge = ["compare", "runs/baseline", "runs/candidate", "--threshold", LIMIT_PERCENT, "--format", "json"]
    return str(json.loads(run([commands / "stackgate", *judge], folder))["verdict"])


RIVALS: Mapping[str, Callable[[Path, Path, str, int], str]] = {"benchmatrix": benchmatrix, "stackgate": stackgate}


def play(commands: Path, folder: Path, rival: str, case: str, condition: str, runs: int) -> RivalVerdict:
    """One verdict."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    began_s = time.monotonic()
    kind = RIVALS[rival](commands, folder, case, runs)
    return RivalVerdict(rival, condition, case, kind.lower(), round(time.monotonic() - began_s, 1))


def table(some: list[RivalVerdict]) -> list[str]:
    """What each rival said, in Markdown."""
    lines = [
        "| gate | condition | false alarms | slower ones found | undecided | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for rival in RIVALS:
        for condition in CONDITIONS:
            ours = [each for each in some if (each.rival, each.condition) == (rival, condition)]
            if not ours:
                continue
            cases = [[each.kind for each in ours if each.case == case] for case in BLOCKS]
            alarms = [
                f"{sum(kind.startswith(('regress', 'fail')) for kind in kinds)} of {len(kinds)}" for kinds in cases
            ]
            undecided = sum(kind == "inconclusive" for kinds in cases for kind in kinds)
            seconds = median(each.seconds for each in ours)
            lines.append(f"| {rival} | {condition} | {' | '.join(alarms)} | {undecided} | {seconds:.0f} |")
    return lines


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verdicts", type=int, default=20, help="verdicts of each rival and case")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each side of a verdict")
    parser.add_argument("--seconds", type=float, default=inf, help="stop after the verdict that ends later than this")
    parser.add_argument("--busy", action="store_true", help="beside two processes that come and go")
    asked = parser.parse_args()
    folder, condition = asked.folder.resolve(), "busy" if asked.busy else "quiet"
    ends_s = time.monotonic() + asked.seconds
    made = [(each.rival, each.case) for each in verdicts() if each.condition == condition]
    kinds = [(rival, case) for rival in RIVALS for case in BLOCKS]
    left = [kind for kind in kinds for _ in range(asked.verdicts - made.count(kind))]
    commands = set_up(folder) if left else folder

    def play_one(kind: tuple[str, str]) -> RivalVerdict:
        verdict = play(commands, folder, *kind, condition, asked.runs)
        print(verdict, file=sys.stderr)
        return verdict

    record_all(VERDICTS, left, play_one, condition=condition, ends_s=ends_s)
    print(*table(verdicts()), sep="\n")


if __name__ == "__main__":
    main()
