"""The worker room `nvml` before the stand-in for ``pynvml``, which tests/contract holds against the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.hardware import nvml

STANDIN = Path(__file__).parents[3] / "standins" / "pynvml"


@pytest.fixture(autouse=True)
def pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STANDIN))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", os.devnull)
    monkeypatch.delenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", raising=False)


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda habits: monkeypatch.setenv("STANDIN_MISBEHAVES", habits)


def test_a_t4_is_told_by_its_own_facts() -> None:
    assert nvml.Device().identity() == {
        "gpu": "Tesla T4",
        "gpu_uuid": "GPU-5a1c3e70-8d2b-4f6e-9c41-d07b2e9f6a13",
        "compute_capability": "7.5",
        "sm_count": 40,
        "gpu_clock_mhz": 1590,
        "gpu_memory_mb": 15360,
        "gpu_power_limit_w": 70,
        "gpu_ecc": True,
    }
    assert nvml.Device().driver_version() == "580.126.09"


def test_memory_without_error_correction_is_another_kind_of_card(misbehave: Callable[[str], None]) -> None:
    misbehave("ecc-off")
    assert nvml.Device().identity()["gpu_ecc"] is False
    misbehave("old-driver")
    assert "gpu_ecc" not in nvml.Device().identity()


def test_what_an_sdk_tells_of_its_own_handle_comes_first() -> None:
    found = nvml.Device().present({"gpu": "Tesla T4", "sm_count": 36})
    assert (found.device, found.identity["sm_count"], found.identity["gpu_power_limit_w"]) == ("Tesla T4", 36, 70)
    assert found.peak_flops == found.peaks["int8"] > found.peaks["fp32"]


@pytest.mark.parametrize("other", [{"gpu": "NVIDIA A10G"}, {"gpu": "Tesla T4", "gpu_uuid": "GPU-another"}])
def test_facts_of_another_card_are_not_mixed_with_those_of_the_one_in_use(other: dict[str, str]) -> None:
    found = nvml.Device().present(other)
    assert (found.device, found.identity, found.peak_flops) == (other["gpu"], other, None)


def test_its_peak_is_that_of_the_data_sheet() -> None:
    published = {"fp32": 8.1e12, "tf32": 8.1e12, "fp16": 65e12, "bf16": 65e12, "fp8": 130e12, "int8": 130e12}
    assert nvml.Device().peaks() == pytest.approx(published, rel=0.01)


def test_what_an_old_driver_does_not_know_is_left_out(misbehave: Callable[[str], None]) -> None:
    misbehave("old-driver,hot")
    assert "sm_count" not in nvml.Device().identity()
    assert nvml.Device().peaks() == {}
    assert "94 °C" in nvml.Device().throttled(), "the older function still tells"


def test_without_pynvml_nothing_is_known_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    device = nvml.Device()
    assert nvml.missing() is None
    assert (device.identity(), device.throttled(), device.driver_version()) == ({}, "", "unknown")
    assert (device.state(), device.held_back_ns()) == ({}, {})
    assert (device.peaks(), device.memory_mb(), device.compute_capability()) == ({}, None, None)


@pytest.mark.parametrize("visible", ["0", "GPU-5a1c3e70-8d2b-4f6e-9c41-d07b2e9f6a13", "0,1"])
def test_the_device_is_the_first_that_cuda_may_see(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.Device().identity()["gpu"] == "Tesla T4"


def test_facts_of_another_device_are_not_taken_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert nvml.Device().identity() == {}


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_devices_are_no_hardware(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    missing = nvml.missing()
    assert missing is not None
    assert (missing.kind, missing.reason) == ("no-hardware", "CUDA_VISIBLE_DEVICES hides every GPU")


@pytest.mark.parametrize(
    ("habit", "kind", "words", "action"),
    [
        ("driver-missing", "no-driver", "Driver Not Loaded", "modprobe nvidia"),
        ("driver-mismatch", "driver-mismatch", "RM has detected an NVML/RM version mismatch.", "reboot"),
        ("lost-device", "no-hardware", "GPU is lost", "Xid"),
        ("prohibited", "busy", "prohibits computing", "nvidia-smi -c DEFAULT"),
        (
            "exclusive",
            "busy",
            "for one process at a time (its compute mode), and a check needs several",
            "or start MPS",
        ),
        ("exclusive,idle-neighbour", "busy", "others measure, and process 1 (", "nvidia-smi -c DEFAULT"),
    ],
)
def test_why_a_gpu_cannot_be_used(
    misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, habit: str, kind: str, words: str, action: str
) -> None:
    misbehave(habit)
    monkeypatch.setattr("os.getsid", sessions({0: 10, os.getpid(): 10, 1: 1}))
    missing = nvml.missing()
    assert missing is not None
    assert missing.kind == kind
    assert words in missing.reason
    assert action in missing.action


@pytest.mark.parametrize("habits", ["", "shared", "hot", "mig"])
def test_a_gpu_that_can_be_used_is_not_missing(misbehave: Callable[[str], None], habits: str) -> None:
    misbehave(habits)
    assert nvml.missing() is None


def test_a_card_at_its_power_limit_is_as_it_should_be() -> None:
    assert nvml.Device().throttled() == ""


def test_heat_is_told_with_what_it_does(misbehave: Callable[[str], None]) -> None:
    misbehave("hot")
    assert nvml.Device().throttled() == "the GPU ran slower because of heat (94 °C, 645 of 1590 MHz, 69 of 70 W)"


def test_the_state_of_the_card_is_told_with_what_limits_its_clock(misbehave: Callable[[str], None]) -> None:
    told = {"sm_clock_mhz": 1590, "memory_clock_mhz": 5000, "p_state": "P0", "temperature_c": 61, "power_w": 68.7}
    assert nvml.Device().state() == {**told, "clock_limited_by": "the power limit"}
    misbehave("fixed-clocks,hot")
    state = nvml.Device().state()
    assert (state["sm_clock_mhz"], state["clock_limited_by"]) == (645, "fixed clocks, the power limit, heat")


def test_how_long_it_was_held_back_is_counted(misbehave: Callable[[str], None]) -> None:
    assert nvml.Device().held_back_ns() == {"heat": 0, "slower GPUs of its boost group": 0}
    misbehave("hot-between")
    before, after = (nvml.Device().held_back_ns()["heat"] for _ in range(2))
    assert 0 < before < after


def test_newer_fields_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fields(_handle: str, numbers: list[int]) -> list[Any]:
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(ullVal=1000 * number)) for number in numbers]

    device = nvml.Device()
    monkeypatch.setattr(device._pynvml, "nvmlDeviceGetFieldValues", fields)
    assert device.held_back_ns() == {
        "heat": 0,
        "slower GPUs of its boost group": 0,
        "heat that the driver acted on": 269_000,
        "heat that the hardware acted on": 270_000,
        "the power brake of the machine": 271_000,
    }


@pytest.mark.parametrize(
    ("theirs", "told"), [({1: 1}, "process 1 ("), ({1: 10}, ""), ({}, "")], ids=["other", "worker", "unseen"]
)
def test_somebody_else_on_the_card_is_named(
    misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, theirs: dict[int, int], told: str
) -> None:
    misbehave("shared")
    monkeypatch.setattr("os.getsid", sessions({0: 10, os.getpid(): 10, **theirs}))
    throttled = nvml.Device().throttled()
    assert throttled.startswith(told)
    assert throttled.endswith(") computes on the GPU too" if told else "")
    assert bool(throttled) == bool(told)


def test_somebody_who_only_holds_memory_slows_nobody_down(
    misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getsid", sessions({0: 10, os.getpid(): 10, 1: 1}))
    device = nvml.Device()
    misbehave("idle-neighbour")
    assert device.throttled() == ""
    misbehave("shared")
    assert "computes on the GPU too" in device.throttled()


@pytest.mark.parametrize("code", ["NVML_SUCCESS", "NVML_ERROR_NOT_FOUND"])
def test_no_samples_are_nobody(misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    misbehave("shared")
    monkeypatch.setattr("os.getsid", sessions({0: 10, os.getpid(): 10, 1: 1}))
    device = nvml.Device()

    def fail(_handle: str, _since_us: int) -> Any:
        raise device._pynvml.NVMLError(getattr(device._pynvml, code))

    monkeypatch.setattr(device._pynvml, "nvmlDeviceGetProcessUtilization", fail)
    assert device.throttled() == ""


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The server of MPS holds the GPU, in a session of its own."""
    server = shutil.copy("/bin/sleep", tmp_path / "nvidia-cuda-mps-server")
    with subprocess.Popen([server, "60"], start_new_session=True) as process:
        name = Path(f"/proc/{process.pid}/comm")
        while not name.read_text().startswith("nvidia"):  # the kernel names a process shortly after it has begun
            time.sleep(0.01)
        monkeypatch.setenv("STANDIN_NEIGHBOUR", str(process.pid))
        yield
        process.kill()


@pytest.mark.usefixtures("mps")
def test_the_server_of_mps_is_nobody_else_and_lets_several_processes_on_an_exclusive_gpu(
    misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave("exclusive,shared")
    assert nvml.missing() is None
    assert nvml.Device().throttled() == ""
    assert nvml.Device().identity()["gpu_mps"] is True
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "50")
    assert nvml.Device().identity()["gpu_mps_thread_percentage"] == "50"


def test_mps_counts_before_its_server_has_started(
    misbehave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    misbehave("exclusive")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert nvml.missing() is not None
    (tmp_path / "control").touch()
    assert nvml.missing() is None


@pytest.mark.parametrize(
    ("visible", "kind", "memory_mb", "sm_count"),
    [
        (None, "1g.5gb", 4864, 14),  # CUDA uses the first slice alone
        ("MIG-7b6a5948-3726-5150-9483-726150493827", "3g.20gb", 19968, 42),
    ],
)
def test_a_slice_of_a_card_is_a_device_of_its_own_with_the_cards_clocks(
    misbehave: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    kind: str,
    memory_mb: int,
    sm_count: int,
) -> None:
    misbehave("mig")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device = nvml.Device()
    facts = device.identity()
    assert facts["gpu"] == f"NVIDIA A100-SXM4-40GB MIG {kind}"
    assert (facts["gpu_memory_mb"], facts["sm_count"], facts["gpu_mig"]) == (memory_mb, sm_count, True)
    assert str(facts["gpu_uuid"]).startswith("MIG-")
    assert device.peaks()["fp32"] == pytest.approx(sm_count * 128 * 1.59e9)
    assert (device.state()["sm_clock_mhz"], device.held_back_ns()["heat"]) == (1590, 0)


def test_all_accelerators_have_one_name_for_a_slice(misbehave: Callable[[str], None]) -> None:
    misbehave("mig")
    device = nvml.Device()
    uuid = str(device.identity()["gpu_uuid"])
    name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    by_cuda, by_tensorflow = {"gpu": name, "gpu_uuid": uuid.replace("MIG-", "GPU-")}, {"gpu": name}
    assert device.present(by_cuda).identity["gpu_uuid"] == device.present(by_tensorflow).identity["gpu_uuid"] == uuid


def test_the_memory_is_that_of_this_process() -> None:
    assert nvml.Device().memory_mb() == 360


def test_cuda_counts_like_nvml_unless_somebody_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    nvml.order_devices()
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    nvml.order_devices()
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


def sessions(known: dict[int, int]) -> Callable[[int], int]:
    """`os.getsid` where only these processes can be seen."""

    def getsid(pid: int) -> int:
        if pid not in known:
            raise ProcessLookupError(pid)
        return known[pid]

    return getsid
