"""Where a model differs, asked for on the real compilers: whoever compiled it, tensors have the names of the source."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

ROOT = Path(__file__).parents[2]
TEST = """
    import numpy as np
    import pytest

    IMAGES = np.random.default_rng(4).normal(size=(8, 3, 16, 16)).astype("float32")

    @pytest.mark.accelerator("cpu-ort", precision="int8")
    @pytest.mark.accelerator("cpu-openvino", precision=["fp32", "int8"])
    def test_model(accel_model):
        model = accel_model("convolution.onnx", calibration=IMAGES * np.float32(0.1))
        found = model.first_divergence(IMAGES + np.float32(1))
        print(model.variant.id, found.sentence if found else "is the same")

    @pytest.mark.accelerator("cpu-ort")
    def test_reference(accel_model):
        accel_model("convolution.onnx").first_divergence(IMAGES)
"""


@pytest.fixture
def project(project: Project) -> Project:
    if missing := [name for name in ("onnxruntime", "nncf") if not any(distributions(name=name))]:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'pytest-accel[demo]'")
    folder = project.pytester.path
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
    return project


@pytest.mark.slow
def test_a_range_that_cuts_is_found_and_fp32_is_held_against_onnx_runtime(project: Project) -> None:
    project.pytester.makepyfile(test_model=TEST)
    result = project.run("-rP", workers=True)
    result.assert_outcomes(passed=3, failed=1)
    first = "First divergence: 'image', given by 'image' (input), is * away from FP32 (normalised L2), with good *"
    result.stdout.fnmatch_lines_random(
        [
            f"cpu-ort-int8 {first}",
            f"cpu-openvino-int8 {first}",
            "cpu-openvino-fp32 is the same",
            "*first_divergence compares with FP32 on cpu-ort, which cpu-ort is: ask for another one",
        ]
    )
