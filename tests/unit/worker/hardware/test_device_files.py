from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.hardware import device_files

if TYPE_CHECKING:
    from collections.abc import Callable


def put_on_bus(root: Path, vendor: str, device: str, kind: str) -> None:
    folder = root / "sys/bus/pci/devices/0000:00:1e.0"
    folder.mkdir(parents=True)
    for name, value in {"vendor": vendor, "device": device, "class": kind}.items():
        (folder / name).write_text(value + "\n", encoding="ascii")


def make_node(root: Path, name: str) -> None:
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev" / name).touch()


def inf1(root: Path) -> Missing | None:
    return device_files.missing_neuron("inf1", device_files.INF1_PCI_IDS, str(root))


def nvidia(root: Path) -> Missing | None:
    return device_files.missing_nvidia(str(root))


@pytest.mark.parametrize("look", [nvidia, inf1])
def test_nothing_on_the_bus_is_no_hardware(tmp_path: Path, look: Callable[[Path], Missing | None]) -> None:
    missing = look(tmp_path)
    assert missing is not None
    assert missing.kind == "no-hardware"


@pytest.mark.parametrize(
    ("look", "vendor", "device", "kind"),
    [(nvidia, "0x10de", "0x1eb8", "0x030200"), (inf1, "0x1d0f", "0x7064", "0x088000")],
)
def test_hardware_without_a_device_file_has_no_driver(
    tmp_path: Path, look: Callable[[Path], Missing | None], vendor: str, device: str, kind: str
) -> None:
    put_on_bus(tmp_path, vendor, device, kind)
    missing = look(tmp_path)
    assert missing is not None
    assert missing.kind == "no-driver"


def test_an_nvidia_device_that_computes_nothing_is_no_gpu(tmp_path: Path) -> None:
    put_on_bus(tmp_path, "0x10de", "0x10f8", "0x040300")  # the sound of a graphics card
    missing = nvidia(tmp_path)
    assert missing is not None
    assert missing.kind == "no-hardware"


def test_an_inferentia2_device_is_no_inf1(tmp_path: Path) -> None:
    put_on_bus(tmp_path, "0x1d0f", "0x7264", "0x088000")
    missing = inf1(tmp_path)
    assert missing is not None
    assert missing.kind == "no-hardware"


def test_a_neuron_device_file_speaks_against_nothing(tmp_path: Path) -> None:
    make_node(tmp_path, "neuron0")
    assert inf1(tmp_path) is None


def test_an_nvidia_device_file_without_the_drivers_library_has_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_node(tmp_path, "nvidia0")
    monkeypatch.setattr("ctypes.util.find_library", {"cuda": "libcuda.so.1"}.get)
    assert nvidia(tmp_path) is None
    monkeypatch.setattr("ctypes.util.find_library", {}.get)
    missing = nvidia(tmp_path)
    assert missing is not None
    assert "libcuda.so.1" in missing.reason


def test_the_drivers_library_is_also_found_where_only_the_loader_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_node(tmp_path, "nvidia0")
    monkeypatch.setattr("ctypes.util.find_library", {}.get)
    (tmp_path / "libcuda.so.1").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert nvidia(tmp_path) is None
