from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_accel.bisect.commits import Commits, GitFailed, Repository
from pytest_accel.facts.errors import UsageError
from pytest_accel.store.scratch import PREFIX
from tests.git import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "project")


@pytest.fixture
def line(repo: Repo) -> list[str]:
    """Five commits, one after the other."""
    return [repo.commit(f"Commit {number}", number__txt=str(number)) for number in range(5)]


def test_the_middle_of_a_line_comes_first_and_the_bad_end_last(repo: Repo, line: list[str]) -> None:
    commits = Commits(Repository(repo.path), line[0], line[4])
    suspects = commits.suspects([line[0]], line[4])
    assert (suspects[0], suspects[-1], set(suspects)) == (line[2], line[4], set(line[1:]))
    assert commits.suspects([line[0], line[2]], line[3]) == [line[3]]


def test_commits_of_a_merged_branch_are_suspects_and_a_merge_has_two_parents(repo: Repo) -> None:
    good = repo.commit("Good")
    repo.git("checkout", "--quiet", "-b", "side")
    side = repo.commit("On the side", side__txt="1")
    repo.git("checkout", "--quiet", "main")
    main = repo.commit("On main", main__txt="1")
    repo.git("merge", "--quiet", "--no-ff", "--message=Merge", "side")
    merge = repo.git("rev-parse", "HEAD")
    commits = Commits(Repository(repo.path), good, merge)
    assert set(commits.suspects([good], merge)) == {side, main, merge}
    assert commits.before(merge) == [main, side]
    assert commits.suspects([good, side, main], merge) == [merge], "both sides are good, so the merge itself is bad"
    assert commits.suspects([good, main], side) == [side]


def test_a_commit_is_shown_with_its_subject(repo: Repo, line: list[str]) -> None:
    assert Commits(Repository(repo.path), line[0], line[4]).shown(line[3]) == f"{line[3][:10]} Commit 3"


def test_names_of_commits(repo: Repo, line: list[str]) -> None:
    repository = Repository(repo.path)
    repo.git("tag", "--annotate", "v1", "--message=one", line[1])
    assert [repository.commit(name) for name in ("HEAD~3", "v1", line[1][:8])] == [line[1]] * 3
    with pytest.raises(UsageError, match=rf"^nowhere: no such commit in {repo.path}$"):
        repository.commit("nowhere")
    with pytest.raises(UsageError, match="no such commit"):
        repository.commit("--all")


def test_ends_that_are_no_range(repo: Repo, line: list[str]) -> None:
    repository = Repository(repo.path)
    repository.require_ancestor(line[0], line[1])
    with pytest.raises(UsageError, match="GOOD and BAD are one commit"):
        repository.require_ancestor(line[1], line[1])
    with pytest.raises(UsageError, match=r"is no ancestor of .*; name the commit where they part: git merge-base"):
        repository.require_ancestor(line[1], line[0])


def test_a_shallow_clone_is_named_as_the_reason(repo: Repo, line: list[str], tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=2", f"file://{repo.path}", str(tmp_path / "clone")], check=True)
    with pytest.raises(UsageError, match="shallow clone, and git fetch --unshallow brings the rest"):
        Repository(tmp_path / "clone").commit(line[0])


def test_a_folder_outside_of_any_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path} is in no checkout of a git repository"):
        _ = Repository(tmp_path).top


def test_a_machine_without_git(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitFailed, match="there is no git; install it"):
        Repository(repo.path).git("status")


def test_a_checkout_holds_the_commit_and_leaves_nothing(repo: Repo, line: list[str], tmp_path: Path) -> None:
    (repo.path / "number.txt").write_text("not committed")
    before = repo.state
    with Repository(repo.path).checkout(line[1], tmp_path / "checkout") as folder:
        assert (folder / "number.txt").read_text() == "1"
        (folder / "untracked").touch()
    assert not folder.exists()
    assert repo.state == before
    assert Repository(repo.path).has_changes()


def test_a_checkout_is_removed_when_its_user_fails(repo: Repo, line: list[str], tmp_path: Path) -> None:
    before = repo.state
    with pytest.raises(KeyboardInterrupt), Repository(repo.path).checkout(line[1], tmp_path / "checkout"):
        raise KeyboardInterrupt
    assert repo.state == before


def test_hooks_do_not_run(repo: Repo, line: list[str], tmp_path: Path) -> None:
    hook = repo.path / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    with Repository(repo.path).checkout(line[1], tmp_path / "checkout"):
        assert not (tmp_path / "hooked").exists()


def test_variables_of_a_calling_git_do_not_lead_elsewhere(
    repo: Repo, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(Repo(tmp_path / "other").path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert Repository(repo.path).commit("HEAD") == line[4]


def test_a_worktree_of_a_killed_search_is_forgotten_and_no_other(repo: Repo, line: list[str], tmp_path: Path) -> None:
    lost, users = tmp_path / f"{PREFIX}killed/checkout", tmp_path / "users-own"
    for folder in (lost, users):
        repo.git("worktree", "add", "--quiet", "--detach", str(folder), line[0])
        shutil.rmtree(folder)
    Repository(repo.path).forget_lost_worktrees()
    assert str(lost) not in repo.git("worktree", "list")
    assert str(users) in repo.git("worktree", "list")


def test_paths_of_this_checkout_are_those_of_the_other_one(
    repo: Repo, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = repo.path / ".venv"
    monkeypatch.setattr(sys, "prefix", str(environment))
    inside = [repo.path / "src", repo.path / "gone", environment / "lib"]
    monkeypatch.setattr(sys, "path", ["", *map(str, inside), str(tmp_path)])
    other = tmp_path / "other"
    for folder in ("src", ".venv/lib"):
        (other / folder).mkdir(parents=True)
    assert Repository(repo.path).import_paths(other) == [other / "src"]
