"""The models of this suite on every accelerator without a device here: with the stand-ins, and skipped without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import kinds_of_verdict
from tests.plugin.forked_tensorflow import TensorFlowServers, in_a_run
from tests.standins import elastic_inference_host, neuron_host
from tests.standins.nvidia_host import make_nvidia_host
from tests.standins.sagemaker_runtime.running import running

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord, TestRecord
    from tests.models.zoo import Zoo

ROOT = Path(__file__).parents[2]
STANDINS = Path(neuron_host.__file__).parent
#: What the device is called, and the precision of its operators where it tells them.
DEVICES = {
    "gpu": ("Tesla T4", "float32"),
    "gpu-ort": ("Tesla T4", "float32"),
    "gpu-trt": ("Tesla T4", "float32"),
    "inf1": ("AWS Inferentia", "bfloat16"),
    "inf2": ("AWS Inferentia2", "float32"),
    "trn1": ("AWS Trainium", "float32"),
    "eia": ("Amazon Elastic Inference", ""),
}
#: Why each is skipped where nothing of it is here.
REASONS = {
    **dict.fromkeys(("gpu", "gpu-ort", "gpu-trt"), "no NVIDIA GPU: no /dev/nvidia0 and none on the PCI bus"),
    **{name: f"no {name} device: no /dev/neuron0 and none on the PCI bus" for name in ("inf1", "inf2", "trn1")},
    "eia": "Amazon Elastic Inference is no longer available",
    "sagemaker": "a SageMaker endpoint is remote and billed, and is never contacted by itself",
}
GPU_SDKS = {"gpu": ("tensorflow_gpu",), "gpu-ort": ("onnxruntime_gpu",), "gpu-trt": ("cuda", "tensorrt")}

RESNET50 = "tests/first_run/test_resnet50.py"
DIGITS_CNN = "tests/models/test_digits_cnn.py"


def switch_on(patch: pytest.MonkeyPatch, accelerator: str, machine: Path) -> None:
    """Have the workers yet to start see a machine with the device and the stand-ins of its SDK."""
    if accelerator in GPU_SDKS:
        make_nvidia_host(patch, machine, *GPU_SDKS[accelerator])
        return
    if accelerator == "eia":
        elastic_inference_host.make(machine, "eia2.large")
    else:
        neuron_host.make(machine, accelerator)
    patch.setenv("ACCEL_HOST_ROOT", str(machine))
    patch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
    patch.setenv("STANDIN_MISBEHAVES", "")


Run = Callable[..., tuple[str, "RunRecord"]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compile cache of all of them: the reference's outputs and the conversion to ONNX are the same for each."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    zoo: Zoo, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorflow_servers: TensorFlowServers
) -> Run:
    """Run their tests as a user does, but for the import of TensorFlow; what it prints and its record."""
    for recipe in ("digits_cnn", "resnet50"):
        zoo.saved_model(recipe)
    for name in ("PYTEST_XDIST_WORKER", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)

    def run(tests: str, accelerator: str) -> tuple[str, RunRecord]:
        own = [f"--accel-cache-dir={cache}", "-o", f"accel_lock_dir={tmp_path / 'locks'}"]
        reporting = [f"--accel-report={tmp_path / 'run.json'}", "-p", "no:cacheprovider", "-rs"]
        forked = in_a_run(tensorflow_servers, monkeypatch)
        command = [sys.executable, "-m", "pytest", "-m", "", *tests.split(), *own, *reporting, *forked]
        done = subprocess.run(
            [*command, f"--accelerator={accelerator}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, read_record(tmp_path / "run.json")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("accelerator", DEVICES)
def test_both_run_on_its_stand_in(accelerator: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine").mkdir()
    switch_on(monkeypatch, accelerator, tmp_path / "machine")
    _, record = run(f"{RESNET50} {DIGITS_CNN}", accelerator)
    assert sorted(test.model for test in record.tests) == ["digits_cnn", "resnet50"]
    for test in record.tests:
        assert_measured(accelerator, test)


@pytest.mark.slow
def test_both_are_deployed_to_an_endpoint_and_called(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running({}) as loopback:
        for name, value in loopback.environment(tmp_path / "state").items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        _, record = run(DIGITS_CNN, "sagemaker")
    (test,) = record.tests
    assert test.hardware.identity["instance_type"] == "ml.c5.xlarge"
    assert kinds_of_verdict(test) <= {"pass", "no-baseline"}


@pytest.mark.slow
def test_without_a_device_each_is_skipped_with_the_reason(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCEL_HOST_ROOT", str(tmp_path))
    monkeypatch.delenv("ACCEL_SAGEMAKER", raising=False)
    printed, _ = run(f"{RESNET50} {DIGITS_CNN}", ",".join(REASONS))
    skipped = [line for line in printed.splitlines() if line.startswith("SKIPPED")]
    for accelerator, reason in REASONS.items():
        assert any(f"{accelerator} absent: {reason}; " in line for line in skipped), printed
    assert f"{2 * len(REASONS)} skipped" in printed


def assert_measured(accelerator: str, test: TestRecord) -> None:
    """Assert that a test was measured on the device, all of it where the device tells."""
    device, precision = DEVICES[accelerator]
    assert kinds_of_verdict(test) <= {"pass", "no-baseline"}, test.verdicts
    assert test.hardware.identity["device"] == device
    assert test.accuracy is not None
    assert test.placement is not None
    assert test.placement.precisions.keys() == ({precision} if precision else set())
    if precision:
        assert test.placement.on_device == 1.0
