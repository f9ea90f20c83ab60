"""The identity in a record comes from the handle that was used, so a device under another's name is no measurement."""

from __future__ import annotations

import json

import pytest

from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.plugin.conftest import Project

SIZED = """
    from pytest_accel.worker.accelerators.fake import FakeAccelerator
    from pytest_accel.worker.accelerator import Option

    class Sized(FakeAccelerator):
        own_options = {**FakeAccelerator.own_options, "accelerator_type": Option(str, None, doc="its size")}

    def pytest_accel_accelerators():
        return {"fake": "conftest:Sized"}
"""


@pytest.mark.parametrize(("asked", "outcome"), [("large", "failed"), ("xlarge", "passed")])
def test_what_was_asked_for_has_to_be_what_was_used(project: Project, asked: str, outcome: str) -> None:
    project.pytester.makeconftest(SIZED)
    project.monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"identity_facts": {"accelerator_type": "xlarge"}}))
    project.write_test(marker=f"accelerator_type={asked!r}")
    result = project.run(workers=True)
    result.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            ["*not-measured: *accelerator_type='large' was asked for, and what was used says 'xlarge'*"]
        )
