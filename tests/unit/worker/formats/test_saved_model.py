"""What importing TensorFlow decides for a process, without TensorFlow; the rest is in its accelerators' contracts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_accel
from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import saved_model

ROOMS = Path(pytest_accel.__file__).parent


class Config:
    """The part of ``tensorflow.config`` that is about GPUs. Nothing can be changed after the first operation."""

    def __init__(self, *, begun: bool = False) -> None:
        self.begun = begun
        self.calls: list[tuple[list[Any], str]] = []

    def set_visible_devices(self, devices: list[Any], device_type: str) -> None:
        if self.begun:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        self.calls.append((devices, device_type))


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    config = Config()
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    monkeypatch.setattr(saved_model, "_DECIDED", [])
    return config


def test_tensorflow_sees_no_gpu_unless_it_is_to_run_on_one(config: Config) -> None:
    saved_model.import_tensorflow()
    saved_model.import_tensorflow()
    assert config.calls == [([], "GPU")]


def test_tensorflow_keeps_the_gpu_that_it_is_to_run_on(config: Config) -> None:
    saved_model.import_tensorflow(gpu=True)
    saved_model.import_tensorflow()
    assert config.calls == []


def test_a_process_that_will_be_forked_looks_for_no_device(config: Config) -> None:
    saved_model.preload_tensorflow()
    assert config.calls == []
    saved_model.import_tensorflow()
    assert config.calls == [([], "GPU")]


def test_a_tensorflow_that_has_the_gpu_already_is_refused_with_what_to_do(config: Config) -> None:
    config.begun = True
    with pytest.raises(Refused, match=r"already runs with other devices .*initialized\): leave out --accel-in"):
        saved_model.import_tensorflow()


def test_tensorflow_1_has_the_function_elsewhere(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=SimpleNamespace(experimental=config)))
    saved_model.import_tensorflow()
    assert config.calls == [([], "GPU")]


def test_nothing_imports_tensorflow_past_the_function_that_hides_the_gpu() -> None:
    importing = [
        path.relative_to(ROOMS).as_posix()
        for path in ROOMS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name == "tensorflow" for alias in node.names)
    ]
    assert importing == ["worker/formats/saved_model.py"]
