"""What the script for a machine with a GPU does on one without, and once its time is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.finding import Finding, NotApplicable
from pytest_accel.acceptance.record import read
from pytest_accel.acceptance.run import checks_of
from pytest_accel.worker.accelerators.pytorch.gpu_torch import GpuTorch
from tests.hardware import gpu_torch

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject


def test_without_a_gpu_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu_torch.main(["-o", str(tmp_path / "seen.json")]) == 1
    (seen,) = read(tmp_path / "seen.json")
    assert seen.standing == "absent"
    assert f"gpu-torch is absent: {seen.absent}" in capsys.readouterr().out


def test_every_check_that_it_takes_over_is_one() -> None:
    assert set(gpu_torch.ACCEPTED) <= checks_of(GpuTorch.options()["precision"].choices).keys()


def test_no_check_begins_once_the_time_is_over() -> None:
    def check(subject: Subject | None) -> Finding:
        return Finding("made")

    subject: Subject = None  # type: ignore[assignment] # which the check does not look at
    assert gpu_torch.in_time(check, lambda: gpu_torch.MOST_S)(subject) == Finding("made")
    with pytest.raises(NotApplicable, match="500 s were over"):
        gpu_torch.in_time(check, lambda: gpu_torch.MOST_S + 1)(subject)
