"""A run with hosts, from its first test to its reports. The ssh client is a stand-in, and everything else is real."""

from __future__ import annotations

import json
import sys

import pytest

from pytest_accel.report.record import read_record
from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.plugin.conftest import Project
from tests.standins import ssh_client

pytestmark = pytest.mark.slow  # whole runs of several processes, each with an attendant

THREE = f"def pytest_accel_accelerators(): return dict.fromkeys(['fake', 'left', 'right'], {FAKE!r})"
TEST = """
    import pytest

    @pytest.mark.accelerator("fake", "left", "right"{budgets})
    def test_model(accel_model):
        accel_model("model.fake.json").check()
"""


def host(name: str, machine: str, **script: object) -> str:
    """The option that puts an accelerator on a machine, whose device is what the script makes of it."""
    there = f"//env:{ENVIRONMENT_VARIABLE}={json.dumps(script)}" if script else ""
    return f"--accel-host={name}=ssh=me@{machine}//python={sys.executable}{there}"


LEFT = host("left", "left-box", identity_facts={"model": "Fake 2000"})
RIGHT = host("right", "right-box", identity_facts={"model": "Fake 3000"})


@pytest.fixture
def machines(project: Project) -> Project:
    """A project whose tests are for this machine and two others."""
    ssh_client.install(project.pytester.mkdir("programs"), project.monkeypatch, ssh_client.FAILURES)
    project.pytester.makeconftest(THREE)
    project.pytester.makepyfile(test_model=TEST.format(budgets=""))
    return project


def test_the_same_tests_run_on_one_machine_and_on_three_and_the_reports_say_which(machines: Project) -> None:
    machines.run(workers=True).assert_outcomes(passed=3)
    reports = ("--accel-report=run.json", "--accel-report=run.html")
    result = machines.run(LEFT, RIGHT, *reports, workers=True, subprocess=True)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "model: 3 variants of test_model.py::test_model",
            "  verdict * machine *",
            "* fake * this machine *",
            "* left * me@left-box *",
            "* right * me@right-box *",
        ]
    )
    tests = read_record(machines.pytester.path / "run.json").tests
    assert {test.variant.accelerator: test.host for test in tests} == {
        "fake": "",
        "left": "me@left-box",
        "right": "me@right-box",
    }
    assert len({test.hardware.fingerprint for test in tests}) == 3
    page = (machines.pytester.path / "run.html").read_text(encoding="utf-8")
    for machine in ("", " on me@left-box", " on me@right-box"):
        assert f"{machine}</h3>" in page


def test_a_host_that_is_not_there_costs_its_own_tests_only(machines: Project) -> None:
    result = machines.run(LEFT, "--accel-host=right=ssh=no-box", "-n0", "-rs", workers=True)
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * right absent: no-box cannot be reached: ssh: Could not resolve *"])
    strict = machines.run("--accel-host=right=ssh=no-box", "--accelerator=right", "--accel-strict", workers=True)
    strict.assert_outcomes(errors=1)
    strict.stdout.fnmatch_lines(["right absent: no-box cannot be reached: * (--accel-strict)"])


def test_baselines_of_a_host_are_kept_here_and_compared_there(machines: Project) -> None:
    only = (LEFT, "--accelerator=left")
    machines.run(*only, "--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    assert "Fake 2000" in machines.baseline().read_text(encoding="utf-8")
    machines.run(*only, workers=True).stdout.fnmatch_lines(["* on me@left-box * of baseline*"])
    machines.run("--accelerator=left", workers=True).stdout.fnmatch_lines(["incomparable *"])


def test_what_an_interrupted_run_has_finished_on_hosts_is_taken_over_by_one_process(machines: Project) -> None:
    """Tests have the same names in a process for each host and in one process for all."""
    ends = "def pytest_runtest_setup(item): 'right' in item.nodeid and Path('go').exists() and pytest.exit('now')"
    machines.pytester.makeconftest(f"from pathlib import Path\nimport pytest\n{THREE}\n{ends}")
    machines.pytester.makefile("", go="")
    machines.run(LEFT, RIGHT, "-n0", workers=True)
    (machines.pytester.path / "go").unlink()
    result = machines.run(LEFT, RIGHT, "--accel-resume", workers=True, subprocess=True)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["created: 3/3 workers", "resumed: 2 results are from the run of *"])


def test_a_process_of_xdists_on_another_machine_reaches_hosts_too(machines: Project) -> None:
    there = f"--tx=ssh=me@tests-box//python={sys.executable}//chdir={machines.pytester.path}"
    result = machines.run(LEFT, "--accelerator=fake,left", there, "--dist=load", workers=True, subprocess=True)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["created: 1/1 worker", "* fake * this machine *", "* left * me@left-box *"])


def test_another_interpreter_on_the_host_is_an_opponent(machines: Project) -> None:
    opponent = machines.pytester.path / "python"
    script = json.dumps({"identity_facts": {"model": "Fake 2000"}, "versions": {"fake-sdk": "0.9"}, "latency_ms": 0.5})
    ssh_client.program(opponent, f"#!/bin/sh\n{ENVIRONMENT_VARIABLE}='{script}' exec {sys.executable} \"$@\"\n")
    machines.pytester.makepyfile(test_model=TEST.format(budgets=", max_regression=0.05"))
    against = f"--accel-against=ssh=me@left-box//python={opponent}"
    result = machines.run(LEFT, "--accelerator=left", against, workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: model[[]left[]] 2.000 times the time of ssh=me@left-box//python=*",
            "E*version fake-sdk: 0.9 -> 1.0",
        ]
    )
    wrong = machines.run(LEFT, "--accelerator=left", f"--accel-against=popen//python={opponent}", workers=True)
    wrong.stdout.fnmatch_lines(["E*left is on me@left-box, so name an interpreter there: --accel-against='ssh=me@*'"])


def test_the_gate_is_proven_on_each_host(machines: Project) -> None:
    briefly = ("-o", "accel_selftest_budget=0.001")
    result = machines.run(LEFT, "--accelerator=left", "--accel-selftest", *briefly, workers=True)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["left on me@left-box holds: 1 of 1 unchanged stayed green, 1 of 1 * turned red"])
