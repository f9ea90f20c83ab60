"""``pytest --accelerator=gpu-trt`` as a user runs it, on the stand-ins for TensorRT and CUDA in good habits and bad."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project
from tests.standins.nvidia_host import make_nvidia_host

if TYPE_CHECKING:
    from tests.models.zoo import Examples, Zoo

ROOT = Path(__file__).parents[2]
CHECK = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator("gpu-trt"{marker})
    def test_model(accel_model):
        images = np.random.default_rng(1).normal(size=(4, 3, 16, 16)).astype("float32")
        accel_model("convolution.onnx", calibration=images).check()
"""
DIGITS = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator("gpu-trt", precision=["fp32", "fp16", "int8"], batch_size=8, max_accuracy_drop=0.02)
    def test_digits(accel_model):
        calibration = np.load("calibration.npz")["x"]
        accel_model({model!r}, calibration=calibration).check("val.npz", min_accuracy=0.9)
"""


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
    return folder / "convolution.onnx"


class Machine:
    """A project with one model, on a machine that has a GPU or has none."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self._folder = project, folder

    def has_a_gpu(self, misbehaves: str = "") -> None:
        make_nvidia_host(self.project.monkeypatch, self._folder, "cuda", "tensorrt", misbehaves=misbehaves)

    def check(self, *args: str, marker: str = "") -> pytest.RunResult:
        """Run one check of the model."""
        self.project.pytester.makepyfile(test_model=CHECK.format(marker=marker))
        return self.project.run("--accelerator=gpu-trt", *args, workers=True)


@pytest.fixture
def machine(project: Project, convolution: Path, tmp_path: Path) -> Machine:
    shutil.copy(convolution, project.pytester.path)
    return Machine(project, tmp_path)


@pytest.mark.slow
def test_the_digits_are_read_in_every_precision(
    machine: Machine, zoo: Zoo, digits_val: Examples, tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine.has_a_gpu()
    digits, labels = digits_val
    folder = machine.project.pytester.path
    np.savez(folder / "val.npz", x=digits[:64], labels=labels[:64])
    np.savez(folder / "calibration.npz", x=digits[64:96])
    machine.project.pytester.makepyfile(test_digits=DIGITS.format(model=str(zoo.saved_model("digits_cnn"))))
    result = machine.project.run("--accelerator=gpu-trt", "--accel-report=run.json", workers=True)
    result.assert_outcomes(passed=3)
    observed = {}
    for test in read_record(folder / "run.json").tests:
        assert test.placement is not None
        observed[test.variant.options["precision"]] = test.placement.precisions
    assert observed["fp32"].keys() == {"float32"}
    assert "float16" in observed["fp16"]
    assert "int8" in observed["int8"]


def test_without_a_gpu_it_is_skipped_with_the_reason(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL_HOST_ROOT", str(machine.project.pytester.path))
    result = machine.check("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*gpu-trt*no NVIDIA GPU: no /dev/nvidia0 and none on the PCI bus*"])


@pytest.mark.parametrize(
    ("habit", "marker", "told"),
    [
        ("returns-early", "", "*measure failed: CudaError: *waiting for the GPU ended before its work was done*"),
        ("falls-back", ", precision='fp16'", "*fp16 was asked for and no operator runs in it, but in fp32*"),
        ("falls-back", ", precision='int8'", "*int8 was asked for and no operator runs in it, but in fp32*"),
        ("casts", "", "*fp32 was asked for and no operator runs in it, but in fp16*"),
        ("nan", "", "*NaN*"),
        ("loses-device", "", "*the GPU failed in the middle of its work: look for*Xid*cudaErrorECCUncorrectable*"),
        ("out-of-memory", "", "*CompileFailed: *GPU's memory does not suffice: ask for a smaller batch_size*"),
        ("small-memory", "", "*CompileFailed: *GPU's memory does not suffice*cudaErrorMemoryAllocation*"),
        ("refuses-operator", "", "*CompileFailed: *there is no operator 'Relu': replace it in the model*"),
    ],
)
def test_a_bad_habit_fails_the_test_with_what_to_do(machine: Machine, habit: str, marker: str, told: str) -> None:
    machine.has_a_gpu(misbehaves=habit)
    result = machine.check(marker=marker)
    print(result.stdout.str())
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([told])


def test_a_build_that_takes_too_long_is_ended(machine: Machine) -> None:
    machine.has_a_gpu(misbehaves="slow-compile")
    result = machine.check("--accel-compile-timeout=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*gpu-trt: compile was still running after 1 s and was killed; --accel-compile-timeout*"]
    )


@pytest.mark.parametrize("mode", ["native", "tf-trt"])
def test_the_mode_that_it_had_is_an_error_that_names_the_accelerator_to_use(machine: Machine, mode: str) -> None:
    result = machine.check(marker=f", mode={mode!r}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'gpu-trt' has no option or budget 'mode': use the accelerator 'gpu-tftrt' for*"])
