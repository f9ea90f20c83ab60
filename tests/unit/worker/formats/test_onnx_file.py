"""The worker room `onnx_file`, held against ONNX Runtime: what it reads we read, and what we write it reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import intermediate, onnx_file, onnx_model, quantise

onnx: Any = pytest.importorskip("onnx", reason="needs pip install 'pytest-accel[cpu-ort]'")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="needs pip install 'pytest-accel[cpu-ort]'")

WEIGHTS = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)
ANSWER = X @ WEIGHTS


@pytest.fixture
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model of two kilobytes be a large one."""
    monkeypatch.setattr(onnx_file, "ONE_MESSAGE_BYTES", 2000)


def write(folder: Path, location: str = "weights.bin", data: Path | None = None) -> Path:
    """A matrix product whose matrix is at ``location``, and lies at ``data``; a small bias has a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = []
    for name, values, where in (("w", WEIGHTS, location), ("bias", np.zeros(10, np.float32), "bias.bin")):
        tensor = onnx.TensorProto(name=name, data_type=1, dims=values.shape, data_location=onnx.TensorProto.EXTERNAL)
        for key, value in (("location", where), ("offset", "8"), ("length", str(values.nbytes))):
            tensor.external_data.add(key=key, value=value)
        file = data if data is not None and name == "w" else folder / where
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(8) + values.tobytes())
        tensors.append(tensor)
    helper = onnx.helper
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "bias"], ["y"])]
    ends = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 64), ("y", 10))]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


def answer(path: Path | str) -> Any:
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]


def copied(path: Path, folder: Path) -> Path:
    """The same model, read and written."""
    folder.mkdir()
    onnx_file.write(onnx_model.fix_batch(onnx_file.read(str(path)), 2), str(folder / "copy.onnx"))
    return folder / "copy.onnx"


def hugging_face(folder: Path) -> Path:
    """A model of which all files are links to blobs that are named by their hash."""
    source, snapshot = write(folder / "download"), folder / "snapshots" / "abc" / "onnx"
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for number, file in enumerate(sorted(source.parent.iterdir())):
        file.rename(folder / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../../blobs/{number}")
    return snapshot / "model.onnx"


def link_inside(folder: Path) -> Path:
    path = write(folder, data=folder / "blobs" / "b")
    (folder / "weights.bin").symlink_to("blobs/b")
    return path


def hard_link(folder: Path) -> Path:
    path = write(folder, data=folder / "b")
    os.link(folder / "b", folder / "weights.bin")
    return path


def linked_folder(folder: Path) -> Path:
    write(folder / "real")
    (folder / "link").symlink_to("real")
    return folder / "link" / "model.onnx"


def linked_model(folder: Path) -> Path:
    """The model is a link and its weights are beside the link."""
    path = write(folder / "here")
    (folder / "there").mkdir()
    path.rename(folder / "there" / "model.onnx")
    path.symlink_to("../there/model.onnx")
    return path


@pytest.mark.parametrize("make", [write, hugging_face, link_inside, hard_link, linked_folder, linked_model])
@pytest.mark.parametrize("large", [False, True])
def test_weights_are_where_onnx_runtime_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, large: bool
) -> None:
    if large:
        monkeypatch.setattr(onnx_file, "ONE_MESSAGE_BYTES", 2000)
    path = make(tmp_path / "source")
    np.testing.assert_array_equal(answer(path), answer(copied(path, tmp_path / "copy")))
    with onnx_file.without_links(str(path)) as plain:
        np.testing.assert_array_equal(answer(path), answer(plain))
        files = list(Path(plain).resolve().parent.iterdir())
        assert make is link_inside or not any(file.is_symlink() for file in files if file.suffix != ".onnx")


def outside_above(folder: Path) -> Path:
    return write(folder / "deep", location="../weights.bin")


def outside_absolute(folder: Path) -> Path:
    return write(folder, location=str(folder.parent / "elsewhere.bin"))


def outside_by_link(folder: Path) -> Path:
    path = write(folder, data=folder.parent / "elsewhere" / "b")
    (folder / "weights.bin").symlink_to("../elsewhere/b")
    return path


@pytest.mark.parametrize("make", [outside_above, outside_absolute, outside_by_link])
def test_weights_outside_of_the_models_folder_are_refused_as_by_onnx_runtime(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "source")
    with pytest.raises(Exception, match=r"escapes model directory|Absolute path not allowed"):
        answer(path)
    for read in (onnx_file.read, lambda given: onnx_file.without_links(given).__enter__()):
        with pytest.raises(Refused, match="outside of its folder, where ONNX Runtime reads none: put that file beside"):
            read(str(path))


def test_weights_that_are_not_there_or_cut_off_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(Refused, match=r"weights\.bin ends within the weights 'w': it is cut off, so fetch it again"):
        onnx_file.read(str(path))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(Refused, match=r"its weights are not in .*weights\.bin: put that file beside the model"):
        onnx_file.read(str(path))


def test_weights_without_a_length_go_to_the_end_of_their_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        del tensor.external_data[2]
    path.write_bytes(model.SerializeToString())
    np.testing.assert_array_equal(answer(copied(path, tmp_path / "copy")), answer(path))


@pytest.mark.usefixtures("small_messages")
class TestLargeModels:
    def test_large_weights_stay_in_files_and_small_ones_come_in(self, tmp_path: Path) -> None:
        model = onnx_file.read(str(write(tmp_path)))
        large, small = model.graph.initializer
        assert (len(large.raw_data), len(small.raw_data)) == (0, 40)
        assert onnx_file.has_files(model)
        onnx_file.write(model, str(tmp_path / "copy.onnx"))
        assert (tmp_path / "copy.onnx").stat().st_size < 1000
        assert onnx_file.has_files(model), "it can be written again"
        (tmp_path / "weights.bin").unlink()
        onnx_file.write(model, str(tmp_path / "again.onnx"))
        (tmp_path / "copy.onnx.data").unlink()
        np.testing.assert_allclose(answer(tmp_path / "again.onnx"), ANSWER, rtol=1e-4, atol=1e-4)

    def test_one_whose_weights_are_in_its_message_gets_a_file(self, tmp_path: Path) -> None:
        model = onnx.load(write(tmp_path))
        onnx_file.write(model, str(tmp_path / "copy.onnx"))
        assert (tmp_path / "copy.onnx.data").stat().st_size == WEIGHTS.nbytes
        np.testing.assert_allclose(answer(tmp_path / "copy.onnx"), ANSWER, rtol=1e-4, atol=1e-4)

    def test_they_are_counted_and_what_is_inside_is_seen(self, tmp_path: Path) -> None:
        path = copied(write(tmp_path), tmp_path / "copy")
        graph = onnx_file.read_graph(str(path))
        assert onnx_model.count_flops(graph) == 2 * 2 * 64 * 10

        def session(serialised: bytes) -> Any:
            options = onnxruntime.SessionOptions()
            key = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(key, str(path.parent))
            return onnxruntime.InferenceSession(serialised, options)

        inside = intermediate.of_onnx(graph, {"x": X}, session)
        np.testing.assert_allclose(inside[1].value, ANSWER, rtol=1e-4, atol=1e-4)

    def test_they_are_quantised(self, tmp_path: Path) -> None:
        model = onnx_model.fix_batch(onnx_file.read(str(write(tmp_path))), 2)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        made = quantise.quantise(model, [{"x": X}], "uint8", lambda *_: None, str(scratch), reduce_range=True)
        onnx_file.write(made, str(tmp_path / "int8.onnx"))
        error = np.abs(answer(tmp_path / "int8.onnx") - ANSWER).max()
        assert 0 < error < 1

    def test_what_needs_one_message_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="FP16 needs a model whose weights are less than"):
            onnx_file.require_one_message(onnx_file.read(str(write(tmp_path))), "FP16")
