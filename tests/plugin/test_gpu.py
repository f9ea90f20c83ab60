"""``gpu`` and ``gpu-ort`` from the marker to the verdict, on stand-ins for a GPU that behave and misbehave.

Everything but the GPU is real: workers, TensorFlow and ONNX Runtime, the reference, the verdicts. One run of pytest has
all the habits, each in a test of its own, since a measurement has a fresh worker that takes them from the environment.
"""

from __future__ import annotations

from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from tests.standins.nvidia_host import make_nvidia_host

if TYPE_CHECKING:
    from tests.models.zoo import Zoo
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_tensorflow")]

TESTS = """
    import numpy as np
    import pytest

    with np.load({data!r}) as stored:
        DIGITS = stored["images"].astype(np.float32)[..., None] / 16, stored["labels"]

    @pytest.mark.accelerator({accelerator!r}, batch_size=32, min_accuracy=0.9, max_accuracy_drop=0.01)
    @pytest.mark.parametrize("habit", {habits!r})
    def test_digits(accel_model, monkeypatch, habit):
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)
        accel_model({model!r}).check(DIGITS)
"""
#: What a user is told of each habit.
TOLD = {
    "casts": "*not-measured: digits_cnn* fp32 was asked for and fp16 (* is coarser.",
    "nan": "*inaccurate: digits_cnn* Values that are NaN or infinite on one side alone, here or in the reference: *",
    "lost-device": "*WorkerError: *the GPU failed in the middle of its work: look for the driver's Xid message in *",
    "out-of-memory": "*memory does not suffice: ask for a smaller batch_size*",
    "falls-back": "*not-measured: digits_cnn* 0 % of the operators run on the device, 50 % needed: *the host*",
    "refuses-operator": "*there is no kernel for 'unique' on a GPU, where the model wants it: export it without*",
    "no-libraries": "*CUDAExecutionProvider does not start*: Failed to load library * libcublasLt*",
}
PACKAGES = {"gpu": ("tensorflow_gpu", "tensorflow"), "gpu-ort": ("onnxruntime_gpu", "onnxruntime")}


@pytest.fixture(autouse=True)
def needed(accelerator: str) -> None:
    _, package = PACKAGES[accelerator]
    if not any(distributions(name=package)):
        pytest.skip(f"needs {package}: pip install 'pytest-accel[demo]'")


def write_tests(project: Project, zoo: Zoo, accelerator: str, *habits: str) -> None:
    model = zoo.saved_model("digits_cnn")
    data = model.parent / "val.npz"
    project.pytester.makepyfile(
        test_digits=TESTS.format(accelerator=accelerator, habits=habits, model=str(model), data=str(data))
    )


@pytest.mark.parametrize(
    ("accelerator", "habits"),
    [
        ("gpu", ("falls-back", "casts", "nan", "lost-device", "out-of-memory", "refuses-operator")),
        ("gpu-ort", ("casts", "nan", "lost-device", "out-of-memory", "no-libraries")),
    ],
)
def test_digits_are_read_on_a_gpu_and_each_habit_is_found_out(
    project: Project, zoo: Zoo, accelerator: str, habits: tuple[str, ...]
) -> None:
    standin, _ = PACKAGES[accelerator]
    make_nvidia_host(project.monkeypatch, project.pytester.mkdir("host"), standin)
    write_tests(project, zoo, accelerator, "none", *habits)
    result = project.run("-v", f"--accelerator={accelerator}", workers=True)
    result.assert_outcomes(passed=1, failed=len(habits))
    for habit in habits:
        result.stdout.fnmatch_lines([f"*_ test_digits?{accelerator}-b32-{habit}? _*", f"E {TOLD[habit]}"])


@pytest.mark.parametrize("accelerator", ["gpu-ort", "gpu"])
def test_a_compiler_that_takes_minutes_is_stopped(project: Project, zoo: Zoo, accelerator: str) -> None:
    standin, _ = PACKAGES[accelerator]
    make_nvidia_host(project.monkeypatch, project.pytester.mkdir("host"), standin, misbehaves="slow-compile")
    write_tests(project, zoo, accelerator, "slow-compile")
    result = project.run("--accel-compile-timeout=5", f"--accelerator={accelerator}", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*{accelerator}: compile was still running after 5 s and was killed; --accel-compile-timeout*"]
    )


@pytest.mark.parametrize("accelerator", PACKAGES)
def test_without_a_gpu_it_is_skipped_with_the_reason(project: Project, zoo: Zoo, accelerator: str) -> None:
    project.monkeypatch.setenv("ACCEL_HOST_ROOT", str(project.pytester.mkdir("host")))
    assert skipped(project, zoo, accelerator) == (
        "no NVIDIA GPU: no /dev/nvidia0 and none on the PCI bus; run on a machine with an NVIDIA GPU; in a container "
        "pass the GPU through"
    )


@pytest.mark.parametrize("accelerator", PACKAGES)
def test_a_gpu_whose_driver_does_not_fit_is_told_from_none(project: Project, zoo: Zoo, accelerator: str) -> None:
    make_nvidia_host(project.monkeypatch, project.pytester.mkdir("host"), misbehaves="driver-mismatch")
    told = skipped(project, zoo, accelerator)
    assert told.startswith(
        "the NVIDIA driver's NVML says: RM has detected an NVML/RM version mismatch.; the driver was"
    )


def skipped(project: Project, zoo: Zoo, accelerator: str) -> str:
    """Why it is."""
    write_tests(project, zoo, accelerator, "none")
    result = project.run("-rs", f"--accelerator={accelerator}", workers=True)
    result.assert_outcomes(skipped=1)
    (line,) = (line for line in result.outlines if line.startswith("SKIPPED"))
    return line.partition(f"{accelerator} absent: ")[2]
