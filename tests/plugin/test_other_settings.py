"""The plugin beside other plugins and under pytest's own settings."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pytest

from pytest_accel.testing import fake_model
from tests.plugin.conftest import Project


@pytest.mark.parametrize(
    "args",
    [
        ["-p", "no:terminal"],
        ["-p", "no:cacheprovider"],
        ["-p", "no:benchmark"],
        ["-p", "no:xdist"],
        ["-p", "no:capture"],
        ["-s"],
        ["-W", "error"],
        ["--strict-markers", "--strict-config"],
        ["--benchmark-skip"],
        ["--no-header", "--no-summary"],
    ],
    ids=" ".join,
)
def test_a_check_passes_and_fails_all_the_same(project: Project, args: list[str]) -> None:
    fake_model(project.pytester.path / "slow.fake.json", latency_ms=9.0)
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.accelerator("fake", p99_ms=5)
        @pytest.mark.parametrize("model", ["model", "slow"])
        def test_model(accel_model, model):
            accel_model(f"{model}.fake.json").check()
        """
    )
    result = project.run(*args, "--junitxml=junit.xml", workers=True, subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    cases = ElementTree.parse(project.pytester.path / "junit.xml").iter("testcase")
    failed = {case.get("name", ""): case.find("failure") is not None for case in cases}
    assert failed == {"test_model[fake-model]": False, "test_model[fake-slow]": True}


def test_strict_ini(project: Project) -> None:
    project.pytester.makeini("[pytest]\nstrict = true\nstrict_config = true\nstrict_markers = true\n")
    project.write_test("batch_size=[1, 2], p99_ms=5")
    project.run().assert_outcomes(passed=2)


def test_switched_off_its_options_are_gone_and_other_tests_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_unmarked(): pass")
    pytester.runpytest_subprocess("-p", "no:accel").assert_outcomes(passed=1)
    assert pytester.runpytest_subprocess("-p", "no:accel", "--accel-strict").ret == pytest.ExitCode.USAGE_ERROR


def test_junit_properties_are_plain_numbers(project: Project) -> None:
    project.write_test("p99_ms=5")
    project.run("--junitxml=junit.xml").assert_outcomes(passed=1)
    xml = (project.pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert '<property name="accel.p99_ms" value="1.0"' in xml
    assert '<property name="accel.variant" value="fake"' in xml


def test_junit_has_every_budget_that_was_given_with_its_limit_and_what_was_measured(project: Project) -> None:
    project.write_test("p90_ms=5, min_throughput=10, max_artefact_mb=20")
    project.run("--junitxml=junit.xml").assert_outcomes(passed=1)
    found = {
        each.get("name", ""): float(each.get("value", ""))
        for each in ElementTree.parse(project.pytester.path / "junit.xml").iter("property")
        if each.get("name", "").startswith(("accel.limit.", "accel.measured."))
    }
    size_mb = found.pop("accel.measured.max_artefact_mb")
    assert 0 <= size_mb < 1
    assert found == {
        "accel.limit.p90_ms": 5,
        "accel.measured.p90_ms": 1,
        "accel.limit.min_throughput": 10,
        "accel.measured.min_throughput": pytest.approx(1000),
        "accel.limit.max_artefact_mb": 20,
    }


def test_a_wrong_ini_value_is_a_usage_error(project: Project) -> None:
    project.pytester.makeini("[pytest]\naccel_confidence = 95")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: accel_confidence=95.0 must be at least 0.5 and below 1"])


def test_a_budget_of_the_project_holds_where_a_test_says_nothing(project: Project) -> None:
    project.pytester.makeini("[pytest]\naccel_max_artefact_mb = 0.00001")
    project.write_test()
    result = project.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*sla-breach: *The artefact's size (max_artefact_mb): * MB > 1e-05 MB.*"])


@pytest.mark.parametrize("asked", [True, False])
def test_where_an_inaccurate_model_starts_to_differ_is_told_when_asked_for(project: Project, asked: bool) -> None:
    project.pytester.makeini(f"[pytest]\naccel_first_divergence = {asked}")
    project.write_model(by_precision={"int8": {"output_noise": 9.0}})
    project.write_test("precision='int8'")
    result = project.run()
    result.assert_outcomes(failed=1)
    assert ("first_divergence: fake cannot show the tensors inside a model" in result.stdout.str()) is asked


@pytest.mark.parametrize("line", ["fake", "fake=", "fake=missing/python"])
def test_a_wrong_interpreter_is_a_usage_error(project: Project, line: str) -> None:
    project.pytester.makeini(f"[pytest]\naccel_python = {line}")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: accel_python: '{line}'*"])


def test_an_interpreter_of_no_accelerator_is_a_usage_error(project: Project) -> None:
    project.pytester.makeini(f"[pytest]\naccel_python = fak={sys.executable}")
    project.write_test()
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: accel_python: unknown accelerator 'fak', did you mean 'fake'? Known: *"])


def test_locks_that_cannot_be_made_name_the_ini_key_and_the_next_action(project: Project) -> None:
    project.locks.parent.mkdir()
    project.locks.write_text("a file is in the way", encoding="ascii")
    project.write_test()
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *UsageError: accel_lock_dir: */locks cannot hold the lock of a device: *; choose another folder with *"]
    )
    assert "pytest_accel/" not in result.stdout.str()
