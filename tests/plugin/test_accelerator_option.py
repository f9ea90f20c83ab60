"""``--accelerator``: which variants run, which are left out, and which are skipped."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

TWO_AND_A_BYSTANDER = """
    import pytest

    @pytest.mark.accelerator("fake")
    @pytest.mark.accelerator("gpu-trt", precision=["fp16", "int8"])
    def test_model(accel_model):
        assert accel_model("model.fake.json").measure().p50_ms == 1.0

    def test_unmarked():
        pass
"""


@pytest.fixture
def mixed(project: Project) -> Project:
    project.pytester.makepyfile(TWO_AND_A_BYSTANDER)
    return project


def test_every_accelerator_runs_by_default_and_the_absent_ones_are_skipped(mixed: Project) -> None:
    mixed.run("--accel-in-process").assert_outcomes(passed=2, skipped=2)


def test_variants_of_others_are_deselected_and_unmarked_tests_are_left_alone(mixed: Project) -> None:
    mixed.run("--accelerator=fake").assert_outcomes(passed=2, deselected=2)


def test_a_named_and_absent_one_is_skipped_with_the_reason(mixed: Project) -> None:
    result = mixed.run("--accelerator=gpu-trt", "-rs")
    result.assert_outcomes(passed=1, skipped=2, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED*gpu-trt absent: no NVIDIA GPU: no /dev/nvidia0*; run on a machine with*"])


@pytest.mark.parametrize(
    "args",
    [["--accelerator=fake,gpu-trt"], ["--accelerator=fake", "--accelerator=gpu-trt"], ["--accelerator=fake, gpu-trt"]],
)
def test_it_takes_lists_and_may_be_repeated(mixed: Project, args: list[str]) -> None:
    mixed.run(*args).assert_outcomes(passed=2, skipped=2)


def test_an_unknown_name_is_a_usage_error_even_when_nothing_is_marked(project: Project) -> None:
    project.pytester.makepyfile("def test_unmarked(): pass")
    result = project.run("--accelerator=gpu_trt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accelerator: unknown accelerator 'gpu_trt', did you mean 'gpu-trt'?*"])


def test_an_empty_name_is_a_usage_error(project: Project) -> None:
    result = project.run("--accelerator=fake,,cpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accelerator=fake,,cpu has an empty name"])


def test_the_header_says_what_was_asked_for(mixed: Project) -> None:
    result = mixed.run("--accelerator=fake", "--accel-strict")
    result.stdout.fnmatch_lines(
        ["accel: accelerators: fake; baselines: baselines; confidence: 95%; strict; in process"]
    )


def test_a_run_that_has_nothing_to_do_with_accelerators_says_nothing_of_them(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_unmarked(): pass")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert not [line for line in result.outlines if line.startswith("accel") or "- accel" in line or "= accel" in line]


def test_minus_m_leaves_the_unmarked_ones_out(mixed: Project) -> None:
    mixed.run("-m", "accelerator", "--accelerator=fake").assert_outcomes(passed=1, deselected=3)
