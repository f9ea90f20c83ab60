"""``--accel-selftest``: the gate proven on this machine before it is trusted."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

BRIEFLY = ("-o", "accel_selftest_budget=0.001")


@pytest.mark.slow
@pytest.mark.parametrize("xdist", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_it_tells_the_rates_and_runs_no_test(project: Project, xdist: list[str]) -> None:
    project.pytester.makepyfile("def test_never(): assert False")
    result = project.run("--accel-selftest", "--accelerator=fake", *BRIEFLY, *xdist, workers=True, subprocess=True)
    assert result.ret == 0
    result.assert_outcomes()
    result.stdout.fnmatch_lines(
        [
            "fake holds: 1 of 1 unchanged stayed green, 1 of 1 with 10 % more work turned red",
            "*the smallest slowdown that would have been caught: *%",
        ]
    )


def test_what_cannot_be_proven_fails(project: Project) -> None:
    result = project.run("--accel-selftest", "--accelerator=fake,gpu-trt", *BRIEFLY, workers=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["fake holds: *", "gpu-trt not proven: absent: no NVIDIA GPU*"])


def test_it_is_about_processes(project: Project) -> None:
    result = project.run("--accel-selftest")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-selftest judges processes, so leave --accel-in-process out"])


def test_a_run_that_only_collects_tests_nothing(project: Project) -> None:
    result = project.run("--accel-selftest", "--collect-only", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-selftest runs no tests, so leave --collect-only out"])


def test_an_unknown_accelerator_is_a_usage_error(project: Project) -> None:
    result = project.run("--accel-selftest", "--accelerator=fkae", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-selftest: unknown accelerator 'fkae', did you mean 'fake'?*"])
