"""Named baselines: ``--accel-save-baseline=NAME`` writes them and ``--accel-compare=NAME`` compares with them."""

from __future__ import annotations

import json

import pytest

from tests.plugin.conftest import Project, Template


@pytest.fixture
def released(project: Project, template: Template) -> Project:
    """A project with a baseline of 1 ms, and one of 1 ms that has the name v1."""
    project.write_test("max_regression=0.05")
    template.copy_to(project, "released", ("--accel-save-baseline",), ("--accel-save-baseline=v1",))
    return project


def test_a_named_baseline_lies_beside_the_others(released: Project) -> None:
    (named,) = (released.baselines / "named" / "v1").rglob("*.json")
    (plain,) = set(released.baselines.rglob("*.json")) - {named}
    assert named.relative_to(released.baselines / "named" / "v1") == plain.relative_to(released.baselines)


def test_a_run_is_compared_with_the_baselines_of_a_name(released: Project) -> None:
    """The baseline has moved on to 1.3 ms since the release."""
    released.write_model(latency_ms=1.3)
    accepted = ("--accel-save-baseline=accept", "--accel-because=worth it")
    released.run(*accepted, workers=True).assert_outcomes(failed=1)
    released.run(workers=True).assert_outcomes(passed=1)
    result = released.run("--accel-compare=v1", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "accel: *; compared with v1",
            "E*regressed: model[[]fake[]] 1.300 times the baseline's time *",
            "E*Reproduce: pytest 'test_model.py::test_model[[]fake[]]' --accelerator=fake --accel-compare=v1",
            "regressed * ×1.300 * of v1*",
        ]
    )


def test_what_is_compared_with_a_name_may_be_saved_without_one(released: Project) -> None:
    released.write_model(latency_ms=0.5)
    released.run("--accel-compare=v1", "--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    p50_ms = {
        path.relative_to(released.baselines).parts[0]: json.loads(path.read_bytes())["launches"][0]["p50_ms"]
        for path in released.baselines.rglob("*.json")
    }
    assert p50_ms.pop("named") == 1.0
    assert list(p50_ms.values()) == [0.5]


def test_a_name_that_there_is_not_ends_the_run_at_its_start(released: Project) -> None:
    result = released.run("--accel-compare=v2", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--accel-compare=v2: no baselines in * are named 'v2': there are v1; save some with *"]
    )
