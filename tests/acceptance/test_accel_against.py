"""``--accel-against`` on real TensorFlow: two environments that differ are told apart, two that do not are not.

oneDNN costs a small model more than it gains: with it each call of the small CNN takes half as long again, or more.
"""

from __future__ import annotations

import sys
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Run, Workplace
    from tests.models.zoo import Examples

pytestmark = pytest.mark.slow


@pytest.fixture
def project(workplace: Workplace, digits_cnn: Path, digits_val: Examples, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")  # the default is off where a processor has no VNNI
    workplace.write_data(digits_val)
    workplace.write_check(digits_cnn, name="digits_cnn", marker="max_regression=0.05")
    return workplace


def against(project: Workplace, onednn: int) -> Run:
    """Measured beside this interpreter, with oneDNN switched on or off there."""
    python = project.folder / "python"
    python.write_text(f'#!/bin/sh\nTF_ENABLE_ONEDNN_OPTS={onednn} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    # What a busy machine leaves undecided by then says nothing about the environments.
    return project.run("--accel-against=popen//python=python", "-o", "accel_compare_budget=30")


def test_an_environment_without_onednn_is_another_one(project: Workplace) -> None:
    run = against(project, onednn=0)
    assert run.test.ratio is not None
    assert abs(log(run.test.ratio.estimate)) > 0.1
    assert run.test.kind != "pass", run.output
    assert "version onednn: off -> on" in run.test.changes
    run.explains(f"×{run.test.ratio.estimate:.3f} [", "] of popen//python=python")
    if run.test.kind == "regressed":
        run.explains("times the time of popen//python=python", "Changed from popen//python=python:")


def test_the_same_environment_under_another_name_is_not(project: Workplace) -> None:
    run = against(project, onednn=1)
    assert run.test.kind in ("pass", "improved", "inconclusive"), run.output
    assert (run.test.opponent, run.test.changes) == ("popen//python=python", ())
