"""The Pythons of this machine, for tests whose workers run in another one than the suite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

#: NUMPY is a release for each Python that is not the one of the suite: its last one, or an older one than ours.
NUMPY = {
    "3.8": "numpy==1.24.*",
    "3.9": "numpy==1.26.*",
    "3.10": "numpy==1.26.*",
    "3.11": "numpy==1.26.*",
    "3.12": "numpy==1.26.*",
    "3.13": "numpy==2.1.*",
}
OURS = f"3.{sys.version_info.minor}"


def pythons() -> dict[str, str]:
    """Return the path of each Python from 3.8 on, whether on the path or under pyenv, the oldest version first."""
    found = {version: path for version in NUMPY if (path := _found(version)) is not None}
    return found or {OURS: sys.executable}


def _found(version: str) -> str | None:
    installed = Path.home().joinpath(".pyenv", "versions").glob(f"{version}.*/bin/python")
    python = next(map(str, installed), None) or shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode:
        return None
    return python


def base_folder(python: str) -> Path:
    """Return the folder in which an interpreter itself is installed, whatever virtual environment it is of."""
    asked = [python, "-c", "import sys; print(sys.base_prefix)"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())


def environment_with_numpy(python: str, version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Make a virtual environment that has a NumPy of its own and no pip; what comes back tells whether that went well.

    It is ours that installs, since a new pip refuses an old Python, and one does not wait for another pip.
    """
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{version}" / "site-packages"
    wheels = ["--only-binary=:all:", "--python-version", version, "--target", str(site)]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *wheels, NUMPY[version]]
    return subprocess.run(install, capture_output=True, text=True, check=False)
