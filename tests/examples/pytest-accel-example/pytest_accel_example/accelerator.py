"""The ``example`` accelerator: one dense layer on NumPy, which stands for a vendor's SDK.

This module is sent to the worker as text, so it imports only the standard library, NumPy and the contract at its top.
A model is a JSON file with the layer's ``weights``, named ``*.dense.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    Observed,
    Option,
    Present,
    Progress,
    Refused,
    Source,
    Tensor,
)

_ARTEFACT = "layer.npy"


class Example(Accelerator):
    """Dense layers on NumPy."""

    name = "example"
    sources = ("dense",)
    file_kinds: ClassVar[Mapping[str, str]] = {".dense.json": "dense"}
    concurrent = True  # `infer` keeps nothing between calls, so several threads may be in it
    references: ClassVar[Mapping[str, str]] = {"dense": "example"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=("fp32", "fp64"), doc="precision of the products"),
    }

    def probe(self) -> Present:
        """NumPy is always here."""
        return Present("example device", {"model": "Example 1"})

    def versions(self) -> dict[str, str]:
        """What the results depend on."""
        return {"example-sdk": "1.0"}

    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        """Turn the weights into an array of the precision asked for."""
        if source.kind not in self.sources:
            raise Refused(f"cannot compile {source.kind!r}")
        try:
            weights = json.loads(Path(source.path).read_text(encoding="utf-8"))["weights"]
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"{source.path}: no weights: {error}") from error
        dtype = np.float64 if options["precision"] == "fp64" else np.float32
        np.save(Path(artefact) / _ARTEFACT, np.array(weights, dtype))

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        """Read the array back."""
        self._weights = np.load(Path(artefact) / _ARTEFACT)
        rows, columns = self._weights.shape
        return [Tensor("x", "float32", (None, rows))], [Tensor("y", "float32", (None, columns))]

    def stage(self, inputs: Arrays) -> Any:
        """The device computes in its own precision."""
        return inputs["x"].astype(self._weights.dtype)

    def infer(self, staged: Any) -> Arrays:
        """One product."""
        return {"y": (staged @ self._weights).astype(np.float32)}

    def placement(self) -> Observed:
        """One operator, and it runs here."""
        precision = self._weights.dtype.name
        return Observed(1.0, {precision: 1}, {"dense": f"example:{precision}"})

    def yardstick(self, folder: str) -> Source:
        """A layer of fixed size and contents."""
        path = Path(folder) / "yardstick.dense.json"
        weights = np.random.default_rng(1).normal(size=(64, 64)).tolist()
        path.write_text(json.dumps({"weights": weights}), encoding="utf-8")
        return Source("dense", str(path))
