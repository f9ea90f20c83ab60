"""Creep in real pytest runs on ``cpu-ort``: ``python -m tests.benchmarks.gate.live_creep FOLDER [--commits 12]``.

Each commit adds one convolution to a network of 125 equal ones, 0.8 % of its time, and saves its baseline. The network
of the first commit is the anchor. Prints what was said of each commit, in Markdown; ``--equal`` adds nothing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pytest_accel.commands.main import main as pytest_accel
from pytest_accel.facts.records import Ratio, TestRecord
from tests.benchmarks.gate.live import run_pytest, write_network

#: BLOCKS is the number of convolutions of the first commit, and SIDE the height and width of what they pass on.
BLOCKS, SIDE = 125, 28
INI = """
[pytest]
accel_compare_budget = 60
"""
TEST = """
import os

import pytest


@pytest.mark.accelerator("cpu-ort", max_regression=0.025, max_creep=0.05)
def test_network(accel_model):
    accel_model(os.environ["NETWORK"], name="network").check()
"""


def check(folder: Path, blocks: int, *args: str) -> TestRecord:
    """Run pytest on a network of so many convolutions."""
    write_network(folder / "network.onnx", blocks, side=SIDE)
    (test,) = run_pytest(folder, *args, network=folder / "network.onnx").tests
    return test


def set_up(folder: Path) -> None:
    """Write the project, the anchor and the first baseline."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (folder / "test_network.py").write_text(TEST, encoding="utf-8")
    for kept in ("first", "all"):
        saved = check(folder, BLOCKS, f"--accel-save-baseline={kept}")
        if not saved.baseline.endswith(" saved"):
            raise SystemExit(f"no baseline was saved: {saved.baseline or folder / 'output.txt'}")
    pytest_accel(["baseline", "anchor", "first", "--baseline-dir", str(folder / "baselines")])


def answer(record: TestRecord, question: str, ratio: Ratio | None) -> str:
    """Give the verdict on one question, with its ratio."""
    (kind,) = [each.kind for each in record.verdicts if each.question == question]
    return kind if ratio is None else f"{kind}, {ratio.estimate:.3f} [{ratio.lower:.3f}, {ratio.upper:.3f}]"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commits", type=int, default=12)
    parser.add_argument("--equal", action="store_true", help="commits that add nothing")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    set_up(folder)
    print("| commit | really slower | beside the baseline | beside the anchor |\n|---|---|---|---|")
    for commit in range(1, asked.commits + 1):
        added = 0 if asked.equal else commit
        record = check(folder, BLOCKS + added, "--accel-save-baseline")
        since_anchor = record.creep.ratio if record.creep is not None else None
        answers = answer(record, "regression", record.ratio), answer(record, "creep", since_anchor)
        print(f"| {commit} | {added / BLOCKS:.1%} | {' | '.join(answers)} |", flush=True)


if __name__ == "__main__":
    main()
