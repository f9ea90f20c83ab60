"""An accelerator that runs elsewhere: its options lead to the hardware and versions of a record and a baseline."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.conftest import Project

REMOTE = """
    import os
    from pytest_accel.worker.accelerator import FarSide
    from pytest_accel.worker.accelerators.fake import FakeAccelerator

    class Remote(FakeAccelerator):
        remote = True

        def far_side(self, options):
            return FarSide({"deployment": os.environ["DEPLOYMENT"]}, {"instance_type": os.environ["INSTANCE_TYPE"]})

        def yardstick(self, folder):
            raise AssertionError("no yardstick can run there")

    def pytest_accel_accelerators():
        return {"fake": "conftest:Remote"}
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.pytester.makeconftest(REMOTE)
    project.write_test()
    served_by(project, "1", "ml.small")
    return project


def served_by(project: Project, deployment: str, instance_type: str) -> None:
    project.monkeypatch.setenv("DEPLOYMENT", deployment)
    project.monkeypatch.setenv("INSTANCE_TYPE", instance_type)


def checked(project: Project, *args: str) -> dict[str, Any]:
    """The record of a run that passes."""
    project.run("--accel-report=run.json", *args, workers=True).assert_outcomes(passed=1)
    record: dict[str, Any] = json.loads((project.pytester.path / "run.json").read_text())["tests"][0]
    return record


def test_a_baseline_has_what_serves_there_and_no_pace_beside_a_yardstick(project: Project) -> None:
    record = checked(project, "--accel-save-baseline")
    assert record["hardware"]["identity"]["instance_type"] == "ml.small"
    assert record["versions"]["deployment"] == "1"
    baseline = json.loads(project.baseline().read_text())
    assert baseline["hardware"]["fingerprint"].startswith("ml.small-")
    assert baseline["duets"] == []


@pytest.mark.slow
def test_another_deployment_is_another_artefact_and_a_change_that_is_told(project: Project) -> None:
    before = checked(project, "--accel-save-baseline")
    again = checked(project)
    assert again["artefact"]["key"] == before["artefact"]["key"]
    assert again["changes"] == []
    served_by(project, "2", "ml.small")
    anew = checked(project)
    assert anew["artefact"]["key"] != before["artefact"]["key"]
    assert anew["changes"] == ["version deployment: 1 -> 2"]


def test_a_baseline_of_another_instance_type_is_of_other_hardware(project: Project) -> None:
    checked(project, "--accel-save-baseline")
    served_by(project, "1", "ml.large")
    (verdict,) = [found for found in checked(project)["verdicts"] if found["question"] == "regression"]
    assert verdict["kind"] == "incomparable"
    assert verdict["summary"].startswith("No baseline for ml.large-")
    assert "only from other hardware: ml.small-" in verdict["summary"]


def test_the_gate_cannot_be_tried_there(project: Project) -> None:
    result = project.run("--accel-selftest", "--accelerator=fake", workers=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*it runs outside this machine, where no yardstick can run*"])
