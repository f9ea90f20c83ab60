"""Calibration data, from the test that gives them to the one that forgot, on a fake whose INT8 needs some."""

from __future__ import annotations

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project

LEARNS = """
    from pytest_accel.testing import FakeAccelerator

    class Learns(FakeAccelerator):
        calibrated = ("int8",)

    def pytest_accel_accelerators():
        return {"fake": "conftest:Learns"}
"""
TEST = """
    import numpy as np
    import pytest

    ROWS = np.random.default_rng(1).normal(size=(120, 4)).astype("float32")

    @pytest.mark.accelerator("fake", precision=["fp32", "int8"])
    def test_model(accel_model):
        accel_model("model.fake.json"{given}).check(ROWS[:20])
"""


def run(project: Project, given: str = "", *args: str) -> pytest.RunResult:
    project.write_model(by_precision={"int8": {"precisions": {"int8": 2}}})
    project.pytester.makeconftest(LEARNS)
    project.pytester.makepyfile(test_model=TEST.format(given=f", {given}" if given else ""))
    return project.run("--accel-report=run.json", *args)


def test_int8_without_calibration_data_is_a_usage_error_and_fp32_needs_none(project: Project) -> None:
    result = run(project)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*UsageError: fake-int8 learns its ranges from data: accel_model(source, calibration=dataset)"]
    )


@pytest.mark.parametrize(("samples", "taken"), [("", 100), (", calibration_samples=64", 64)])
def test_as_many_samples_are_taken_as_asked_for_or_there_are(project: Project, samples: str, taken: int) -> None:
    run(project, f"calibration=ROWS[20:]{samples}").assert_outcomes(passed=2)
    fp32, int8 = (test.accuracy for test in read_record(project.pytester.path / "run.json").tests)
    assert fp32 is not None
    assert int8 is not None
    assert (fp32.calibration_samples, int8.calibration_samples) == (None, taken)


@pytest.mark.slow
def test_other_calibration_data_make_another_artefact(project: Project) -> None:
    keys = []
    for given in ("calibration=ROWS[20:]", "calibration=ROWS[20:]", "calibration=ROWS[30:]"):
        run(project, given).assert_outcomes(passed=2)
        tests = read_record(project.pytester.path / "run.json").tests
        keys.append([test.artefact.key for test in tests if test.artefact is not None])
    (fp32, int8), again, (still_fp32, other_int8) = keys
    assert again == [fp32, int8]
    assert (still_fp32, other_int8 == int8) == (fp32, False)


def test_samples_that_are_judged_on_too_are_an_error_that_can_be_overridden(project: Project) -> None:
    result = run(project, "calibration=ROWS[10:]")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*DatasetError: 10 samples of the evaluation data were calibrated with, the first is row 10: "
            "calibrate with other samples, or say calibration_overlap=True"
        ]
    )
    run(project, "calibration=ROWS[10:], calibration_overlap=True").assert_outcomes(passed=2)
