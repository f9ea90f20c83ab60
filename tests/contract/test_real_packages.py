"""The vendors' small packages themselves: NVML's bindings, and what PyPI holds in place of AWS's Neuron SDK.

They are downloaded, so this is slow: ``pytest tests/contract -m slow``.
"""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path

import pytest

from pytest_accel.worker.hardware import device_files
from tests.contract.wheels import download, run
from tests.standins import neuron_host

pytestmark = pytest.mark.slow

STANDIN = Path(neuron_host.__file__).parent / "pynvml"
#: The first release that has all names, and the one that the stand-in was written from.
NVML_RELEASES = ("nvidia-ml-py==12.560.30", "nvidia-ml-py==13.615.71")
#: Names and values of NVML, the parameters of its functions and the words of its errors.
NVML = """
import inspect, json, pynvml
names = {name: value for name, value in vars(pynvml).items() if name.startswith(("NVML_", "nvml"))}
words = {code: str(pynvml.NVMLError(code)) for code in pynvml.__dict__.get("_WORDS", range(1, 30))}
told = {name: list(inspect.signature(value).parameters) if inspect.isfunction(value) else value
        for name, value in names.items() if inspect.isfunction(value) or isinstance(value, int)}
print(json.dumps([told, words]))
"""
PROBE = """
import json
from importlib.metadata import distributions
from {module} import {name}
found = {name}().probe_hardware() or {name}().probe()
print(json.dumps(vars(found)))
"""
PLACEHOLDERS = {
    "inf1": ("tensorflow-neuron==1.0", "pytest_accel.worker.accelerators.neuron.inf1", "Inf1"),
    "inf2": ("tensorflow-neuronx==1.0", "pytest_accel.worker.accelerators.neuron.inf2_trn1", "Inf2"),
    "trn1": ("tensorflow-neuronx==1.0", "pytest_accel.worker.accelerators.neuron.inf2_trn1", "Trn1"),
}


@pytest.mark.parametrize("release", NVML_RELEASES)
def test_the_real_pynvml_has_the_names_values_and_words_of_the_stand_in(release: str, tmp_path: Path) -> None:
    mine, my_words = json.loads(run("-c", NVML, path=[STANDIN]))
    theirs, their_words = json.loads(run("-c", NVML, path=[download(tmp_path, release)]))
    # Of these the older release has other names, or none and nothing to ask.
    later = {"nvmlDeviceGetTemperatureV", *(name for name in mine if "FI_DEV_CLOCKS_EVENT_REASON" in name)}
    assert {"nvmlInit", "nvmlDeviceGetMigMode", "NVML_ERROR_GPU_IS_LOST"} <= mine.keys()
    assert {name: theirs.get(name) for name in mine} == {
        name: theirs.get(name) if name in later and release == NVML_RELEASES[0] else told for name, told in mine.items()
    }
    assert {code: their_words[code] for code in my_words} == my_words


@pytest.mark.skipif(device_files.missing_nvidia() is None, reason="there is a GPU here")
def test_the_real_pynvml_says_that_there_is_no_driver(tmp_path: Path) -> None:
    code = "import json; from pytest_accel.worker.hardware.nvml import missing; print(json.dumps(vars(missing())))"
    missing = json.loads(run("-c", code, path=[download(tmp_path, NVML_RELEASES[-1])], CUDA_VISIBLE_DEVICES="0"))
    assert missing["kind"] == "no-driver"
    assert missing["reason"] == "the NVIDIA driver's NVML says: NVML Shared Library Not Found"


@pytest.mark.parametrize("accelerator", PLACEHOLDERS)
def test_the_real_placeholder_of_the_neuron_sdk_is_recognised(accelerator: str, tmp_path: Path) -> None:
    if not any(distributions(name="tensorflow")):
        pytest.skip("needs pip install 'pytest-accel[cpu]'")
    package, module, name = PLACEHOLDERS[accelerator]
    machine = neuron_host.make(tmp_path / "machine", accelerator)
    site = download(tmp_path, package)
    missing = json.loads(run("-c", PROBE.format(module=module, name=name), path=[site], ACCEL_HOST_ROOT=str(machine)))
    assert missing["kind"] == "placeholder-package"
    assert missing["reason"] == f"{package[:-5]} here is PyPI's placeholder of that name, not the SDK"
