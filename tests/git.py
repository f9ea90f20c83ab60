"""Repositories that git really makes, for tests of what depends on them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings of this machine nor a hook that runs the tests have a say."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "me")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "me@here")


def git(folder: Path, *args: str) -> str:
    """Return what git says. Raises `subprocess.CalledProcessError` where it fails."""
    return subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True, text=True).stdout.strip()


def commit_all(folder: Path, message: str = "all") -> str:
    """Commit everything in a folder, which becomes a repository where it is none. Returns the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


class Repo:
    """A repository in a folder, with a branch ``main`` and an author of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "me")
        self.git("config", "user.email", "me@example.org")

    def git(self, *words: str) -> str:
        return git(self.path, *words)

    def commit(self, message: str, **files: str) -> str:
        """Write files, with ``__`` for a dot in their names, and commit all that is there. Returns the hash."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    @property
    def state(self) -> tuple[str, str, str]:
        """What must stay as it is: branch and commit, files, and the list of worktrees."""
        return (
            self.git("status", "--branch", "--porcelain"),
            self.git("rev-parse", "HEAD"),
            self.git("worktree", "list"),
        )
