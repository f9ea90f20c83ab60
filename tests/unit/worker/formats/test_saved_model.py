"""What importing TensorFlow decides, and what is said of models that it cannot take; without TensorFlow."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_accel
from pytest_accel.worker.accelerator import Refused, Source
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
        for path in sorted(ROOMS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name == "tensorflow" for alias in node.names)
    ]
    # The plain loop is a program of its own, and hides the GPU itself.
    assert importing == ["worker/formats/plain_loop.py", "worker/formats/saved_model.py"]


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["classify", "embed"], "it has 'classify', 'embed': name one in the marker, as in signature='classify'"),
        ([], r"it has none: save it with signatures=\{'serving_default': function\}"),
    ],
)
def test_a_model_without_the_signature_names_those_that_it_has(
    monkeypatch: pytest.MonkeyPatch, names: list[str], advice: str
) -> None:
    monkeypatch.setattr(saved_model, "signatures_of", lambda _folder: names)
    with pytest.raises(Refused, match=f"has no signature 'serving_default'; {advice}"):
        saved_model.check_signature("folder", "serving_default")


class Exported:
    """A Keras model that prints what it has written, as Keras does."""

    def export(self, folder: str) -> None:
        print(f"Saved artifact at '{folder}'.")


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What our code asks of Keras."""
    models = SimpleNamespace(load_model=lambda _path, **_options: Exported())
    tensorflow = SimpleNamespace(keras=SimpleNamespace(models=models))
    monkeypatch.setattr(saved_model, "import_tensorflow", lambda: tensorflow)
    return models


def test_a_keras_file_with_code_of_the_project_names_the_way_out(keras: SimpleNamespace, tmp_path: Path) -> None:
    def load_model(_path: str, **_options: Any) -> Any:
        raise TypeError("Could not locate class 'Gate'.")

    keras.load_model = load_model
    (tmp_path / "net.keras").touch()
    way_out = r"pass the model in memory, accel_model\(keras.models.load_model\(path\)\) \(TypeError: .*'Gate'"
    with pytest.raises(Refused, match=rf"net\.keras: Keras cannot load it; .*{way_out}"):
        saved_model.write_saved_model(Source("keras", str(tmp_path / "net.keras")), str(tmp_path / "out"))


def test_exporting_a_keras_file_prints_nothing(
    keras: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.keras").touch()
    saved_model.write_saved_model(Source("keras", str(tmp_path / "net.keras")), str(tmp_path / "out"))
    assert capsys.readouterr().out == ""
