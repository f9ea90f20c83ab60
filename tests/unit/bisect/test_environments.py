from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from pytest_accel.bisect.environments import Environments, NotInstalled
from tests.unit.bisect.wheels import PACKAGE, offer, write_wheel
from tests.unit.conftest import Heard


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    offer(tmp_path / "wheels", monkeypatch)
    return tmp_path / "wheels"


def environments(folder: Path, *, with_deps: bool = False) -> tuple[Environments, list[str]]:
    heard = Heard()
    return Environments(folder / "envs", PACKAGE, with_deps, heard), heard.lines


def told_by(python: Path, code: str) -> str:
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True, cwd=python.parent)
    return done.stdout.strip()


VERSION = f"import {PACKAGE}, importlib.metadata as m; print({PACKAGE}.VERSION, m.version({PACKAGE!r}))"


def test_an_environment_has_its_version_and_all_else_of_this_one(wheels: Path, tmp_path: Path) -> None:
    made, lines = environments(tmp_path)
    python = made.python("1.7.0")
    assert told_by(python, VERSION) == "1.7.0 1.7.0"
    assert told_by(python, "import numpy, pytest, sys; print(sys.prefix)") == str(python.parent.parent)
    assert lines == [f"installing {PACKAGE} 1.7.0"]
    before = python.stat().st_ino
    assert made.python("1.7.0") == python
    assert python.stat().st_ino == before
    assert len(lines) == 1, "it is made once"


def test_an_unfinished_environment_is_made_again_and_roles_do_not_share(wheels: Path, tmp_path: Path) -> None:
    made, lines = environments(tmp_path)
    python = made.python("1.7.0")
    (python.parent.parent / "made-by-pytest-accel").unlink()
    assert made.python("1.7.0") == python
    assert made.python("1.7.0", "opponent").parent.parent != python.parent.parent
    assert len(lines) == 3


def test_requirements_are_installed_where_that_is_asked_for(wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, "1.0", package="slowmath")
    write_wheel(wheels, "1.11.0", requires="slowmath")
    code = "import importlib.util as u; print(u.find_spec('slowmath') is not None, u.find_spec('numpy') is not None)"
    assert told_by(environments(tmp_path)[0].python("1.11.0"), code) == "False True"
    assert told_by(environments(tmp_path, with_deps=True)[0].python("1.11.0"), code) == "True True"


def test_a_version_that_pip_cannot_install(wheels: Path, tmp_path: Path) -> None:
    made, _ = environments(tmp_path)
    for _ in range(2):  # what was left of the first attempt is no environment
        with pytest.raises(NotInstalled, match=rf"^pip says: ERROR: .*{PACKAGE}==3\.0"):
            made.python("3.0")


def test_a_version_that_this_environment_has_too_is_installed_all_the_same(wheels: Path, tmp_path: Path) -> None:
    """Otherwise it would change with this environment, for which it is no longer made."""
    version = metadata.version("iniconfig")
    write_wheel(wheels, version, package="iniconfig")
    made = Environments(tmp_path / "envs", "iniconfig", False, Heard())
    assert told_by(made.python(version), "import iniconfig; print(iniconfig.VERSION)") == version
