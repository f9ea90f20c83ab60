"""``pytest-accel bisect`` on a real runtime: 64 commits of a network, of which one adds 5 % of the layers."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pytest_accel.commands.main import main
from tests.repositories import Repo

COMMITS, LAYERS, MORE_LAYERS = 64, 40, 42
#: TRIES is how often the search is made at most: a neighbour can keep it from an answer, but not three in a row.
TRIES = 3
ONE_TEST = """
import pytest

@pytest.mark.accelerator("cpu-ort", batch_size=32, threads=1, max_regression=0.025)
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


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hash of the slower commit. The tag ``good`` is before it all, and ``main`` the last commit."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    repo = Repo(tmp_path / "project")
    monkeypatch.chdir(repo.path)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    Path("model.onnx").write_bytes(network(LAYERS))
    repo.commit("Begin", test_model__py=ONE_TEST)
    repo.git("tag", "good")
    at, slower = random.randint(1, COMMITS), ""
    for number in range(1, COMMITS + 1):
        if number == at:
            Path("model.onnx").write_bytes(network(MORE_LAYERS))
        commit = repo.commit(f"Commit {number}", page__md=str(number))
        slower = commit if number == at else slower
    return slower


@pytest.mark.slow
def test_five_per_cent_are_found_among_64_commits(
    planted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bisect", f"--cache-dir={tmp_path / 'cache'}", "good", "main", "--", "test_model.py::test_model"]
    for _ in range(TRIES):
        status = main([*words[:2], "--reset", *words[2:]])
        out = capsys.readouterr().out
        print(out)
        if status == 0:
            break
        assert "first regressed" not in out or planted[:10] in out.partition("first regressed")[2]
    assert status == 0
    assert f"first regressed: {planted[:10]} " in out
