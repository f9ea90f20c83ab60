"""Under xdist: records arrive, devices are used by one process at a time, and nothing stays green unmeasured."""

from __future__ import annotations

import pytest

from pytest_accel.report.record import read_record
from pytest_accel.testing import fake_model
from tests.plugin.conftest import Project

TWO_TESTS = """
    import pytest

    @pytest.mark.accelerator("fake", batch_size=[1, 2], p99_ms=5)
    def test_model(accel_model):
        accel_model("model.fake.json").check()
"""


@pytest.mark.parametrize("workers", [[], ["-n", "0"], ["-n", "2"], ["-p", "no:xdist"]])
def test_records_and_summary_are_the_same_with_and_without(project: Project, workers: list[str]) -> None:
    project.pytester.makepyfile(TWO_TESTS)
    result = project.run("--accel-report=run.json", *workers, workers=True, subprocess=True)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["model on fake: 2 variants of *", "  no-baseline  b1 *", "[*] no-baseline  b2 *"])
    run = read_record(project.pytester.path / "run.json")
    assert sorted(test.variant.id for test in run.tests) == ["fake-b1", "fake-b2"]


def test_a_breach_fails_under_xdist_too(project: Project) -> None:
    project.write_model(latency_ms=9.0)
    project.pytester.makepyfile(TWO_TESTS)
    project.run("-n", "2", workers=True, subprocess=True).assert_outcomes(failed=2)


def test_baselines_are_saved_under_xdist(project: Project) -> None:
    project.pytester.makepyfile(TWO_TESTS)
    project.run("-n", "2", "--accel-save-baseline", workers=True, subprocess=True).assert_outcomes(passed=2)
    assert sorted(path.name for path in project.baselines.rglob("*.json")) == ["fake-b1.json", "fake-b2.json"]


def test_strict_fails_a_run_without_accelerator_tests_under_xdist(project: Project) -> None:
    project.pytester.makepyfile("def test_unmarked(): pass")
    result = project.run("-n", "2", "--accel-strict", subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no accelerator test ran: nothing was measured"])


def test_what_waited_for_its_device_is_told(project: Project) -> None:
    project.monkeypatch.setattr("pytest_accel.plugin.report_data.WORTH_TELLING_S", 0.0)
    project.write_test()
    line = "waited * s in all for a device that another pytest-accel process used (test_model.py::test_model[[]fake[]])"
    project.run().stdout.fnmatch_lines([line])
    project.monkeypatch.setattr("pytest_accel.plugin.report_data.WORTH_TELLING_S", 60.0)
    project.run().stdout.no_fnmatch_line(line)


HELD = """
    import subprocess, sys
    from pathlib import Path

    import pytest

    LOOK = "import filelock, sys; filelock.FileLock(sys.argv[1], timeout=0).acquire()"

    @pytest.mark.accelerator("fake", batch_size=[1, 2, 3, 4])
    def test_model(accel_model):
        model = accel_model("model.fake.json")
        (lock,) = Path({locks!r}).glob("device-*.lock")
        model.measure()
        others = subprocess.run([sys.executable, "-c", LOOK, str(lock)], capture_output=True, text=True)
        assert "filelock._error.Timeout" in others.stderr
"""


def test_a_test_that_measures_is_alone_with_its_device(project: Project) -> None:
    project.pytester.makepyfile(HELD.format(locks=str(project.locks)))
    project.run("-n", "2", workers=True, subprocess=True).assert_outcomes(passed=4)


SHARED = """
import numpy as np, pytest

@pytest.mark.accelerator("fake")
def test_one(accel_model):
    accel_model("model.fake.json", name="a b").check(np.ones((2, 4), np.float32))

@pytest.mark.accelerator("fake")
def test_other(accel_model):
    accel_model({model!r}, name="a/b").check(np.ones(({rows}, 4), np.float32))
"""


@pytest.mark.parametrize(
    ("model", "rows", "what"),
    [("model.fake.json", 3, "data"), ("other.fake.json", 2, "models")],
    ids=["data", "models"],
)
def test_two_tests_do_not_share_a_baseline_wherever_they_run(
    project: Project, model: str, rows: int, what: str
) -> None:
    """Two names that would become one count as one."""
    fake_model(project.pytester.path / "other.fake.json", latency_ms=2.0)
    project.pytester.makepyfile(test_it=SHARED.format(model=model, rows=rows))
    result = project.run("-n", "2", "--dist=load", "--accel-save-baseline", workers=True, subprocess=True)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [f"E*test_it.py::test_o* one baseline, *fake.json, cannot serve different {what}: give *"]
    )


@pytest.mark.slow
def test_two_tests_that_share_a_baseline_honestly_pass_wherever_they_run(project: Project) -> None:
    project.pytester.makepyfile(test_it=SHARED.format(model="model.fake.json", rows=2))
    result = project.run("-n", "2", "--dist=load", "--accel-save-baseline", workers=True, subprocess=True)
    result.assert_outcomes(passed=2)
