"""Real bisections on ``cpu-ort``: ``python -m tests.benchmarks.gate.live_bisect FOLDER [--searches 20]``.

Each search is among 64 commits of a network of 40 equal layers. One commit, drawn anew each time, adds two layers, 5 %
of the time. Prints what each search said, and how many were right.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np

from pytest_accel.commands.main import main as pytest_accel
from tests.git import Repo

COMMITS, LAYERS, MORE_LAYERS = 64, 40, 42
#: LIMIT is the regression that the test allows: half of what is planted.
LIMIT = 0.025
TEST = """
import pytest

@pytest.mark.accelerator("cpu-ort", batch_size=32, threads=1, max_regression={limit})
def test_model(accel_model):
    accel_model("model.onnx").check()
"""


def network(layers: int) -> bytes:
    """Layers that all have the same weights, so that a commit of them is small."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32) / 16
    nodes, last = [], "x"
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [last, "weights"], [f"product{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"product{layer}"], [f"layer{layer}"]))
        last = f"layer{layer}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 256]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def plant(folder: Path, layers: int, *, limit: float) -> str:
    """Write a repository of 64 commits, one of which has so many layers; return its hash.

    The tag ``good`` is before it all, and ``main`` the last commit. ``limit`` is the test's ``max_regression``.
    """
    repo = Repo(folder)
    model = folder / "model.onnx"
    model.write_bytes(network(LAYERS))
    repo.commit("Begin", test_model__py=TEST.format(limit=limit))
    repo.git("tag", "good")
    at, slower = random.randint(1, COMMITS), ""
    for number in range(1, COMMITS + 1):
        if number == at:
            model.write_bytes(network(layers))
        commit = repo.commit(f"Commit {number}", page__md=str(number))
        slower = commit if number == at else slower
    return slower


def search(cache: Path) -> str:
    """Bisect the repository in the current folder; return what was printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        pytest_accel(["bisect", f"--cache-dir={cache}", "--reset", "good", "main", "--", "test_model.py::test_model"])
    return out.getvalue()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--searches", type=int, default=20)
    asked = parser.parse_args()
    right = 0
    for number in range(1, asked.searches + 1):
        folder = asked.folder.resolve() / "project"
        shutil.rmtree(folder, ignore_errors=True)
        slower = plant(folder, MORE_LAYERS, limit=LIMIT)
        os.chdir(folder)
        began_s = time.monotonic()
        printed = search(asked.folder.resolve() / "cache")
        found = f"first regressed: {slower[:10]} " in printed
        right += found
        last = printed.strip().splitlines()[-1]
        print(
            f"{number}: {'right' if found else 'not found'} after {time.monotonic() - began_s:.0f} s: {last}",
            flush=True,
        )
    print(f"{right} of {asked.searches} were right")


if __name__ == "__main__":
    main()
