"""Verdicts of real pytest runs: ``python -m tests.benchmarks.gate.live FOLDER [--verdicts 100] [--busy]``.

A network of equal convolutions, a few milliseconds on ``cpu-ort``, is checked against its baseline: as it is, and with
one convolution in twenty more. ``FOLDER`` keeps the project and a line of JSON for each verdict, so a run can be
interrupted and goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from pytest_accel.records import Fact
from pytest_accel.report.record import read_record
from tests.benchmarks.gate.burners import busy

#: Convolutions of the network, unchanged and slower.
BLOCKS = {"same": 20, "slower-5": 21}
CHANNELS, SIDE = 32, 56

PROJECT = {
    "pytest.ini": """
[pytest]
accel_compare_budget = 60
""",
    "test_network.py": """
import os

import pytest


@pytest.mark.accelerator("cpu-ort", max_regression=0.025)
def test_network(accel_model):
    accel_model(os.environ["NETWORK"], name="network").check()
""",
}


class Lived(Fact, frozen=True):
    """One verdict: its kind, what it rests on, and the seconds of the whole run of pytest."""

    condition: str
    case: str
    kind: str
    estimate: float | None
    launches: int
    seconds: float


def write_network(path: Path, blocks: int) -> None:
    """An ONNX file of so many equal convolutions; each passes on what it gets, within a little noise."""
    from onnx import TensorProto, helper, numpy_helper, save

    noise = np.random.default_rng(1).normal(0.0, 1e-3, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    noise[range(CHANNELS), range(CHANNELS), 1, 1] += 1.0
    kernels = [numpy_helper.from_array(noise, f"kernel{at}") for at in range(blocks)]
    nodes = [
        helper.make_node("Conv", [f"x{at}", f"kernel{at}"], [f"x{at + 1}"], pads=[1, 1, 1, 1]) for at in range(blocks)
    ]
    shape = [1, CHANNELS, SIDE, SIDE]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{blocks}")]
    graph = helper.make_graph(nodes, "equal", ends[:1], ends[1:], kernels)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def set_up(folder: Path) -> None:
    """Write the project and its baseline, unless they are there."""
    if (folder / "baselines").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PROJECT.items():
        (folder / name).write_text(text, encoding="utf-8")
    for case, blocks in BLOCKS.items():
        write_network(folder / f"{case}.onnx", blocks)
    check(folder, "same", "quiet", "--accel-save-baseline")
    if not (folder / "baselines").is_dir():
        raise SystemExit(f"no baseline was saved; see {folder / 'output.txt'}")


def check(folder: Path, case: str, condition: str, *args: str) -> Lived:
    """One run of pytest."""
    record = folder / "run.json"
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", f"--accel-cache-dir={folder / 'cache'}"]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        subprocess.run(
            [*command, f"--accel-report={record}", "--accelerator=cpu-ort", *args],
            cwd=folder,
            env={**os.environ, "NETWORK": str(folder / f"{case}.onnx")},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    run = read_record(record)
    (test,) = run.tests
    answers = [verdict.kind for verdict in test.verdicts if verdict.question == "regression"]
    return Lived(
        condition=condition,
        case=case,
        kind=answers[0] if answers else test.kind,
        estimate=round(test.ratio.estimate, 4) if test.ratio else None,
        launches=test.ratio.launches if test.ratio else 0,
        seconds=round(run.duration_s, 1),
    )


def told(lived: list[Lived]) -> str:
    """The verdicts so far, a line for each condition and case."""
    lines = []
    for condition, case in sorted({(each.condition, each.case) for each in lived}):
        some = [each for each in lived if (each.condition, each.case) == (condition, case)]
        kinds = {kind: sum(each.kind == kind for each in some) for kind in sorted({each.kind for each in some})}
        launches, seconds = median(each.launches for each in some), median(each.seconds for each in some)
        lines.append(f"{condition}, {case}: {kinds}, {launches:g} launches and {seconds:.0f} s in the median")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verdicts", type=int, default=100, help="verdicts of each case")
    parser.add_argument("--busy", action="store_true", help="beside two processes that come and go")
    asked = parser.parse_args()
    folder, condition = asked.folder.resolve(), "busy" if asked.busy else "quiet"
    set_up(folder)
    log = folder / "verdicts.jsonl"
    lines = log.read_bytes().splitlines() if log.exists() else []
    lived = [msgspec.json.decode(line, type=Lived) for line in lines]
    counted = [each.case for each in lived if each.condition == condition]
    left = [case for case in BLOCKS for _ in range(asked.verdicts - counted.count(case))]
    random.shuffle(left)
    with busy() if asked.busy else nullcontext():
        for case in left:
            lived.append(check(folder, case, condition))
            with log.open("ab") as file:
                file.write(msgspec.json.encode(lived[-1]) + b"\n")
    print(told(lived))


if __name__ == "__main__":
    main()
