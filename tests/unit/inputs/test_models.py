from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_accel.facts.errors import SourceError
from pytest_accel.inputs.models import Model, content_digest, resolve
from pytest_accel.store.cache import Cache


def onnx_file(path: Path, location: str) -> Path:
    """A model of one tensor, whose values lie at ``location``; written down by the numbers of ONNX's fields."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    entry = field(1, b"location") + field(2, location.encode())
    path.write_bytes(field(7, field(5, field(13, entry))))
    return path


def saved_model(folder: Path, *, weights: bytes = b"weights", graph: str = "saved_model.pb") -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / graph).write_bytes(b"graph")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(weights)
    return folder


def keras_file(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    return path


class KerasLayer:
    """What a Keras model shows of itself; its module says where it comes from."""

    __module__ = "keras.src.layers.layer"

    def _flatten_layers(self, include_self: bool) -> list[Any]:
        return self.layers

    name = "small net"
    built = True
    layers: list[Any]

    def __init__(self, *, weights: float = 1.0, config: str = "{}", layers: tuple[Any, ...] = ()) -> None:
        self.weights, self.config, self.layers = weights, config, list(layers)
        self.exports = 0

    def __call__(self) -> None:
        raise AssertionError("a model is not a function that makes one")

    def to_json(self) -> str:
        return self.config

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        return [np.full(3, self.weights, np.float32)]

    def export(self, folder: str) -> None:
        self.exports += 1
        print(f"Saved artifact at '{folder}'.")
        saved_model(Path(folder), weights=str(self.weights).encode())


class OwnLayer(KerasLayer):
    """A layer written by the user."""


class TestPaths:
    @pytest.mark.parametrize("graph", ["saved_model.pb", "saved_model.pbtxt"])
    def test_a_saved_model_folder(self, tmp_path: Path, find: Callable[..., Model], graph: str) -> None:
        folder = saved_model(tmp_path / "models" / "resnet50", graph=graph)
        model = find("models/resnet50")
        assert (model.name, model.kind, model.path) == ("resnet50", "saved_model", folder)
        assert model == find(folder, name="resnet50")

    @pytest.mark.parametrize(("file", "kind"), [("net.keras", "keras"), ("net.onnx", "onnx")])
    def test_a_file_is_known_by_its_suffix(
        self, tmp_path: Path, find: Callable[..., Model], file: str, kind: str
    ) -> None:
        keras_file(tmp_path / file)
        assert (find(file).name, find(file).kind, find(file).path) == ("net", kind, tmp_path / file)

    def test_an_accelerators_own_kind_of_file_is_known_to_it_alone(self, tmp_path: Path, cache: Cache) -> None:
        (tmp_path / "net.engine").write_bytes(b"engine")
        model = resolve("net.engine", cache=cache, base=tmp_path, kinds={".engine": "engine"})
        assert (model.name, model.kind) == ("net", "engine")
        with pytest.raises(SourceError, match=r"pass a SavedModel folder or a \.keras, \.onnx or \.pt2 file"):
            resolve("net.engine", cache=cache, base=tmp_path)

    def test_the_project_comes_before_the_current_folder(
        self, tmp_path: Path, find: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = tmp_path / "here"
        saved_model(here / "net")
        monkeypatch.chdir(here)
        assert find("net").path == here / "net"
        saved_model(tmp_path / "net")
        assert find("net").path == tmp_path / "net"

    def test_the_digest_is_of_names_and_contents(self, tmp_path: Path, find: Callable[..., Model]) -> None:
        digest = find(saved_model(tmp_path / "a")).digest
        assert find(saved_model(tmp_path / "b")).digest == digest
        assert find(saved_model(tmp_path / "c", weights=b"other")).digest != digest
        (tmp_path / "b" / "saved_model.pb").rename(tmp_path / "b" / "saved_model.pbtxt")
        assert find(tmp_path / "b").digest != digest

    def test_the_digest_does_not_depend_on_the_order_of_a_listing(self, tmp_path: Path) -> None:
        files = [(name, keras_file(tmp_path / name)) for name in ("a", "b")]
        assert content_digest(files) == content_digest(reversed(files))

    @pytest.mark.parametrize("location", ["net.onnx.data", "weights.bin", "deep/weights"])
    def test_an_onnx_model_includes_the_files_that_it_names(
        self, tmp_path: Path, find: Callable[..., Model], location: str
    ) -> None:
        onnx_file(tmp_path / "net.onnx", location)
        weights = tmp_path / location
        weights.parent.mkdir(exist_ok=True)
        digests = set()
        for content in (b"weights", b"changed"):
            weights.write_bytes(content)
            digests.add(find("net.onnx").digest)
        weights.unlink()
        assert len(digests | {find("net.onnx").digest}) == 3

    def test_weights_that_are_a_link_are_those_that_it_leads_to(
        self, tmp_path: Path, find: Callable[..., Model]
    ) -> None:
        onnx_file(tmp_path / "net.onnx", "weights.bin")
        blob = tmp_path / "blob"
        blob.write_bytes(b"weights")
        (tmp_path / "weights.bin").symlink_to(blob)
        digest = find("net.onnx").digest
        blob.write_bytes(b"changed")
        assert find("net.onnx").digest != digest

    def test_neighbours_of_an_onnx_model_that_it_does_not_name_are_not_part_of_it(
        self, tmp_path: Path, find: Callable[..., Model]
    ) -> None:
        digest = find(onnx_file(tmp_path / "net.onnx", "weights.bin")).digest
        (tmp_path / "net.onnx.md5").write_text("a note")
        (tmp_path / "net.onnx.cache").mkdir()
        assert find("net.onnx").digest == digest

    def test_a_name_that_reads_like_a_pattern_is_a_name(self, tmp_path: Path, find: Callable[..., Model]) -> None:
        digests = {find(onnx_file(tmp_path / "m[1].onnx", location)).digest for location in ("a", "b")}
        assert len(digests) == 2

    def test_a_folder_of_a_saved_model_may_be_a_link(self, tmp_path: Path, find: Callable[..., Model]) -> None:
        folder = saved_model(tmp_path / "net")
        (tmp_path / "blobs").mkdir()
        (tmp_path / "blobs" / "weights").write_bytes(b"weights")
        (folder / "more").symlink_to(tmp_path / "blobs", target_is_directory=True)
        (folder / "round").symlink_to(folder, target_is_directory=True)
        digest = find("net").digest
        (tmp_path / "blobs" / "weights").write_bytes(b"changed")
        assert find("net").digest != digest

    @pytest.mark.parametrize(
        ("given", "safe"), [("a b/c", "a_b_c"), ("..net", "net"), ("Größe", "Gr_e"), ("v1.2-x", "v1.2-x")]
    )
    def test_names_are_path_safe(self, tmp_path: Path, find: Callable[..., Model], given: str, safe: str) -> None:
        assert find(saved_model(tmp_path / "net"), name=given).name == safe

    def test_a_name_of_nothing(self, tmp_path: Path, find: Callable[..., Model]) -> None:
        with pytest.raises(SourceError, match=r"'\.\.' cannot be a model's name"):
            find(saved_model(tmp_path / "net"), name="..")


class TestPathsThatAreNoModel:
    def test_what_was_tried_and_what_is_near(
        self, tmp_path: Path, find: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir("/")
        saved_model(tmp_path / "models" / "resnet50")
        with pytest.raises(SourceError) as raised:
            find("models/resnet5O")
        assert f"tried {tmp_path}/models/resnet5O and /models/resnet5O" in str(raised.value)
        assert str(raised.value).endswith(f"Did you mean {tmp_path}/models/resnet50?")

    @pytest.mark.parametrize(
        ("inside", "message"),
        [
            ([], "the folder is empty"),
            (["best.keras"], r"it holds best\.keras; name that file"),
            (["best.h5"], r"it holds best\.h5, the legacy HDF5 format; convert it"),
            (["1/saved_model.pb"], "there is one in 1/; name that folder"),
            (["checkpoint", "ckpt.index"], "it holds a training checkpoint"),
            (["a", "b", "c", "d", "e", "f"], r"it holds a, b, c, d, e, \.\.\."),
        ],
    )
    def test_a_folder_that_is_no_saved_model_is_described(
        self, tmp_path: Path, find: Callable[..., Model], inside: list[str], message: str
    ) -> None:
        (tmp_path / "net" / "1").mkdir(parents=True) if "1/saved_model.pb" in inside else (tmp_path / "net").mkdir()
        for name in inside:
            (tmp_path / "net" / name).touch()
        with pytest.raises(SourceError, match=rf"is no SavedModel \(it has no saved_model\.pb\): {message}"):
            find("net")

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("net.h5", r"load_model\('net\.h5'\)\.save\('net\.keras'\)"),
            ("saved_model.pb", "name its folder"),
            ("net.tflite", r"pass a SavedModel folder or a \.keras, \.onnx or \.pt2 file"),
            ("net.keras", r"is no \.keras archive: save it again"),
        ],
    )
    def test_a_file_of_another_kind(self, tmp_path: Path, find: Callable[..., Model], file: str, message: str) -> None:
        (tmp_path / file).write_bytes(b"something")
        with pytest.raises(SourceError, match=message):
            find(file)


class TestKerasModels:
    def test_an_unchanged_model_is_exported_once(self, find: Callable[..., Model]) -> None:
        first, again = KerasLayer(), KerasLayer()
        model = find(first)
        assert (model.name, model.kind) == ("small_net", "saved_model")
        assert (model.path / "saved_model.pb").is_file()
        assert find(again, name="other").path == model.path
        assert (first.exports, again.exports) == (1, 0)

    def test_what_keras_prints_is_in_no_failure(
        self, find: Callable[..., Model], capsys: pytest.CaptureFixture[str]
    ) -> None:
        find(KerasLayer())
        assert capsys.readouterr().out == ""

    def test_the_digest_is_of_configuration_weights_and_own_code(
        self, find: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = [
            KerasLayer(),
            KerasLayer(weights=2),
            KerasLayer(config="[]"),
            KerasLayer(layers=(KerasLayer(),)),
            KerasLayer(layers=(OwnLayer(),)),
        ]
        digests = [find(model).digest for model in models]
        assert digests[3] == digests[0]  # only the code of one's own classes counts; Keras has a version
        assert len(set(digests)) == 4
        monkeypatch.setattr("inspect.getsource", lambda _own: "changed")
        assert find(models[4]).digest not in digests

    def test_code_that_cannot_be_read(self, find: Callable[..., Model]) -> None:
        made_up = type("Typed", (OwnLayer,), {"__module__": "notebook"})
        with pytest.raises(SourceError, match=r"the source of notebook\.Typed cannot be read.*model\.export\(folder\)"):
            find(KerasLayer(layers=(made_up(),)))

    def test_a_model_that_has_no_shapes_yet(self, find: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(KerasLayer, "built", False)
        with pytest.raises(SourceError, match="small_net has no shapes yet"):
            find(KerasLayer())

    def test_a_model_that_cannot_be_exported(
        self, find: Callable[..., Model], cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def export(model: KerasLayer, folder: str) -> None:
            raise ValueError("unsupported layer")

        monkeypatch.setattr(KerasLayer, "export", export)
        with pytest.raises(SourceError, match="small_net cannot be exported: ValueError: unsupported layer"):
            find(KerasLayer())
        monkeypatch.undo()
        assert find(KerasLayer()).kind == "saved_model"  # nothing half-made stays in the cache


class TestFunctions:
    def test_its_name_is_the_models(self, tmp_path: Path, find: Callable[..., Model]) -> None:
        def latest() -> Path:
            return saved_model(tmp_path / "build-17")

        model = find(latest)
        assert (model.name, model.path) == ("latest", tmp_path / "build-17")

    def test_it_may_make_a_keras_model(self, find: Callable[..., Model]) -> None:
        assert find(functools.partial(KerasLayer, weights=3), name="three").name == "three"
        assert find(functools.partial(KerasLayer, weights=3)).name == "KerasLayer"

    def test_a_lambda_needs_a_name(self, find: Callable[..., Model]) -> None:
        with pytest.raises(SourceError, match=r"made by a lambda has no name.*pass name='...'"):
            find(lambda: KerasLayer())
        assert find(lambda: KerasLayer(), name="net").name == "net"

    def test_one_that_takes_arguments(self, find: Callable[..., Model]) -> None:
        def build(width: int) -> None: ...

        with pytest.raises(SourceError, match=r"build cannot be called without arguments \(missing.*'width'\)"):
            find(build)

    def test_one_that_returns_a_function(self, find: Callable[..., Model]) -> None:
        def build() -> Callable[[], None]:
            return lambda: None

        with pytest.raises(SourceError, match=r"build\(\) returned another function"):
            find(build)


@pytest.mark.parametrize(("source", "named"), [(None, "NoneType"), (7, "int"), (np.ones(2), r"numpy\.ndarray")])
def test_anything_else_is_refused(find: Callable[..., Model], source: Any, named: str) -> None:
    with pytest.raises(SourceError, match=f"cannot take a model from {named}: pass a SavedModel folder"):
        find(source)
