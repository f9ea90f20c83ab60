"""Small git repositories that tests write commit by commit."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Repo:
    """A repository in a folder, with a branch ``main`` and an author of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "me")
        self.git("config", "user.email", "me@example.org")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

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
