"""The commits of a repository as a history, and a checkout of one of them in a temporary folder.

Git chooses among commits, merges included, and a worktree of its own holds each in turn. The user's branch, index and
files are not touched; the repository's hooks are not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.records import SHOWN_OF_COMMIT
from pytest_accel.store.files import discard
from pytest_accel.store.scratch import PREFIX

#: _OF_A_REPOSITORY are the variables that bind git to one repository, as its hooks and ``git bisect run`` set them.
_OF_A_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)


class GitFailed(AccelError):
    """Git could not do what was asked; the message has its words."""


@dataclass(frozen=True)
class Repository:
    """The repository around ``folder``, in which the user has called us."""

    folder: Path

    def git(self, *words: str) -> str:
        """Run git there and return what it prints. Raises `GitFailed`."""
        environ = {name: value for name, value in os.environ.items() if name not in _OF_A_REPOSITORY}
        command = ["git", "-c", "core.hooksPath=/dev/null", *words]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**environ, "GIT_OPTIONAL_LOCKS": "0"},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            raise GitFailed("there is no git; install it, or bisect versions with --package") from error
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise GitFailed(f"git {words[0]}: {said[-1]}")
        return done.stdout.strip()

    @cached_property
    def top(self) -> Path:
        """The folder of the checkout. Raises `UsageError` where there is none."""
        try:
            return Path(self.git("rev-parse", "--show-toplevel"))
        except GitFailed as error:
            raise UsageError(f"{self.folder} is in no checkout of a git repository ({error})") from error

    @property
    def prefix(self) -> Path:
        """Where the user is, below the top."""
        return Path(self.git("rev-parse", "--show-prefix"))

    @property
    def common(self) -> str:
        """The folder of the repository itself, which all its worktrees share."""
        return str((self.folder / self.git("rev-parse", "--git-common-dir")).resolve())

    def commit(self, revision: str) -> str:
        """Return the whole hash of a revision. Raises `UsageError` where there is no such commit."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except GitFailed:
            raise UsageError(f"{revision}: no such commit in {self.top}{self._shallow_hint()}") from None

    def _shallow_hint(self) -> str:
        shallow = self.git("rev-parse", "--is-shallow-repository") == "true"
        return "; this is a shallow clone, and git fetch --unshallow brings the rest" if shallow else ""

    def require_ancestor(self, good: str, bad: str) -> None:
        """Raise `UsageError` where the good commit is not before the bad one."""
        if good == bad:
            raise UsageError(f"GOOD and BAD are one commit, {good[:SHOWN_OF_COMMIT]}: nothing lies between them")
        try:
            self.git("merge-base", "--is-ancestor", good, bad)
        except GitFailed:
            shown = f"{good[:SHOWN_OF_COMMIT]} is no ancestor of {bad[:SHOWN_OF_COMMIT]}"
            hint = self._shallow_hint() or "; name the commit where they part: git merge-base GOOD BAD"
            raise UsageError(f"{shown}, so no commit between them has made the difference{hint}") from None

    def has_changes(self) -> bool:
        """Return whether known files of the checkout are not as in its commit."""
        return bool(self.git("status", "--porcelain", "--untracked-files=no"))

    @contextmanager
    def checkout(self, commit: str, folder: Path) -> Iterator[Path]:
        """Give the commit's files in ``folder``, and remove them at the end."""
        self.git("worktree", "add", "--quiet", "--detach", "--force", str(folder), commit)
        try:
            yield folder
        finally:
            discard(folder)
            self.git("worktree", "remove", "--force", str(folder))

    def forget_lost_worktrees(self) -> None:
        """Remove what killed searches have left in the list of worktrees."""
        for line in self.git("worktree", "list", "--porcelain").splitlines():
            path = Path(line.removeprefix("worktree "))
            if line.startswith("worktree ") and path.parent.name.startswith(PREFIX) and not path.exists():
                with suppress(GitFailed):  # another search has just done it
                    self.git("worktree", "remove", "--force", str(path))

    def import_paths(self, checkout: Path) -> list[Path]:
        """Return the folders of another checkout that take the place of those of this one on Python's path.

        A package that was installed from this checkout, and stays in it, would otherwise be imported from here.
        """
        paths = [Path(entry).resolve() for entry in sys.path if entry]
        own = [path for path in paths if path.is_relative_to(self.top) and not path.is_relative_to(sys.prefix)]
        there = [checkout / path.relative_to(self.top) for path in own]
        return [path for path in there if path.is_dir()]


@dataclass(frozen=True)
class Commits:
    """The commits that are in ``bad`` and not in ``good``, in the order in which git would bisect them."""

    repository: Repository
    good: str
    bad: str

    def shown(self, point: str) -> str:
        """Return a commit's short hash and the first line of its message."""
        return self.repository.git("show", "--no-patch", f"--abbrev={SHOWN_OF_COMMIT}", "--format=%h %s", point)

    def suspects(self, goods: Sequence[str], bad: str) -> list[str]:
        """Return what may be the first bad commit. The one that halves the rest best comes first."""
        listed = self.repository.git("rev-list", "--bisect-all", bad, "--not", *goods)
        return [line.split(" ", 1)[0] for line in listed.splitlines()]

    def before(self, point: str) -> list[str]:
        """Return a commit's parents."""
        return self.repository.git("rev-list", "--parents", "--max-count=1", point).split()[1:]
