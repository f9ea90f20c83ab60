"""``pytest-accel bisect`` on a real runtime: 64 commits of a network, of which one adds half of the layers again.

A step of 5 % takes minutes to find: ``python -m tests.benchmarks.gate.live_bisect FOLDER`` shows it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.gate.live_bisect import LAYERS, plant, search


@pytest.mark.slow
def test_a_slower_commit_is_found_among_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    slower = plant(tmp_path / "project", LAYERS + LAYERS // 2, limit=0.2)
    monkeypatch.chdir(tmp_path / "project")
    out = search(tmp_path / "cache")
    print(out)
    if "first regressed: " not in out:
        pytest.skip("not decided on a machine that is too busy")
    assert f"first regressed: {slower[:10]} " in out
