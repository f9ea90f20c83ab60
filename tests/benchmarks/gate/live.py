"""Verdicts of real pytest runs: ``python -m tests.benchmarks.gate.live FOLDER [--verdicts 100] [--busy]``.

A network of equal convolutions, a few milliseconds on ``cpu-ort``, is checked against its baseline: as it is, and with
one convolution in twenty more. ``FOLDER`` keeps the project; each verdict is a line of JSON in ``verdicts.jsonl``
beside this file, so a run can be interrupted and goes on where it was. Ends with what each gate said of these runs, in
Markdown; ``--verdicts 0`` only tells that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from math import inf
from pathlib import Path
from statistics import median

import numpy as np

from pytest_accel.facts.fact import Fact
from pytest_accel.facts.records import RunRecord
from pytest_accel.report.record import read_record
from tests.benchmarks.gate.lines import lines_of, record_all
from tests.benchmarks.gate.record import CONDITIONS, Calls
from tests.benchmarks.gate.rivals import RULES, red

VERDICTS = Path(__file__).parent / "verdicts.jsonl"
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
    """One verdict: its kind, what it rests on, the seconds of the whole run of pytest, and the calls it measured."""

    condition: str
    case: str
    kind: str
    estimate: float | None
    launches: int
    seconds: float
    calls: Calls


def write_network(path: Path, blocks: int, side: int = SIDE) -> None:
    """An ONNX file of so many equal convolutions; each passes on what it gets, within a little noise."""
    from onnx import TensorProto, helper, numpy_helper, save

    noise = np.random.default_rng(1).normal(0.0, 1e-3, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    noise[range(CHANNELS), range(CHANNELS), 1, 1] += 1.0
    kernels = [numpy_helper.from_array(noise, f"kernel{at}") for at in range(blocks)]
    nodes = [
        helper.make_node("Conv", [f"x{at}", f"kernel{at}"], [f"x{at + 1}"], pads=[1, 1, 1, 1]) for at in range(blocks)
    ]
    shape = [1, CHANNELS, side, side]
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


def run_pytest(folder: Path, *args: str, network: Path) -> RunRecord:
    """Run the project's test on a network, with the output in ``output.txt``."""
    record = folder / "run.json"
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", f"--accel-cache-dir={folder / 'cache'}"]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        subprocess.run(
            [*command, f"--accel-report={record}", "--accelerator=cpu-ort", *args],
            cwd=folder,
            env={**os.environ, "NETWORK": str(network)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return read_record(record)


def check(folder: Path, case: str, condition: str, *args: str) -> Lived:
    """One run of pytest."""
    run = run_pytest(folder, *args, network=folder / f"{case}.onnx")
    (test,) = run.tests
    if test.measurement is None:
        raise SystemExit(f"nothing was measured; see {folder / 'output.txt'}")
    answers = [verdict.kind for verdict in test.verdicts if verdict.question == "regression"]
    return Lived(
        condition=condition,
        case=case,
        kind=answers[0] if answers else test.kind,
        estimate=round(test.ratio.estimate, 4) if test.ratio else None,
        launches=test.ratio.launches if test.ratio else 0,
        seconds=round(run.duration_s, 1),
        calls=Calls.of(test.measurement.latencies_ns),
    )


def lived() -> list[Lived]:
    """The verdicts there are, oldest first."""
    return list(lines_of(VERDICTS, Lived))


def table(verdicts: list[Lived]) -> list[str]:
    """What each gate said of these runs, in Markdown: ours of each, the others of each pair."""
    lines = [
        "| gate | condition | false alarms | slower ones found | undecided | launches | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for condition in CONDITIONS:
        cases = {
            case: [each for each in verdicts if (each.condition, each.case) == (condition, case)] for case in BLOCKS
        }
        if not all(cases.values()):
            continue
        ours = [f"{sum(each.kind == 'regressed' for each in some)} of {len(some)}" for some in cases.values()]
        undecided = sum(each.kind == "inconclusive" for some in cases.values() for each in some)
        launches, seconds = (
            " and ".join(f"{median(getattr(each, what) for each in some):.3g}" for some in cases.values())
            for what in ("launches", "seconds")
        )
        lines.append(f"| pytest-accel | {condition} | {' | '.join(ours)} | {undecided} | {launches} | {seconds} |")
        for name, rule in RULES.items():
            shares = [f"{red(rule, some, cases['same']):.1%}" for some in cases.values()]
            lines.append(f"| {name} | {condition} | {' | '.join(shares)} | | | |")
    return lines


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verdicts", type=int, default=100, help="verdicts of each case")
    parser.add_argument("--seconds", type=float, default=inf, help="stop after the verdict that ends later than this")
    parser.add_argument("--busy", action="store_true", help="beside two processes that come and go")
    asked = parser.parse_args()
    folder, condition = asked.folder.resolve(), "busy" if asked.busy else "quiet"
    ends_s = time.monotonic() + asked.seconds
    counted = [each.case for each in lived() if each.condition == condition]
    left = [case for case in BLOCKS for _ in range(asked.verdicts - counted.count(case))]
    if left:
        set_up(folder)
    record_all(VERDICTS, left, lambda case: check(folder, case, condition), condition=condition, ends_s=ends_s)
    print(*table(lived()), sep="\n")


if __name__ == "__main__":
    main()
