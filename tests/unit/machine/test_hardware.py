"""Every machine here is a folder of files that a kernel could have written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_accel import __version__
from pytest_accel.facts.fact import Scalar
from pytest_accel.facts.records import Hardware
from pytest_accel.machine import hardware
from pytest_accel.machine.hardware import describe_hardware, device_name
from pytest_accel.machine.here import Ask
from pytest_accel.worker.hardware import processor
from pytest_accel.worker.host.identity import Identity
from pytest_accel.worker.host.operations import Operations
from tests.unit.worker.host.machines import machine

XEON = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
siblings\t: 4
cpu cores\t: 2
flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni
"""
GRAVITON = """\
processor\t: 0
Features\t: fp asimd asimddp i8mm bf16 sve
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr("platform.machine", lambda: "aarch64")


def asked(root: Path) -> Ask:
    """What asks the machine whose files these are."""
    return Operations(Identity(root)).ask


@pytest.fixture
def xeon(tmp_path: Path) -> Path:
    return machine(tmp_path, {"proc/cpuinfo": XEON, "proc/meminfo": "MemTotal:       15823488 kB\n"})


def test_hardware_is_named_so_that_a_person_can_read_it(xeon: Path) -> None:
    hardware = describe_hardware("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", {}, asked(xeon))
    assert hardware.identity == {
        "device": "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
        "cpu": "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
        "cpu_flags": "avx2 fma avx512f avx512_vnni",
        "threads_per_core": 2,
        "cores": 2,
        "memory_gb": 16,
    }
    assert hardware.fingerprint.rpartition("-")[0] == "intel-xeon-platinum-8375c-2c-16g"
    assert len(hardware.fingerprint.rpartition("-")[2]) == 6


def test_a_fingerprint_is_a_folder_name_whatever_the_device_is_called(xeon: Path) -> None:
    fingerprint = describe_hardware("../Tesla T4/\n§", {}, asked(xeon), instance_type="g4dn.xlarge").fingerprint
    assert fingerprint.rpartition("-")[0] == "g4dn.xlarge-tesla-t4-2c-16g"


@pytest.mark.parametrize("name", ["driver_version", "uuid", "serial", "pci_bus_id", "index", "cuda_runtime"])
def test_software_and_the_single_card_are_recorded_but_not_part_of_the_fingerprint(xeon: Path, name: str) -> None:
    one = describe_hardware("Tesla T4", {name: "1"}, asked(xeon))
    other = describe_hardware("Tesla T4", {name: "2"}, asked(xeon))
    assert one.fingerprint == other.fingerprint
    assert other.identity[name] == "2"


@pytest.mark.parametrize("identity", [{"memory_gb": 32}, {"cores": 4}, {"sm_count": 40}, {"cpu_flags": "avx2"}])
def test_other_hardware_has_another_fingerprint(xeon: Path, identity: dict[str, str | int]) -> None:
    known = describe_hardware("Tesla T4", {"sm_count": 30}, asked(xeon))
    assert describe_hardware("Tesla T4", {"sm_count": 30, **identity}, asked(xeon)).fingerprint != known.fingerprint


def test_memory_that_the_kernel_keeps_for_itself_does_not_change_the_fingerprint(xeon: Path) -> None:
    before = describe_hardware("Xeon", {}, asked(xeon))
    machine(xeon, {"proc/meminfo": "MemTotal:       16100000 kB\n"})
    assert describe_hardware("Xeon", {}, asked(xeon)) == before


@pytest.mark.parametrize(("kib", "expected"), [(3_900_000, 4), (24_683_656, 24), (32_505_856, 32), (1_000_000, 1.0)])
def test_memory_is_rounded_up_to_the_size_that_is_sold(tmp_path: Path, kib: int, expected: float) -> None:
    root = machine(tmp_path, {"proc/meminfo": f"MemTotal: {kib} kB\n"})
    assert describe_hardware("x", {}, asked(root)).identity["memory_gb"] == expected


def test_an_arm_processor_is_known_by_its_part_number(tmp_path: Path) -> None:
    identity = describe_hardware("cpu", {}, asked(machine(tmp_path, {"proc/cpuinfo": GRAVITON}))).identity
    assert identity["cpu"] == "aarch64 0x41 0xd40"
    assert identity["cpu_flags"] == "asimd asimddp i8mm bf16 sve"
    assert identity["threads_per_core"] == 1


def test_a_machine_that_shows_nothing_still_has_a_fingerprint(tmp_path: Path) -> None:
    assert describe_hardware("cpu", {}, asked(tmp_path)).fingerprint.startswith("2c-0g-")


def test_the_instance_type_comes_from_the_firmware(xeon: Path) -> None:
    dmi = "sys/devices/virtual/dmi/id"
    machine(xeon, {f"{dmi}/sys_vendor": "Amazon EC2\n", f"{dmi}/product_name": "inf1.xlarge\n"})
    assert describe_hardware("x", {}, asked(xeon)).identity["instance_type"] == "inf1.xlarge"
    assert describe_hardware("x", {}, asked(xeon), instance_type="mine").identity["instance_type"] == "mine"


@pytest.mark.parametrize(("vendor", "product"), [("Xen", "c4.large"), ("Amazon EC2", "HVM domU"), ("Dell", "R740.x")])
def test_firmware_that_names_no_instance_type_is_not_believed(xeon: Path, vendor: str, product: str) -> None:
    machine(xeon, {"sys/class/dmi/id/sys_vendor": vendor, "sys/class/dmi/id/product_name": product})
    assert "instance_type" not in describe_hardware("x", {}, asked(xeon)).identity


def test_a_quota_below_the_cores_is_what_the_hardware_gives(xeon: Path) -> None:
    machine(xeon, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000"})
    assert describe_hardware("x", {}, asked(xeon)).identity["cores"] == 1.5


def test_a_quota_of_one_core_is_not_lost_on_an_accelerator_that_runs_on_the_processor(xeon: Path) -> None:
    whole = describe_hardware("Xeon", processor.identity(xeon), asked(xeon))
    machine(xeon, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000"})
    throttled = describe_hardware("Xeon", processor.identity(xeon), asked(xeon))
    assert (whole.identity["cores"], throttled.identity["cores"]) == (2, 1.0)
    assert "-1.0c-" in throttled.fingerprint
    assert throttled == describe_hardware("Xeon", {}, asked(xeon)), "there is one description of a processor"


def test_the_controller_tells_our_version() -> None:
    assert hardware.controller_versions()["pytest-accel"] == __version__


def a_machine(cpu: str = "Xeon", **identity: str | int) -> Hardware:
    facts: dict[str, Scalar] = {"device": "Xeon", "cpu": cpu, "cores": 2, **identity}
    return Hardware(fingerprint="x", identity=facts)


def test_accelerators_on_one_processor_have_one_device_whatever_cores_they_may_use() -> None:
    assert device_name(a_machine(cores=2)) == device_name(a_machine(cores=1, precision="bf16"))
    assert device_name(a_machine()).startswith("processor-")


@pytest.mark.parametrize("name", ["uuid", "serial", "pci_bus_id"])
def test_two_cards_of_a_kind_are_two_devices(name: str) -> None:
    one, other = (device_name(a_machine(device="Tesla T4", **{name: value})) for value in ("1", "2"))
    assert one != other
    assert one.startswith("tesla-t4-")
    assert one == device_name(a_machine(device="Tesla T4", cpu="Epyc", **{name: "1"}))
