"""Hooks that pytest-accel calls; a conftest or another plugin implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def pytest_accel_accelerators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Accelerators of this project: ``{"tpu": "my_project.tpu:Tpu"}``, a class of `pytest_accel.testing`'s contract.

    An installed package uses the entry-point group ``pytest_accel.accelerators`` instead, with the same values.
    """
