"""Where results are from, of checkouts that git has really made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_accel.facts.records import Provenance
from pytest_accel.session.provenance import provenance_of
from tests.git import commit_all, git
from tests.git import git_of_nobody as git_of_nobody  # a fixture is found by its name here

NOWHERE: Mapping[str, str] = {}
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": "f" * 40,
    "GITHUB_REF_NAME": "7/merge",
    "GITHUB_HEAD_REF": "faster",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "me/models",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_ATTEMPT": "2",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": "e" * 40,
    "CI_COMMIT_REF_NAME": "main",
    "CI_JOB_URL": "https://gitlab.com/me/models/-/jobs/7",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_COMMIT": "d" * 40,
    "BUILDKITE_BRANCH": "main",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/me/models/builds/7",
    "BUILDKITE_JOB_ID": "0190",
}


pytestmark = pytest.mark.usefixtures("git_of_nobody")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of two commits, with a stored baseline."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=faster/conv")
    for number in (1, 2):
        for file in ("test_model.py", "baselines/model.json"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(str(number))
        commit_all(folder, f"number {number}")
    return folder


def told(folder: Path, environ: Mapping[str, str] = NOWHERE) -> Provenance:
    return provenance_of(folder, folder / "baselines", environ)


def test_git_alone_tells_commit_and_branch(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert told(checkout) == Provenance(commit=commit, dirty=False, branch="faster/conv")
    assert str(told(checkout)) == commit[:10]


def test_a_change_of_a_known_file_is_told(checkout: Path) -> None:
    (checkout / "test_model.py").write_text("3")
    assert told(checkout).dirty is True
    assert str(told(checkout)).endswith(" with changes")
    git(checkout, "add", ".")
    assert told(checkout).dirty is True


def test_neither_an_unknown_file_nor_what_a_run_saves_is_a_change(checkout: Path) -> None:
    (checkout / "run.json").touch()
    (checkout / "baselines" / "model.json").write_text("3")
    assert told(checkout).dirty is False


def test_a_change_beside_the_tests_is_one_of_the_same_commit(checkout: Path) -> None:
    (checkout / "below").mkdir()
    (checkout / "test_model.py").write_text("3")
    assert told(checkout / "below").dirty is True


def test_a_worktree_without_a_branch_has_its_own_commit(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", "--detach", str(tmp_path / "apart"), "HEAD~1")
    commit = git(checkout, "rev-parse", "HEAD~1")
    assert told(tmp_path / "apart") == Provenance(commit=commit, dirty=False)
    assert told(tmp_path / "apart", GITHUB).branch == "faster", "the service knows what was checked out"


def test_a_shallow_clone_has_the_commit_too(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", "shallow")
    assert told(tmp_path / "shallow") == told(checkout)


def test_a_repository_without_a_commit_tells_its_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    assert told(tmp_path) == Provenance(branch="main", dirty=False)


def test_without_a_repository_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == Provenance()
    assert str(told(tmp_path)) == ""


def test_without_git_a_ci_service_tells(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(checkout) == Provenance()
    job = "https://github.com/me/models/actions/runs/77/attempts/2"
    assert told(checkout, GITHUB) == Provenance(commit="f" * 40, branch="faster", job=job)
    assert told(checkout, {**GITHUB, "GITHUB_HEAD_REF": ""}).branch == "7/merge"


@pytest.mark.parametrize(
    ("service", "job"),
    [
        (GITLAB, "https://gitlab.com/me/models/-/jobs/7"),
        (BUILDKITE, "https://buildkite.com/me/models/builds/7#0190"),
        ({**GITLAB, "CI_JOB_URL": ""}, ""),
        ({"GITLAB_CI": "true"}, ""),
    ],
)
def test_the_job_is_told_by_its_service_and_the_commit_by_git(
    checkout: Path, service: Mapping[str, str], job: str
) -> None:
    at_home = told(checkout)
    assert told(checkout, service) == Provenance(
        commit=at_home.commit, dirty=at_home.dirty, branch=at_home.branch, job=job
    )
