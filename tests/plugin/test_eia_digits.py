"""``eia`` from end to end on a model that reads digits, against the stand-in of its predictor and its bad habits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.report.record import read_record
from tests.deadlines import pass_once
from tests.plugin.conftest import Project, kinds_of_verdict
from tests.standins import elastic_inference_host

if TYPE_CHECKING:
    from tests.models.zoo import Examples

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_tensorflow")]

STANDINS = Path(elastic_inference_host.__file__).parent
CHECK = """
    import pytest

    @pytest.mark.accelerator("eia", batch_size=32, accelerator_type="eia2.large")
    @pytest.mark.parametrize("habit", {habits!r})
    def test_digits(accel_model, habit, monkeypatch):
        compiled = accel_model({model!r})
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)  # of the worker that measures, which is started now
        compiled.check("digits.npz")
"""
#: What the user is told of each way in which the predictor does wrong.
TOLD = {
    "nan": "NaN",
    "casts": "CheckFailed: inaccurate: digits_cnn*default max_accuracy_drop",
    "falls-back": "CompileFailed: the client library has not said which accelerator it connected to, so",
    "wrong-accelerator": "CompileFailed: *'eia2.large' was asked for, but *connected to eia-*1, an eia2.xlarge",
    "lost-device": "Unreachable: eia-*0 (eia2.large) did not answer: look at the VPC endpoint*UNAVAILABLE",
    "refuses-operator": "CompileFailed: the predictor cannot load this model: this TensorFlow is too old to know 'D*'",
    "out-of-memory": "Unreachable: accelerator did not answer: * fits the accelerator's memory (Failed to load",
}


@pytest.fixture
def eia(project: Project, digits_val: Examples) -> Project:
    """A project on a machine with two accelerators, and the digits."""
    images, labels = digits_val
    np.savez(project.pytester.path / "digits.npz", image=images, labels=labels)
    root = elastic_inference_host.make(project.pytester.path / "machine", "eia2.large", "eia2.xlarge")
    project.monkeypatch.setenv("ACCEL_HOST_ROOT", str(root))
    project.monkeypatch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
    return project


def check(project: Project, model: Path, *habits: str) -> pytest.RunResult:
    """Check the digits once with each habit; none is the habit ""."""
    project.pytester.makepyfile(test_digits=CHECK.format(habits=list(habits), model=str(model)))
    return project.run("--accel-report=run.json", "--accelerator=eia", workers=True)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ([""], ["falls-back", "wrong-accelerator", "refuses-operator"]),
        ([], ["nan", "casts", "lost-device", "out-of-memory"]),
    ],
)
def test_what_is_right_passes_and_what_is_wrong_fails_with_what_to_do(
    eia: Project, digits_cnn: Path, good: list[str], bad: list[str]
) -> None:
    result = check(eia, digits_cnn, *good, *bad)
    result.assert_outcomes(passed=len(good), failed=len(bad))
    result.stdout.fnmatch_lines_random([f"*{TOLD[habit]}*" for habit in bad])
    for record in read_record(eia.pytester.path / "run.json").tests[: len(good)]:
        assert record.hardware.identity["device"] == "Amazon Elastic Inference"
        assert kinds_of_verdict(record) == {"pass", "no-baseline"}


def test_a_model_that_is_brought_there_for_minutes_is_given_up(eia: Project, digits_cnn: Path) -> None:
    eia.pytester.makeini("[pytest]\naccel_run_timeout = 300")
    pass_once(eia.monkeypatch, (eia.pytester.path / "machine" / "slow-compile").exists)
    result = check(eia, digits_cnn, "slow-compile")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*eia: load was still running after 300 s and was killed; --accel-run-timeout*"])


def test_a_service_that_has_ended_is_skipped_with_the_reason(eia: Project, digits_cnn: Path) -> None:
    eia.monkeypatch.setenv("ACCEL_HOST_ROOT", str(eia.pytester.path / "nowhere"))
    result = check(eia, digits_cnn, "")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*eia absent: Amazon Elastic Inference is no longer available; serve from inf2*"])
