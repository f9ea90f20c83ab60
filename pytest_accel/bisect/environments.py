"""Virtual environments that differ from this one in the version of one package. Each is built once and kept.

Such an environment has one package of its own. All others it sees in the environment that pytest-accel runs in, through
a path file. So what a test shows there is the work of that package alone. ``with_deps`` also installs what that version
requires and this environment has not; then those other packages may have made the difference.
"""

from __future__ import annotations

import hashlib
import site
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import AccelError
from pytest_accel.store.files import discard
from pytest_accel.store.locks import ENDLESS, FileClaim, lock_at, take

if TYPE_CHECKING:
    from pytest_accel.facts.progress import StepProgress

#: _PATHS is the file in an environment by which it sees this one. Its own packages come first on the path.
_PATHS = "seen-by-pytest-accel.pth"
#: _MADE is the file that a finished environment has.
_MADE = "made-by-pytest-accel"


class NotInstalled(AccelError):
    """An environment could not be made; the message has the words of pip or venv."""


@dataclass(frozen=True)
class Environments:
    """The environments of one package below ``root``."""

    root: Path
    package: str
    with_deps: bool
    tell: StepProgress

    def python(self, version: str, role: str = "candidate") -> Path:
        """Return the interpreter of a version's environment, which is made where it is missing.

        Nothing is compared with itself, so a version that is compared with itself has two, by ``role``. Raises
        `NotInstalled`.
        """
        folder = self.root / f"{self.package}-{version}-{role}-{self._base}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_at(folder.with_name(f"{folder.name}.lock"))
        take(FileClaim(lock), f"the environment {folder}", ENDLESS)
        try:
            if not (folder / _MADE).is_file():
                self.tell(f"installing {self.package} {version}")
                discard(folder)
                self._make(folder, version)
        finally:
            lock.release()
        return folder / "bin" / "python"

    @property
    def _base(self) -> str:
        """Name what an environment is made for: this one, its Python, and whether requirements are installed."""
        made_for = f"{sys.prefix}\n{sys.version}\n{self.with_deps}"
        return hashlib.sha256(made_for.encode()).hexdigest()[:8]

    def _make(self, folder: Path, version: str) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        (packages,) = folder.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({path!r})\n" for path in _own_site_folders()]
        (packages / _PATHS).write_text("".join(lines), encoding="utf-8")
        wanted = f"{self.package}=={version}"
        # What this environment has of the package does not count as installed, and is not removed.
        self._install(folder, "--no-deps", "--ignore-installed", wanted)
        if self.with_deps:
            self._install(folder, wanted)
        (folder / _MADE).touch()

    def _install(self, folder: Path, *words: str) -> None:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        _run([sys.executable, "-m", "pip", "--python", str(folder), "install", *quiet, *words])


def _own_site_folders() -> list[str]:
    """Return the folders with the packages of this environment."""
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [path for path in (*site.getsitepackages(), *users) if Path(path).is_dir()]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["nothing"]
        raise NotInstalled(f"{command[2]} says: {said[-1].strip()}")
