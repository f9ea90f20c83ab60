"""The budget ``max_creep``: many changes that pass one by one add up, and the anchor shows by how much."""

from __future__ import annotations

import pytest

from pytest_accel.commands.main import main
from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project, Template

BUDGETS = "max_regression=0.05, max_creep=0.1"


@pytest.fixture
def anchored(project: Project, template: Template) -> Project:
    """A project whose release took 1 ms, and whose baseline takes 1.08 ms."""
    project.write_test(BUDGETS)
    template.copy_to(project, "anchored release", ("--accel-save-baseline=v1",))
    assert main(["baseline", "anchor", "v1", "--baseline-dir", str(project.baselines)]) == 0
    project.write_model(latency_ms=1.08)
    template.copy_to(project, "anchored", ("--accel-save-baseline",))
    return project


@pytest.mark.slow
def test_a_small_step_is_red_where_the_sum_is_too_much(anchored: Project) -> None:
    anchored.write_model(latency_ms=1.12)
    result = anchored.run("--accel-report=run.json", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: model[[]fake[]] 1.120 times the time of the anchor v1 of 20* [[]1.1*, 1.1*[]] *; > 1.1.",
            "E*To accept it, move the anchor: pytest-accel baseline anchor NAME.",
            "E*Changed since the anchor:",
            "E*model digest: * -> *",
            "regressed * ×1.037 [[]*[]] of baseline  ×1.120 [[]*[]] since v1*",
        ]
    )
    (record,) = read_record(anchored.pytester.path / "run.json").tests
    assert record.creep is not None
    assert record.creep.anchor.name == "v1"
    assert [each.kind for each in record.verdicts if each.question == "regression"] == ["pass"]


@pytest.mark.slow
def test_a_sum_within_the_limit_passes(anchored: Project) -> None:
    anchored.run(workers=True).assert_outcomes(passed=1)


@pytest.mark.slow
def test_a_run_that_creeps_may_still_save_its_baseline_and_stays_red(anchored: Project) -> None:
    anchored.write_model(latency_ms=1.12)
    for _ in range(2):
        result = anchored.run("--accel-save-baseline", workers=True)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*/model/fake.json saved"])


@pytest.mark.slow
def test_the_anchor_is_not_written_by_a_run(anchored: Project) -> None:
    (release,) = (anchored.baselines / "named").rglob("*.json")
    before = release.read_bytes()
    result = anchored.run("--accel-save-baseline=v1", workers=True)
    result.stdout.fnmatch_lines(["*fake.json kept: v1 is the anchor, so what it has stays as it is"])
    assert release.read_bytes() == before


@pytest.mark.slow
def test_a_new_variant_is_added_to_the_anchor(anchored: Project) -> None:
    (release,) = (anchored.baselines / "named").rglob("*.json")
    release.rename(release.with_name("another.json"))
    missing = anchored.run("--accel-strict", workers=True)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["E*no-baseline: *the anchor v1 has no baseline for fake-device-*(fails under *"])
    anchored.run("--accel-strict", "--accel-save-baseline=v1", workers=True).assert_outcomes(passed=1)
    assert release.exists()
    anchored.run("--accel-strict", workers=True).assert_outcomes(passed=1)


def test_without_an_anchor_nothing_is_judged_and_a_strict_run_fails(project: Project) -> None:
    project.write_test("max_creep=0.1")
    lenient = project.run("--accel-save-baseline", workers=True)
    lenient.assert_outcomes(passed=1)
    lenient.stdout.fnmatch_lines(["no-baseline: max_creep is not judged: there is no anchor; *"])
    project.run("--accel-strict", workers=True).assert_outcomes(failed=1)


@pytest.mark.slow
def test_an_anchor_that_nobody_can_read_fails_with_what_to_do(anchored: Project) -> None:
    (anchored.baselines / "anchor").write_text("v2\n", encoding="utf-8")
    result = anchored.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*baselines/anchor:1: the anchor is the name of baselines in *named, which has v1; *"]
    )
