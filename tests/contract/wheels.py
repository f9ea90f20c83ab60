"""Vendors' real packages for tests: downloaded, unpacked into a folder of their own and asked from another process.

None of them is installed beside the suite: some have the name of a package that it uses, others are placeholders.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def download(folder: Path, *requirements: str) -> Path:
    """Unpack wheels into a folder of their own. One that is not for this Python is a reason to skip."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        folder / "wheels",
    ]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if done.returncode and re.search(r"from versions: \S+", done.stderr):
        pytest.skip(f"{' '.join(requirements)} has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}")
    assert done.returncode == 0, done.stderr
    for wheel in (folder / "wheels").iterdir():
        zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(*command: str | Path, path: list[Path], **environ: str) -> str:
    """What a Python process prints that has these folders on its path."""
    places = os.pathsep.join(str(place) for place in (*path, ROOT))
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environ, "PYTHONPATH": places},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
