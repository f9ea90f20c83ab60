"""The models of this suite, made once on each machine and kept in the user's cache folder.

`recipes` says how they are made. It runs in a process of its own: TensorFlow never enters the one that runs the tests.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_accel.store.cache import Cache, default_root
from tests.models.pixels import enlarge, normalise

if TYPE_CHECKING:
    from pytest_accel.facts.progress import StepProgress

ROOT = Path(__file__).parents[2]
NEEDED = ("tensorflow", "keras", "scikit-learn", "onnx")
SIZE_LIMIT_MB = 2_000  # all models together are 800 MB
LOOK_EVERY_S = 0.5
#: Recipes that change a model, and the recipe of that model.
ORIGINALS = {
    "resnet50_doubled": "resnet50",
    "digits_cnn_slower": "digits_cnn",
    "digits_cnn_noisy": "digits_cnn",
}
Examples = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Zoo:
    """Makes models and their data; ``tell`` hears how far that is."""

    tell: StepProgress
    cache: Cache

    @classmethod
    def at_home(cls, tell: StepProgress) -> Zoo:
        """The zoo in the user's cache folder."""
        return cls(tell, Cache(default_root() / "models-of-the-suite", SIZE_LIMIT_MB))

    def saved_model(self, recipe: str) -> Path:
        """The SavedModel folder of ``recipe``."""
        return self._made(recipe) / recipe

    def keras_file(self, recipe: str) -> Path:
        """The ``.keras`` file of an original."""
        return self._made(recipe) / f"{recipe}.keras"

    def onnx_file(self, name: str) -> Path:
        """ResNet-50 as an ``.onnx`` file: ``"resnet50"``, or ``"resnet50_doubled"`` with a stage applied twice."""
        return self._made("resnet50") / f"{name}.onnx"

    def validation(self, recipe: str) -> Examples:
        """Images as the model takes them, and labels, of digits it was not made from: 128 (ResNet-50) or 450 (CNN)."""
        with np.load(self._made(recipe) / "val.npz") as stored:
            images, labels = stored["images"], stored["labels"]
        return (enlarge if recipe == "resnet50" else normalise)(images), labels

    def accuracy(self, recipe: str) -> float:
        """What the CNN reached on its validation data when it was made."""
        return float(json.loads((self._made(recipe) / "facts.json").read_text())["accuracy"])

    def _made(self, recipe: str) -> Path:
        original = self._made(ORIGINALS[recipe]) if recipe in ORIGINALS else None

        def build(folder: Path) -> None:
            run_recipe(recipe, folder, original, self.tell)
            self.tell.clear()

        return self.cache.entry(f"{recipe}-{made_of()}", build, label=f"test model {recipe}").path


def missing_packages() -> list[str]:
    """What has to be installed before models can be made here."""
    return [package for package in NEEDED if not any(importlib.metadata.distributions(name=package))]


def made_of() -> str:
    """A digest of the recipes and of the packages that carry them out."""
    texts = [(ROOT / "tests" / "models" / name).read_text() for name in ("recipes.py", "onnx_recipes.py", "pixels.py")]
    versions = [f"{package} {importlib.metadata.version(package)}" for package in (*NEEDED, "numpy")]
    return hashlib.sha256("\0".join(texts + versions).encode()).hexdigest()[:16]


def run_recipe(recipe: str, folder: Path, original: Path | None, tell: StepProgress) -> None:
    """Carry out one recipe in a fresh process and tell what it is at.

    Raises `RuntimeError` with the end of its output.
    """
    command = [
        sys.executable,
        "-m",
        "tests.models.recipes",
        recipe,
        str(folder),
        *([str(original)] if original else []),
    ]
    with tempfile.TemporaryFile() as errors, tempfile.NamedTemporaryFile() as said:
        with subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=errors) as process:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_S)
                doing = Path(said.name).read_text(encoding="utf-8").splitlines()[-1:]
                tell(f"making {recipe}, once on this machine", *doing)
                tell.tick()
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{text[-4000:]}")
