"""An acceptance of real ONNX Runtime, but for the checks that take minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from pytest_accel.acceptance.record import read

CHECKS = (
    "identity",
    "yardstick",
    "factory",
    "int64",
    "two",
    "dynamic",
    "work",
    "out",
    "killed",
    "free",
    "raw",
    "vendor",
)
#: A machine that is too busy decides less, and nothing else.
GOOD = {"held", "inconclusive"}
COMMAND = "import sys; from pytest_accel.commands.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
def test_onnx_runtime_is_accepted(tmp_path: Path) -> None:
    if not any(distributions(name="onnxruntime")):
        pytest.skip("needs pip install 'pytest-accel[cpu-ort]'")
    only = [f"--only={check}" for check in CHECKS]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "accept", "cpu-ort", "-o", "accept.json", *only],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (acceptance,) = read(tmp_path / "accept.json")
    assert {result.check: result.outcome for result in acceptance.results if result.outcome not in GOOD} == {}
    assert len(acceptance.results) == len(CHECKS) + 1, "one for each precision of the yardstick"
    told = {result.check: result.reason for result in acceptance.results}
    assert "memory" in told["out-of-memory"]
    assert any(
        "kernel_time" in event["name"]
        for event in json.loads((tmp_path / "accept/cpu-ort/onnxruntime-profile.json").read_text())
    )
