from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.accelerators.neuron.inf1 import Inf1
from pytest_accel.worker.accelerators.neuron.inf2_trn1 import Inf2, Trn1
from pytest_accel.worker.hardware import device_files, neuron_devices
from tests.standins import neuron_host

COUNTER = "sys/devices/virtual/neuron_device/neuron{}/neuron_core{}/stats/other_info/inference_count"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the made-up machine lies; it has nothing yet."""
    monkeypatch.setenv("ACCEL_HOST_ROOT", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda _tool: None)
    return tmp_path


def missing(chip: neuron_devices.Chip = neuron_devices.INFERENTIA) -> Missing:
    told = neuron_devices.missing(chip, neuron_devices.look(chip))
    assert told is not None
    return told


def test_a_machine_is_described_by_its_driver_and_neuron_ls(root: Path) -> None:
    neuron_host.make(root, "inf1", devices=4)
    found = neuron_devices.look(neuron_devices.INFERENTIA)
    assert (found.count, found.cores, found.memory_gb, found.driver) == (4, 16, 8.0, neuron_host.DRIVER)
    assert found.identity()["instance_type"] == "inf1.xlarge"
    assert neuron_devices.missing(neuron_devices.INFERENTIA, found) is None


def test_what_nobody_tells_is_left_out(root: Path) -> None:
    neuron_host.write(root / "dev", {"neuron0": "", "neuron1": ""})
    found = neuron_devices.look(neuron_devices.INFERENTIA)
    assert found.identity() == {"neuron_devices": 2, "neuroncores": 8, "driver_version": "unknown"}
    assert found.holders is None
    assert neuron_devices.missing(neuron_devices.INFERENTIA, found) is None
    assert (neuron_devices.inferences(), neuron_devices.device_memory_mb()) == (None, None)


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 60",
        f"echo '{neuron_host.NO_DRIVER}' >&2; exit 1",
        "echo 'not JSON'",
        "echo '{}'",
        "echo '[1, null]'",
    ],
)
def test_a_neuron_ls_that_hangs_or_fails_is_done_without(
    root: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(neuron_devices, "_LOOK_TIMEOUT_S", 0.2 if "sleep" in script else 5.0)
    neuron_host.make(root, "inf1", lists=script)
    before = time.monotonic()
    found = neuron_devices.look(neuron_devices.INFERENTIA)
    assert time.monotonic() - before < 30
    assert (found.cores, found.memory_gb, found.holders) == (4, None, None)


def test_an_older_neuron_ls_tells_less(root: Path) -> None:
    told = '[{"neuron_device": 0, "bdf": "00:1f.0", "connected_to": null, "nc_count": 4, "neuron_processes": null}]'
    neuron_host.make(root, "inf1", lists=f"echo '{told}'")
    found = neuron_devices.look(neuron_devices.INFERENTIA)
    assert (found.cores, found.memory_gb, found.holders) == (4, None, {})


def test_a_stranger_that_holds_cores_makes_it_busy(root: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        neuron_host.make(root, "inf1", processes={stranger.pid: "neuron-bench exec"})
        told = missing()
        stranger.kill()
    assert told.kind == "busy"
    assert f"{stranger.pid} (neuron-bench exec)" in told.reason
    assert "cores are free once their process has ended" in told.action


def test_the_workers_of_this_run_are_no_strangers_whoever_started_them(root: Path) -> None:
    """Under pytest-xdist most of them have another parent than this process."""
    with subprocess.Popen(["sleep", "60"]) as holder:
        neuron_host.make(root, "inf1", processes={holder.pid: "a worker"})
        told = neuron_devices.missing(neuron_devices.INFERENTIA, neuron_devices.look(neuron_devices.INFERENTIA))
        holder.kill()
    assert told is None


@pytest.mark.parametrize(
    ("driver", "chip", "kind", "action"),
    [
        ("1.5.0.0", neuron_devices.INFERENTIA, "driver-mismatch", "upgrade the package aws-neuronx-dkms"),
        ("2.25.1.0", neuron_devices.INFERENTIA, "support-ended", r"install aws-neuronx-dkms=2.24.*"),
    ],
)
def test_a_driver_of_another_time_is_told_with_the_one_to_install(
    root: Path, driver: str, chip: neuron_devices.Chip, kind: str, action: str
) -> None:
    neuron_host.make(root, "inf1", driver=driver)
    told = missing(chip)
    assert (told.kind, told.action) == (kind, action)
    assert driver in told.reason


def test_inferentia2_takes_drivers_that_inferentia_does_not(root: Path) -> None:
    neuron_host.make(root, "inf2", driver="2.29.0.0")
    assert neuron_devices.missing(neuron_devices.INFERENTIA2, neuron_devices.look(neuron_devices.INFERENTIA2)) is None


def test_the_driver_tells_one_chip_from_another_where_the_bus_does_not(root: Path) -> None:
    neuron_host.make(root, "trn1")
    told = missing(neuron_devices.INFERENTIA2)
    assert told.kind == "no-hardware"
    assert "the Neuron driver says that this is trn1" in told.reason


def test_the_bus_tells_one_chip_from_another(root: Path) -> None:
    neuron_host.make(root, "inf2")
    told = device_files.missing_neuron("inf1", device_files.INF1_PCI_IDS)
    assert told is not None
    assert told.kind == "no-hardware"
    assert "another kind (0x7264)" in told.reason
    assert device_files.missing_neuron("inf2", device_files.INF2_PCI_IDS) is None


def test_counters_are_summed_over_all_cores(root: Path) -> None:
    neuron_host.make(root, "inf1", devices=2)
    neuron_host.write(root / COUNTER.format(0, 3), {"total": "40"})
    neuron_host.write(root / COUNTER.format(1, 0), {"total": "2"})
    assert neuron_devices.inferences() == 42


@pytest.mark.parametrize("name", ["execute_completed_with_num_error", "infer_completed_with_num_error"])
def test_inferences_that_gave_nan_are_inferences_under_each_drivers_name_of_them(root: Path, name: str) -> None:
    neuron_host.make(root, "inf1")
    with_nan = COUNTER.replace("other_info/inference_count", f"status/{name}")
    neuron_host.write(root / COUNTER.format(0, 0), {"total": "40"})
    neuron_host.write(root / with_nan.format(0, 1), {"total": "2"})
    assert neuron_devices.inferences() == 42


@pytest.mark.parametrize(
    ("driver", "is_live"),
    [("2.24.7.0", False), ("2.30.1.0", False), ("2.30.2.0", True), ("2.31.0.0", True), ("", False)],
)
def test_drivers_count_at_once_since_a_release(root: Path, driver: str, is_live: bool) -> None:
    neuron_host.make(root, driver=driver)
    assert neuron_devices.counts_live() == is_live


def test_a_counter_may_be_a_file(root: Path) -> None:
    neuron_host.make(root, "inf1", counts=False)
    counter = root / COUNTER.format(0, 0)
    neuron_host.write(counter.parent, {counter.name: "7"})
    assert neuron_devices.inferences() == 7


@pytest.mark.parametrize("product", ["VirtualBox", "HVM domU"])
def test_an_instance_type_is_only_what_ec2_says(root: Path, product: str) -> None:
    folder = root / "sys/devices/virtual/dmi/id"
    neuron_host.write(folder, {"sys_vendor": "Amazon EC2", "product_name": product})
    assert neuron_devices.instance_type() == ""
    neuron_host.write(folder, {"sys_vendor": "innotek GmbH", "product_name": "inf1.xlarge"})
    assert neuron_devices.instance_type() == ""


@pytest.mark.parametrize(
    ("accelerator", "chip", "package"),
    [(Inf1, "inf1", "tensorflow-neuron"), (Inf2, "inf2", "tensorflow-neuronx"), (Trn1, "trn1", "tensorflow-neuronx")],
)
def test_the_placeholder_of_the_sdk_is_not_taken_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, accelerator: type[Inf1 | Inf2], chip: str, package: str
) -> None:
    neuron_host.make(root, chip)
    monkeypatch.setattr("pytest_accel.worker.formats.saved_model.import_tensorflow", lambda: None)
    absent = accelerator().probe()
    assert isinstance(absent, Missing)
    assert absent.kind == "no-sdk"
    assert f"install {package} from AWS's Neuron repository" in absent.action
    site = root / "site-packages"
    words = "WRONG PACKAGE. Please install the package from Neuron Repository - ..."
    neuron_host.write(site / package.replace("-", "_"), {"__init__.py": f"raise ImportError({words!r})"})
    monkeypatch.syspath_prepend(site)
    placeholder = accelerator().probe()
    assert isinstance(placeholder, Missing)
    assert placeholder.kind == "placeholder-package"
    assert placeholder.action.startswith(f"pip uninstall {package}, then install it from AWS's Neuron repository")
