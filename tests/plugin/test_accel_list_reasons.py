"""``--accel-list`` on made-up machines: each reason why something cannot be used is told apart, with what to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugin.conftest import Project
from tests.standins import neuron_host
from tests.standins.nvidia_host import make_nvidia_host

pytestmark = pytest.mark.usefixtures("quick_tensorflow")

#: STRANGER has the process id of a program of another session, as a service has that was there before the tests.
STRANGER = "STRANGER"
PLACEHOLDER = "raise ImportError('WRONG PACKAGE. Please install the package from Neuron Repository - ...')"


def without_drivers(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """A GPU and an Inferentia chip on the bus, and nothing that drives them."""
    neuron_host.make(folder, "inf1")
    (folder / "dev/neuron0").unlink()
    gpu = {"vendor": "0x10de", "device": "0x1eb8", "class": "0x030200"}
    neuron_host.write(folder / "sys/bus/pci/devices/0000:00:1e.0", gpu)
    patch.setenv("ACCEL_HOST_ROOT", str(folder))


def in_use(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """A GPU whose driver was half upgraded, an Inferentia chip that another process holds, no AWS account."""
    make_nvidia_host(patch, folder, misbehaves="driver-mismatch")
    neuron_host.make(folder, "inf1", processes={int(os.environ[STRANGER]): "python serve.py"})
    patch.setenv("ACCEL_SAGEMAKER", "allow")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, os.devnull)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def without_sdks(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """A GPU without TensorRT, and an Inferentia2 chip with PyPI's placeholder in place of the SDK."""
    make_nvidia_host(patch, folder)
    neuron_host.make(folder, "inf2")
    neuron_host.write(folder / "site/tensorflow_neuronx", {"__init__.py": PLACEHOLDER})
    patch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)


def outdated(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """An Inferentia chip with a driver that no longer supports it."""
    neuron_host.make(folder, "inf1", driver="2.25.4.0")
    patch.setenv("ACCEL_HOST_ROOT", str(folder))


MACHINES: dict[Callable[[pytest.MonkeyPatch, Path], None], dict[str, str]] = {
    without_drivers: {
        "gpu-trt": "no-driver: an NVIDIA GPU is on the PCI bus, but there is no /dev/nvidia0",
        "inf1": "no-driver: an inf1 device is on the PCI bus, but there is no /dev/neuron0",
    },
    in_use: {
        "gpu": "driver-mismatch: the NVIDIA driver's NVML says: RM has detected an NVML/RM version mismatch.",
        "inf1": "busy: another process holds NeuronCores: {stranger} (python serve.py)",
        "inf2": "no-hardware: no inf2 device: the Neuron device on the PCI bus is of another kind (0x7064)",
        "sagemaker": "no-access: boto3 finds no credentials",
    },
    without_sdks: {
        "gpu-trt": "no-sdk: cuda-python cannot be used: No module named 'cuda'",
        "gpu-trt-rtx": "no-sdk: cuda-python cannot be used: No module named 'cuda'",
        "inf2": "placeholder-package: tensorflow-neuronx here is PyPI's placeholder of that name, not the SDK",
    },
    outdated: {
        "inf1": "support-ended: the Neuron driver 2.25.4.0 no longer supports AWS Inferentia; 2.24 was the last",
        "sagemaker": "not-opted-in: a SageMaker endpoint is remote and billed, and is never contacted by itself",
    },
}


@pytest.fixture(autouse=True)
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        monkeypatch.setenv(STRANGER, str(process.pid))
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    "machine",
    [without_drivers, *(pytest.param(each, marks=pytest.mark.slow) for each in (in_use, without_sdks, outdated))],
)
def test_each_reason_is_told_apart_with_what_to_do(
    project: Project, machine: Callable[[pytest.MonkeyPatch, Path], None], stranger: int
) -> None:
    project.monkeypatch.delenv("ACCEL_SAGEMAKER", raising=False)
    machine(project.monkeypatch, project.pytester.mkdir("machine"))
    result = project.run("--accel-list", workers=True)
    assert result.ret == 0
    for accelerator, reason in MACHINES[machine].items():
        at = next(number for number, line in enumerate(result.outlines) if line.split()[:1] == [accelerator])
        assert reason.format(stranger=stranger) in result.outlines[at], result.stdout.str()
        assert result.outlines[at + 1].strip(), "what to do"
