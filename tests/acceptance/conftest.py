"""A project on real TensorFlow, whose pytest runs in a process of its own, as a user's does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.report.record import read_record

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord, TestRecord
    from tests.models.zoo import Examples

#: A loaded machine takes minutes for what a quiet one does in seconds; here the verdict counts, not the wait.
INI = """
[pytest]
accel_compare_budget = 600
"""
#: What a baseline stores beside the yardstick is for when its artefact has left the cache. Here that never happens, so
#: one launch of it is enough.
CONFTEST = """
from pytest_accel.regression import pacemaker

pacemaker.SAVED_LAUNCHES = pacemaker.MOST_FOR_SAVED = 1
"""
CHECK = """
    import pytest

    @pytest.mark.accelerator("cpu"{marker})
    def test_model(accel_model):
        accel_model({model!r}, name={name!r}).check("val.npz")
"""


@dataclass(frozen=True)
class Run:
    """One run of pytest: its exit status, what it printed, and its record."""

    status: int
    output: str
    record: RunRecord

    @property
    def test(self) -> TestRecord:
        """The only check there was."""
        (only,) = self.record.tests
        return only

    def explains(self, *texts: str) -> None:
        """Assert that a reader was told all this, and show the whole output if not."""
        for text in texts:
            assert text in self.output, f"{text!r} is not in\n{self.output}"


@dataclass(frozen=True)
class Workplace:
    """A folder with one test, its data and its baselines; compiled models are shared through ``cache``."""

    folder: Path
    cache: Path

    def write_data(self, examples: Examples) -> None:
        """The evaluation data that tests name ``val.npz``."""
        inputs, labels = examples
        np.savez(self.folder / "val.npz", x=inputs, labels=labels)

    def write_check(self, model: Path, *, name: str, marker: str = "") -> None:
        """A test that checks ``model`` under ``name``; ``marker`` is what the marker says beside the accelerator."""
        text = CHECK.format(model=str(model), name=name, marker=f", {marker}" if marker else "")
        self.write_test(text)

    def write_test(self, text: str) -> None:
        """The one test file."""
        (self.folder / "pytest.ini").write_text(INI, encoding="utf-8")
        (self.folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (self.folder / "test_model.py").write_text(textwrap.dedent(text), encoding="utf-8")

    def copy(self, folder: Path) -> Workplace:
        """The same project elsewhere, so that a test may change it."""
        return Workplace(shutil.copytree(self.folder, folder, dirs_exist_ok=True), self.cache)

    def artefacts(self) -> list[Path]:
        """The entries of the compile cache."""
        return sorted((self.cache / "entries").iterdir())

    def run(self, *args: str) -> Run:
        """Run ``pytest --accelerator=cpu`` there."""
        return self.run_bare("--accelerator=cpu", *args)

    def run_bare(self, *args: str) -> Run:
        """Run ``pytest`` there."""
        record = self.folder / "run.json"
        record.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", f"--rootdir={self.folder}", f"--accel-cache-dir={self.cache}"]
        done = subprocess.run(
            [*command, f"--accel-report={record}", *args],
            cwd=self.folder,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert record.is_file(), output
        return Run(done.returncode, output, read_record(record))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compile cache of this session's own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def workplace(tmp_path: Path, compiled: Path) -> Workplace:
    return Workplace(tmp_path, compiled)
