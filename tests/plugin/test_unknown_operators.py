"""A model with an operator that the real SDK does not know: the test fails with its name, and never passes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

ROOT = Path(__file__).parents[2]
#: The package without which the accelerator is absent.
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "openvino"}
CHECK = """
    import pytest

    @pytest.mark.accelerator({accelerators})
    def test_model(accel_model):
        accel_model("{model}.onnx").check()
"""


@pytest.fixture
def project(project: Project) -> Project:
    if missing := [name for name, package in SDKS.items() if not any(distributions(name=package))]:
        pytest.skip(f"needs pip install 'pytest-accel[{','.join(missing)}]'")
    folder = project.pytester.path
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
    return project


@pytest.mark.parametrize("accelerator", SDKS)
@pytest.mark.parametrize(("model", "operator"), [("unknown_operator", "NotAnOperator"), ("foreign_operator", "Shiny")])
def test_an_operator_that_nobody_knows_fails_the_test_with_its_name(
    project: Project, accelerator: str, model: str, operator: str
) -> None:
    project.pytester.makepyfile(test_model=CHECK.format(accelerators=repr(accelerator), model=model))
    result = project.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*CompileFailed: *there is no operator *{operator}*: replace it in the model, or*"])
    vendors = {"cpu-ort": ("No Op registered for *", "Fatal error: *"), "cpu-openvino": ("No conversion rule *",) * 2}
    words = vendors[accelerator][["unknown_operator", "foreign_operator"].index(model)]
    result.stdout.fnmatch_lines([f"*{words}{operator}*"])


def test_an_operator_that_one_of_them_knows_passes_there_and_fails_on_the_other(project: Project) -> None:
    accelerators = ", ".join(map(repr, SDKS))
    project.pytester.makepyfile(test_model=CHECK.format(accelerators=accelerators, model="only_onnx_runtime"))
    result = project.run("-v", workers=True)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_model?cpu-ort? PASSED*", "*test_model?cpu-openvino? FAILED*"])
    result.stdout.fnmatch_lines(["*there is no operator for com.microsoft.SampleOp: replace it in the model*"])
