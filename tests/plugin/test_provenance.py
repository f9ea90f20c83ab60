"""Where results are from, whose a baseline is, and which of them nobody uses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.git import commit_all, git
from tests.git import git_of_nobody as git_of_nobody  # a fixture is found by its name here
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


pytestmark = pytest.mark.usefixtures("git_of_nobody")


@pytest.fixture
def saved(project: Project, template: Template) -> Project:
    """A project whose model takes 1 ms and has a baseline."""
    project.write_test("p99_ms=5, max_regression=0.05")
    template.copy_to(project, "saved baseline", ("--accel-save-baseline",))
    return project


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


def told(project: Project, folder: Path) -> dict[str, object]:
    """Where the record of a run in this folder says that it is from."""
    project.monkeypatch.chdir(folder)
    run = project.pytester.runpytest_subprocess
    own = [f"--rootdir={folder}", "--accel-in-process", "--accel-cache-dir=cache", "--accel-report=run.json"]
    run(*own).assert_outcomes(passed=1)
    provenance: dict[str, object] = json.loads((folder / "run.json").read_text())["tests"][0]["provenance"]
    return provenance


@pytest.mark.slow
def test_each_kind_of_checkout_is_told_right(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    project.write_test()
    origin, elsewhere = project.pytester.path, tmp_path_factory.mktemp("elsewhere")
    (origin / "notes.md").touch()
    first = commit_all(origin)
    (origin / "notes.md").write_text("more")
    commit = commit_all(origin, "a second commit")
    unknown = {"branch": "", "dirty": None, "job": ""}

    git(elsewhere, "clone", "--quiet", "--depth=1", f"file://{origin}", "shallow")
    assert told(project, elsewhere / "shallow") == {"commit": commit, "branch": "main", "dirty": False, "job": ""}

    git(origin, "worktree", "add", "--quiet", "--detach", str(elsewhere / "detached"), first)
    assert told(project, elsewhere / "detached") == {**unknown, "commit": first, "dirty": False}

    (elsewhere / "detached" / "notes.md").write_text("changed")
    assert told(project, elsewhere / "detached") == {**unknown, "commit": first, "dirty": True}

    shutil.copytree(origin, elsewhere / "exported", ignore=shutil.ignore_patterns(".git"))
    assert told(project, elsewhere / "exported") == {**unknown, "commit": ""}

    project.monkeypatch.setenv("PATH", str(elsewhere))
    assert told(project, elsewhere / "shallow") == {**unknown, "commit": ""}, "without git"
    project.monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.monkeypatch.setenv("GITHUB_SHA", commit)
    project.monkeypatch.setenv("GITHUB_REF_NAME", "main")
    assert told(project, elsewhere / "shallow") == {**unknown, "commit": commit, "branch": "main"}, "by CI alone"


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


@pytest.mark.slow
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
