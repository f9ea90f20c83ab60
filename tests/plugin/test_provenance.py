"""Where results are from, whose a baseline is, and which of them nobody uses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.plugin.conftest import Project, Template

TWO_TESTS = """
    import numpy as np
    import pytest

    def data(seed):
        x = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
        return x, np.zeros(8, np.int64)

    @pytest.mark.accelerator("fake")
    def test_one(accel_model):
        accel_model("model.fake.json").check(data(1))

    @pytest.mark.accelerator("fake")
    def test_other(accel_model):
        accel_model("model.fake.json"{name}).check(data(2))
"""


@pytest.fixture
def saved(project: Project, template: Template) -> Project:
    """A project whose model takes 1 ms and has a baseline."""
    project.write_test("p99_ms=5, max_regression=0.05")
    template.copy_to(project, "saved baseline", ("--accel-save-baseline",))
    return project


def commit_all(folder: Path) -> str:
    """Make a repository of a folder. Returns its commit."""
    own = ["-c", "user.name=me", "-c", "user.email=me@here"]
    for command in (["init", "-q", "-b", "main"], ["add", "test_model.py"], [*own, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    told = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return told.stdout.strip()


def test_record_and_baseline_have_the_commit_and_the_test(project: Project) -> None:
    project.write_test()
    commit = commit_all(project.pytester.path)
    project.run("--accel-save-baseline", "--accel-report=run.json", "--accel-report=run.md", workers=True)
    record = json.loads((project.pytester.path / "run.json").read_text())["tests"][0]
    baseline = json.loads(project.baseline().read_text())
    assert record["provenance"] == baseline["provenance"]
    assert baseline["provenance"] == {"branch": "main", "commit": commit, "dirty": False, "job": ""}
    assert baseline["test"] == "test_model.py::test_model"
    assert f"commit {commit[:10]}; branch main" in (project.pytester.path / "run.md").read_text()


def test_a_test_on_other_data_does_not_take_a_baselines_place_in_a_later_run_either(project: Project) -> None:
    project.pytester.makepyfile(test_model=TWO_TESTS.format(name=""))
    saving = ("--accel-save-baseline", "-k")
    project.run(*saving, "test_one", workers=True).assert_outcomes(passed=1)
    first = project.baseline().read_text()
    result = project.run(*saving, "test_other", workers=True)
    result.stdout.fnmatch_lines(
        [
            "*fake.json not saved: test_model.py::test_one has saved it for other data; give one of the two tests a "
            "name of its own, for example accel_model(source, name='model-2'), or remove the file"
        ]
    )
    assert project.baseline().read_text() == first
    project.pytester.makepyfile(test_model=TWO_TESTS.format(name=", name='model-2'"))
    project.run(*saving, "test_other", workers=True).assert_outcomes(passed=1)
    assert len([*project.baselines.rglob("*.json")]) == 2


def test_a_baseline_that_no_test_uses_is_told_at_the_end_of_a_full_run(saved: Project) -> None:
    told = "no test of this full run has used 1 of the baselines in baselines: *old/fake.json; remove them*"
    saved.run().stdout.no_fnmatch_line("*no test of this full run*")
    file = saved.baseline()
    other = file.parent.parent / "old" / file.name
    other.parent.mkdir()
    other.write_text(file.read_text().replace('"model": "model"', '"model": "old"'))
    saved.run().stdout.fnmatch_lines([told])
    for part in (["-k", "model"], ["test_model.py"], ["--accelerator=fake"], ["--lf"], ["--ignore=elsewhere"]):
        saved.run(*part).stdout.no_fnmatch_line("*no test of this full run*")


def test_nothing_follows_from_a_run_in_which_a_marked_test_came_to_no_result(saved: Project) -> None:
    saved.baseline().rename(saved.baseline().with_name("fake-b9.json"))
    skipped = 'import pytest\n\n@pytest.mark.accelerator("fake")\ndef test_b(accel_model): pytest.skip("not today")\n'
    (saved.pytester.path / "test_b.py").write_text(skipped)
    saved.run().stdout.no_fnmatch_line("*no test of this full run*")


def test_baselines_of_an_accelerator_that_is_not_here_may_have_their_tests(saved: Project) -> None:
    text = saved.baseline().read_text()
    (saved.baseline().parent / "gpu-b1.json").write_text(text.replace('"accelerator": "fake"', '"accelerator": "gpu"'))
    elsewhere = 'import pytest\n\n@pytest.mark.accelerator("gpu")\ndef test_b(accel_model): ...\n'
    (saved.pytester.path / "test_b.py").write_text(elsewhere)
    result = saved.run()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.no_fnmatch_line("*no test of this full run*")
