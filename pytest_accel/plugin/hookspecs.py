"""These are the hooks that pytest-accel calls. A conftest or another plugin implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def pytest_accel_accelerators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return the accelerators of this project by name, for example ``{"tpu": "my_project.tpu:Tpu"}``.

    A value names a class that keeps `pytest_accel.testing.contract.AcceleratorContract`. An installed package uses the
    entry-point group ``pytest_accel.accelerators`` instead, with the same names and values. Mark the implementation
    ``@pytest.hookimpl(optionalhook=True)``, so that the project works with ``-p no:accel`` too.
    """
