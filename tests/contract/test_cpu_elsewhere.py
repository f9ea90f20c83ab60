"""The contract of ``cpu`` in a second virtual environment: another Python, another NumPy, another TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.tensorflow.cpu import Cpu
from tests.interpreters import NUMPY, pythons

if TYPE_CHECKING:
    from pytest_accel.processes.client import WorkerClient

#: The oldest Python that is found decides; the releases are the last ones for it, or older ones than ours.
TENSORFLOW = {
    "3.8": "tensorflow-cpu==2.13.*",
    "3.9": "tensorflow-cpu==2.16.*",
    "3.10": "tensorflow-cpu==2.16.*",
    "3.11": "tensorflow-cpu==2.16.*",
    "3.12": "tensorflow-cpu==2.16.*",
    "3.13": "tensorflow-cpu==2.20.*",
}

WRITE_KERAS_FILE = """
import sys
from tensorflow import keras
keras.utils.set_random_seed(1)
inputs = keras.Input((4,), name="x")
keras.Model(inputs, keras.layers.Dense(3)(inputs)).save(sys.argv[1])
"""


@pytest.mark.slow
class TestCpuElsewhere(AcceleratorContract):
    accelerator = Cpu

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        version, python = next(iter(pythons().items()))
        folder = tmp_path_factory.mktemp("elsewhere")
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        elsewhere = str(folder / "bin" / "python")
        subprocess.run([elsewhere, "-m", "pip", "install", "--quiet", NUMPY[version], TENSORFLOW[version]], check=True)
        return elsewhere

    def test_it_really_is_another_environment(self, client: WorkerClient) -> None:
        here = subprocess.run(
            [sys.executable, "-c", "import numpy; from importlib.metadata import version as v; print(v('tensorflow'))"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert client.versions()["tensorflow"] != here.stdout.strip()

    def test_nothing_of_ours_is_installed_there(self, python: str) -> None:
        for ours in ("pytest", "pytest_accel", "execnet"):
            tried = subprocess.run([python, "-c", f"import {ours}"], capture_output=True, cwd="/", check=False)
            assert tried.returncode != 0, f"{ours} is installed, so this shows nothing"

    def test_a_keras_file_is_exported(self, client: WorkerClient, python: str, tmp_path: Path) -> None:
        model = tmp_path / "model.keras"
        subprocess.run([python, "-c", WRITE_KERAS_FILE, str(model)], check=True)
        client.compile(Source("keras", str(model)), tmp_path / "artefact", self.complete())
        loaded = client.load(tmp_path / "artefact", self.complete())
        assert [(spec.dtype, spec.shape) for spec in loaded.signature.inputs] == [("float32", (None, 4))]
        (scores,) = client.predict(made_up(loaded, rows=2)).values()
        assert scores.shape == (2, 3)
