"""Which release of TensorRT the stand-in is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def choose_release(patch: pytest.MonkeyPatch, release: str) -> None:
    """Let the stand-ins be this release of TensorRT and a cuda-python of its time."""
    patch.setenv("STANDIN_TENSORRT", release)
    patch.setenv("STANDIN_CUDA_PYTHON", {"8.6": "12.6", "10": "13.5", "11": "13.5"}[release])
