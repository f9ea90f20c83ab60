from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.hardware import processor

if TYPE_CHECKING:
    from pathlib import Path

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16 sve\nCPU part\t: 0xd40\n"


def processor_of(root: Path, text: str, **files: str) -> dict[str, object]:
    for name, content in {"proc/cpuinfo": text, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return {**processor.identity(root)}


@pytest.mark.parametrize(
    ("text", "cpu", "flags"),
    [
        (X86, "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "avx2 fma avx512f avx512_vnni"),
        (ARM, f"{platform.machine()} 0xd40", "asimd asimddp i8mm bf16 sve"),
    ],
    ids=["x86", "ARM"],
)
def test_the_model_and_the_flags_that_matter(tmp_path: Path, text: str, cpu: str, flags: str) -> None:
    assert processor_of(tmp_path, text) == {
        "cpu": cpu,
        "cpu_flags": flags,
        "threads_per_core": 1,
        "cores": processor.usable_cores(),
    }


def test_without_cpuinfo_only_what_is_known_is_told(tmp_path: Path) -> None:
    identity = processor.identity(tmp_path)
    assert identity["cpu"] == platform.machine()
    assert identity["cpu_flags"] == ""


@pytest.mark.parametrize(("quota", "cores"), [("50000", 0.5), ("max", None), ("99900000", None)])
def test_the_cores_are_those_that_the_quota_leaves(tmp_path: Path, quota: str, cores: float | None) -> None:
    group = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota} 100000\n"}
    assert processor_of(tmp_path, X86, **group)["cores"] == (cores or processor.usable_cores())


def test_the_bound_grows_with_cores_and_vectors_and_is_above_real_peaks() -> None:
    one = processor.peak_flops("avx2 fma", 1)
    assert processor.peak_flops("avx2 fma", 4) == 4 * one
    assert processor.peak_flops("avx2 fma avx512f", 1) == 2 * one
    assert processor.peak_flops("", 1) > 0
    # One core of a Xeon 8375C at its turbo of 3.5 GHz: two AVX-512 units, 16 lanes, multiply and add.
    assert processor.peak_flops("avx2 avx512f", 1) > 3.5e9 * 2 * 16 * 2


def test_narrow_types_are_bounded_by_the_fastest_instruction_for_them() -> None:
    flags = "avx2 fma avx512f avx512_vnni"
    assert processor.peak_flops(flags, 2, narrow=True) > processor.peak_flops(flags, 2)
    # One core of a Xeon 8480 at its turbo of 3.8 GHz: a tile multiplication of 16 x 16 x 64 in 16 cycles.
    assert processor.peak_flops(f"{flags} amx_int8", 1, narrow=True) > 3.8e9 * 2 * 16 * 16 * 64 / 16
    # AVX2 alone at 5 GHz: three instructions for 32 multiply-adds, two of them in a cycle.
    assert processor.peak_flops("avx2 fma", 1, narrow=True) > 5e9 * 2 * 32 * 2 / 3


@pytest.mark.parametrize(
    ("flags", "saturates"),
    [
        ("avx2 fma", True),
        ("avx2 avx512f", True),
        ("avx2 avx512_vnni", False),
        ("avx2 avx_vnni", False),
        ("asimd", False),
    ],
)
def test_int8_products_overflow_without_vnni(monkeypatch: pytest.MonkeyPatch, flags: str, saturates: bool) -> None:
    monkeypatch.setattr(processor, "identity", lambda: {"cpu": "x", "cpu_flags": flags})
    assert processor.saturates_int8() == saturates


def test_the_processor_is_a_device_under_the_name_that_the_sdk_has_for_it() -> None:
    present, named = processor.present(), processor.present("a name")
    assert (present.device, named.device) == (present.identity["cpu"], "a name")
    assert named.identity == present.identity == processor.identity()
    flags = str(present.identity["cpu_flags"])
    assert present.peak_flops == processor.peak_flops(flags, processor.usable_cores(), narrow=True)
    if flags:
        assert present.peaks["fp32"] == processor.peak_flops(flags, processor.usable_cores()) < present.peak_flops


def test_a_processor_of_unknown_instructions_has_no_peak_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "identity", lambda: {"cpu": "arm", "cpu_flags": ""})
    assert processor.present().peaks == {}
