"""Models are resolved in a project at ``tmp_path``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_accel.inputs.models import Model, resolve
from pytest_accel.store.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", limit_mb=100)


@pytest.fixture
def find(cache: Cache, tmp_path: Path) -> Callable[..., Model]:
    """`resolve` in a project at tmp_path."""
    return functools.partial(resolve, cache=cache, base=tmp_path)
