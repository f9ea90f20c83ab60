"""The models that this suite and its readers' first run measure; made once on each machine, see tests/models."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.interrupts import heard_interrupts as heard_interrupts  # a fixture is found by its name here

if TYPE_CHECKING:
    from tests.models.zoo import Examples, Zoo

# Hundreds of tests start a pytest of their own, which takes twice as long when it compiles all sources anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["pytester"]
if not entry_points(group="pytest11", name="accel"):  # a checkout that is not installed
    pytest_plugins.append("pytest_accel.plugin.hooks")


@pytest.fixture(autouse=True)
def no_stale_byte_code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that writes a file twice in one second would otherwise run the byte code of the first one."""
    if "pytester" in request.fixturenames:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.fixture(scope="session")
def zoo(pytestconfig: pytest.Config) -> Iterator[Zoo]:
    from pytest_accel.report.progress import ProgressLine
    from tests.models.zoo import Zoo, missing_packages

    if missing := missing_packages():
        pytest.skip(f"needs {', '.join(missing)}: pip install 'pytest-accel[demo]'")
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        if terminal is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                terminal.write(text, flush=True)

    made = Zoo.at_home(ProgressLine(write, rewrites=terminal is not None and terminal.isatty))
    yield made
    made.cache.close()


@pytest.fixture(scope="session")
def resnet50(zoo: Zoo) -> Path:
    """ResNet-50 as a SavedModel, 224x224x3 in, 1,000 classes out, of which the first ten are digits."""
    return zoo.saved_model("resnet50")


@pytest.fixture(scope="session")
def resnet50_val(zoo: Zoo) -> Examples:
    return zoo.validation("resnet50")


@pytest.fixture(scope="session")
def digits_cnn(zoo: Zoo) -> Path:
    """A small CNN as a SavedModel, 8x8x1 in, ten classes out."""
    return zoo.saved_model("digits_cnn")


@pytest.fixture(scope="session")
def digits_val(zoo: Zoo) -> Examples:
    return zoo.validation("digits_cnn")
