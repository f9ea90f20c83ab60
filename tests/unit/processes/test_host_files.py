from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import execnet
import numpy as np
import pytest

from pytest_accel.facts.errors import UnfitInput, WorkerError
from pytest_accel.processes import host_files
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.host_files import HostFiles, PartSize
from pytest_accel.processes.process import InProcessWorker
from pytest_accel.testing import FAKE, fake_model
from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.host.files import Files
from tests.unit.inputs.test_models import onnx_file, saved_model
from tests.unit.processes.host import Host


class Told(list[tuple[float, str]]):
    def __call__(self, share: float | None, detail: str) -> None:
        assert share is not None
        self.append((share, detail))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "far")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def files(host: Host, told: Told) -> HostFiles:
    return HostFiles(host.ask, told, host="me@box")


def next_run(host: Host, tmp_path: Path) -> tuple[HostFiles, Host]:
    host.files.let_go()
    later = Host(tmp_path / "far")
    return HostFiles(later.ask, Told(), host="me@box"), later


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return the contents of all files in a folder by name, and None for each folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_file_comes_under_its_name(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(noise(1_000_000))
    far = Path(files.there(tmp_path / "net.keras"))
    assert far.name == "net.keras"
    assert far.read_bytes() == noise(1_000_000)
    assert [path.name for path in far.parent.iterdir()] == ["net.keras"]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_the_smallest_file_comes_too(files: HostFiles, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net").write_bytes(content)
    assert Path(files.there(tmp_path / "net")).read_bytes() == content


def test_what_is_not_here_is_not_there(files: HostFiles, tmp_path: Path) -> None:
    far = Path(files.there(tmp_path / "no-such-model.onnx"))
    assert far.name == "no-such-model.onnx"
    assert far.parent.is_dir()
    assert not far.exists()


def test_a_folder_comes_with_all_that_is_in_it(files: HostFiles, host: Host, tmp_path: Path) -> None:
    net = saved_model(tmp_path / "net", weights=noise(50_000))
    (net / "assets").mkdir()
    os.link(net / "variables" / "variables.data-00000-of-00001", net / "the same by a hard link")
    (net / "linked").symlink_to(net / "saved_model.pb")
    far = Path(files.there(net / "variables" / ".."))
    assert far.name == "net"
    assert tree(far) == tree(net)
    assert host.sent_bytes < 60_000, "two names of one content are sent once"


def test_an_empty_folder_comes_empty(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert tree(Path(files.there(tmp_path / "empty"))) == {}


@pytest.mark.parametrize("location", ["weights.bin", "./deep/weights"])
def test_an_onnx_model_comes_with_the_files_that_it_names(files: HostFiles, tmp_path: Path, location: str) -> None:
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    net = onnx_file(folder / "net.onnx", location)
    (folder / location).write_bytes(b"weights")
    (folder / "other.bin").write_bytes(b"not of this model")
    far = Path(files.there(net))
    assert (far.parent / location).read_bytes() == b"weights"
    assert not (far.parent / "other.bin").exists()
    (folder / location).write_bytes(b"changed")
    assert (Path(files.there(net)).parent / location).read_bytes() == b"changed"


@pytest.mark.parametrize("location", ["../weights.bin", "deep/../../weights.bin", "{}/weights.bin", "missing.bin"])
def test_weights_outside_of_the_models_folder_stay_here(files: HostFiles, tmp_path: Path, location: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"weights")
    far = Path(files.there(onnx_file(tmp_path / "models" / "net.onnx", location.format(tmp_path))))
    assert [path.name for path in far.parent.iterdir()] == ["net.onnx"]


def test_a_second_run_sends_digests_alone(files: HostFiles, host: Host, tmp_path: Path) -> None:
    net = saved_model(tmp_path / "net", weights=noise(5_000_000))
    batches = [{"x": np.frombuffer(noise(400_000, seed), np.float32)} for seed in range(8)]
    far = files.there(net)
    files.arrays(batches)
    assert host.sent_bytes > 8_000_000
    later, host = next_run(host, tmp_path)
    assert tree(Path(later.there(net))) == tree(net)
    assert Path(later.there(net)) != Path(far), "each run has a folder of its own"
    later.arrays(batches)
    assert host.sent_bytes < 10_000
    assert "receive_parts" not in host.asked


def test_what_is_there_is_not_asked_about_again(files: HostFiles, host: Host, tmp_path: Path) -> None:
    net, batches = saved_model(tmp_path / "net"), [{"x": np.ones(20_000)}]
    far, packed = files.there(net), files.arrays(batches)
    host.asked.clear()
    assert files.there(net) == far
    assert files.arrays([*batches, *batches]) == packed * 2
    assert host.asked == []


def test_a_file_that_is_written_to_is_sent_again(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"one")
    files.there(tmp_path / "net")
    (tmp_path / "net").write_bytes(b"two")
    assert Path(files.there(tmp_path / "net")).read_bytes() == b"two"


def test_what_was_made_there_comes_here_and_stays_there(files: HostFiles, host: Host, tmp_path: Path) -> None:
    with files.made(tmp_path / "artefact") as far:
        assert not any(Path(far).iterdir())
        (Path(far) / "deep" / "empty").mkdir(parents=True)
        (Path(far) / "deep" / "engine").write_bytes(noise(3_000_000))
        (Path(far) / "log").write_bytes(b"")
        expected = tree(Path(far))
    assert tree(tmp_path / "artefact") == expected
    assert not Path(far).exists()
    assert host.sent_bytes < 10_000
    assert tree(Path(files.there(tmp_path / "artefact"))) == expected
    later, host = next_run(host, tmp_path)
    assert tree(Path(later.there(tmp_path / "artefact"))) == expected
    assert host.sent_bytes < 10_000, "neither run sends what was made there"


def test_nothing_is_left_of_what_could_not_be_made(files: HostFiles, tmp_path: Path) -> None:
    def fail(far: str) -> None:
        (Path(far) / "half").write_bytes(b"half")
        raise WorkerError("the compiler has crashed", phase="compile")

    with pytest.raises(WorkerError, match=r"^the compiler has crashed$"), files.made(tmp_path / "artefact") as far:
        fail(far)
    assert not Path(far).exists()
    assert not (tmp_path / "artefact").exists()


FULL = "the disk of me@box is full: 100 bytes are free for {}/far; free some space there"


@pytest.mark.parametrize(("free", "says"), [(100, FULL), (1 << 20, "")])
def test_an_error_on_a_full_disk_says_that_it_is_full(
    files: HostFiles, host: Host, tmp_path: Path, free: int, says: str
) -> None:
    host.after["free_space"] = lambda space: {**space, "free": free}
    with pytest.raises(WorkerError) as error, files.made(tmp_path / "artefact"):
        raise WorkerError("engine was not written", phase="compile", details="a traceback")
    assert says.format(tmp_path) in str(error.value)
    assert "engine was not written" in str(error.value)
    assert (error.value.phase, error.value.details) == ("compile", "a traceback")


def test_an_upload_that_is_cut_goes_on_with_the_files_that_had_not_come(
    files: HostFiles, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_files, "_MOST_BYTES", 1 << 18)
    net = saved_model(tmp_path / "net", weights=noise(1_000_000))
    (net / "more").write_bytes(noise(1_000_000, seed=2))

    def cut() -> None:
        if any((tmp_path / "far/objects").iterdir()):
            raise WorkerError("gpu on me@box: the line is cut")

    host.before["receive_parts"] = cut
    with pytest.raises(WorkerError, match="the line is cut"):
        files.there(net)
    later, again = next_run(host, tmp_path)
    assert tree(Path(later.there(net))) == tree(net)
    assert 1_000_000 < again.sent_bytes < 1_100_000
    host.files = Files(str(tmp_path / "far"), 1_000.0)
    host.before.clear()
    assert tree(Path(files.there(net))) == tree(net), "the same run may try again too"


def test_a_file_that_changes_while_it_is_sent_is_not_used(files: HostFiles, host: Host, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"the first one")

    def change() -> None:
        (tmp_path / "net").write_bytes(b"a later one")

    host.before["hold_contents"] = change
    with pytest.raises(WorkerError, match=r"me@box: .*/net has not arrived as it was: it was changed meanwhile"):
        files.there(tmp_path / "net")
    host.before.clear()
    assert Path(files.there(tmp_path / "net")).read_bytes() == b"a later one"


@pytest.mark.parametrize("data", [b"x" * 1_000, b""], ids=["other contents", "nothing"])
def test_what_does_not_come_back_as_it_was_made_is_an_error(
    files: HostFiles, host: Host, tmp_path: Path, data: bytes
) -> None:
    host.after["read_content"] = lambda part: {**part, "data": data}
    with (
        pytest.raises(WorkerError, match=r"engine has not come from me@box as it is there.*run again"),
        files.made(tmp_path / "artefact") as far,
    ):
        (Path(far) / "engine").write_bytes(noise(1_000))


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "deep/../../escaped", ""])
@pytest.mark.parametrize("kind", ["files", "folders"])
def test_no_host_writes_outside_of_the_folder(
    files: HostFiles, host: Host, tmp_path: Path, name: str, kind: str
) -> None:
    made = {"files": {"net": ["0" * 64, 0]}, "folders": []}
    host.after["keep_folder"] = lambda _: {**made, kind: {name: ["0" * 64, 0]} if kind == "files" else [name]}
    with pytest.raises(WorkerError, match=r"me@box: .* is no name of a file inside a folder"):
        files.back(files.empty_folder(), tmp_path / "artefact")
    assert not (tmp_path / "escaped").exists()


def test_no_host_writes_over_a_file_that_is_there(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "mine/engine").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError), files.made(tmp_path / "mine") as far:
        (Path(far) / "engine").write_bytes(b"engine")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_no_host_fills_our_memory(files: HostFiles, host: Host, tmp_path: Path) -> None:
    host.after["read_content"] = lambda part: {**part, "data": bytes(100_000_000)}
    with pytest.raises(WorkerError, match="me@box: a part of a file has more than"), files.made(tmp_path / "a") as far:
        (Path(far) / "engine").write_bytes(b"engine")


@pytest.mark.parametrize(
    ("op", "answer"),
    [("hold_contents", {"missing": [1]}), ("lay_out", {}), ("keep_folder", {"files": {"net": "x"}, "folders": []})],
)
def test_an_answer_of_another_shape_names_the_host(
    files: HostFiles, host: Host, tmp_path: Path, op: str, answer: Any
) -> None:
    host.after[op] = lambda _: answer
    (tmp_path / "net").write_bytes(b"net")
    with pytest.raises(WorkerError, match=f"me@box's reply to {op} is malformed"):
        there_and_back(files, tmp_path)


def there_and_back(files: HostFiles, tmp_path: Path) -> None:
    files.there(tmp_path / "net")
    files.back(files.empty_folder(), tmp_path / "artefact")


def test_a_name_that_is_no_text_says_what_to_do(files: HostFiles, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / name).write_bytes(b"")
    with pytest.raises(WorkerError, match=r"'net/caf\\udce9' is no UTF-8 text, .*: rename that file or folder"):
        files.there(tmp_path / "net")
    with pytest.raises(WorkerError, match="is no UTF-8 text"), files.made(tmp_path / "artefact") as far:
        (Path(far) / name).write_bytes(b"")


def test_a_transfer_tells_how_much_of_it_is_done(files: HostFiles, told: Told, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(noise(4_000_000))
    files.there(tmp_path / "net")
    assert told[-1] == (1.0, f"sending to me@box: {tmp_path}/net, 4 of 4 MB")
    assert len(told) > 2
    assert told == sorted(told)
    told.clear()
    with files.made(tmp_path / "artefact") as far:
        (Path(far) / "engine").write_bytes(noise(4_000_000, seed=2))
    assert told[-1] == (1.0, "fetching from me@box: engine, 4 of 4 MB")


def test_text_is_compressed_on_its_way(files: HostFiles, host: Host, tmp_path: Path) -> None:
    (tmp_path / "net").write_text("".join(f"layer {index}: Dense(units={index % 97})\n" for index in range(50_000)))
    files.there(tmp_path / "net")
    assert host.sent_bytes < (tmp_path / "net").stat().st_size / 3


def test_many_small_files_share_a_request(files: HostFiles, host: Host, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for index in range(300):
        (tmp_path / "net" / str(index)).write_text(f"weights {index}")
    files.there(tmp_path / "net")
    assert host.asked == ["hold_contents", "receive_parts", "lay_out"]


def test_a_part_is_what_the_line_takes_in_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s, sizes = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    parts = PartSize()
    for bytes_per_s in (1e9, 1e5):
        for _ in range(12):
            with parts.timed(parts.bytes):
                clock_s[0] += 0.05 + parts.bytes / bytes_per_s
        sizes.append(parts.bytes)
    assert sizes == [1 << 23, 1 << 16]
    with parts.timed(10):
        pass
    assert parts.bytes == 1 << 16, "a small request tells nothing of larger ones"


def test_large_arrays_are_read_there_from_files(files: HostFiles, host: Host) -> None:
    images: np.ndarray = np.frombuffer(noise(600_000), np.float32).reshape(2, -1)
    batch = {"image": images, "size": np.ones(2, np.int64)}
    (packed,) = files.arrays([batch])
    assert packed["size"] == wire.pack(batch["size"])
    assert packed["image"].keys() == {"dtype", "shape", "path"}
    came = wire.received_all(execnet.loads(execnet.dumps(packed)))
    assert came.keys() == batch.keys()
    for name, array in batch.items():
        np.testing.assert_array_equal(came[name], array)
        assert came[name].dtype == array.dtype


def test_small_arrays_cost_no_request(files: HostFiles, host: Host) -> None:
    files.arrays([{"x": np.ones(100)}, {"x": np.ones(100)}])
    assert host.asked == []


def test_arrays_are_held_until_the_next_request_has_others(files: HostFiles, host: Host) -> None:
    batches = [{"x": np.frombuffer(noise(80_000, seed), np.float32)} for seed in range(3)]
    first = files.arrays(batches[:2])
    assert all(Path(packed["x"]["path"]).exists() for packed in first)
    files.arrays(batches[1:])
    assert [Path(packed["x"]["path"]).exists() for packed in first] == [False, True]


def test_an_array_that_is_also_a_model_stays(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(noise(80_000))
    far = Path(files.there(tmp_path / "net"))
    files.arrays([{"x": np.frombuffer(noise(80_000), np.float32)}])
    files.arrays([{"x": np.frombuffer(noise(80_000, seed=2), np.float32)}])
    assert far.read_bytes() == noise(80_000)
    assert Path(files.there(tmp_path / "net")) == far


OPTIONS: dict[str, Any] = {"precision": "fp32", "batch_size": 1}


class Noting(InProcessWorker):
    """Notes which paths it was given."""

    def __init__(self) -> None:
        super().__init__("fake", FAKE)
        self.paths: list[str] = []

    def request(self, op: str, **params: Any) -> Any:
        self.paths += [params["source"]["path"]] if "source" in params else []
        self.paths += [params["artefact"]] if "artefact" in params else []
        return super().request(op, **params)


def test_a_client_works_through_a_host_as_it_does_here(files: HostFiles, host: Host, tmp_path: Path) -> None:
    """From a model to its outputs, in a worker that reads and writes nothing but what is on the host."""
    model = Source("fake", str(fake_model(tmp_path / "model.fake.json")))
    inputs = {"x": np.random.default_rng(1).normal(size=(20_000, 4)).astype(np.float32)}
    results = []
    for faces in (None, files):
        worker, folder = Noting(), tmp_path / ("far artefact" if faces else "near artefact")
        client = WorkerClient(worker, Deadlines(compile_s=60, run_s=60), files=faces)
        client.compile(model, folder, OPTIONS)
        loaded = client.load(folder, OPTIONS)
        client.stage([inputs, inputs])
        results.append((tree(folder), loaded.signature, client.predict(inputs)["y"].tobytes()))
        assert len(worker.paths) == 3
        assert {path.startswith(str(tmp_path / "far/")) for path in worker.paths} == {faces is files}
    assert results[0] == results[1]
    assert "receive_parts" in host.asked


def test_a_client_says_what_no_array_can_be(files: HostFiles) -> None:
    client = WorkerClient(InProcessWorker("fake", FAKE), Deadlines(compile_s=60, run_s=60), files=files)
    with pytest.raises(UnfitInput, match="'x' has dtype"):
        client.predict({"x": np.array(["text"])})


def test_a_source_that_a_worker_makes_is_named_as_it_is_here(files: HostFiles, host: Host, tmp_path: Path) -> None:
    client = WorkerClient(InProcessWorker("fake", FAKE), Deadlines(compile_s=60, run_s=60), files=files)
    source = client.yardstick(tmp_path / "network")
    assert Path(source.path).is_relative_to(tmp_path / "network")
    assert Path(source.path).is_file()


def test_a_model_that_was_compiled_is_found_in_the_artefact_here(
    files: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(op: str, *, artefact: str, **_: Any) -> Any:
        return {"placement": None, "model": {"kind": "onnx", "path": f"{artefact}/beside/net.onnx"}}

    worker = InProcessWorker("fake", FAKE)
    monkeypatch.setattr(worker, "request", answer)
    client = WorkerClient(worker, Deadlines(compile_s=60, run_s=60), files=files)
    (tmp_path / "artefact").mkdir()
    found = client.inspect(tmp_path / "artefact", OPTIONS).model
    assert found == Source("onnx", str(tmp_path / "artefact/beside/net.onnx"))


def test_a_worker_that_names_a_file_elsewhere_is_not_believed(
    files: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = InProcessWorker("fake", FAKE)
    monkeypatch.setattr(worker, "request", lambda *_, **__: {"kind": "fake", "path": "/etc/passwd"})
    with pytest.raises(WorkerError, match="reply to yardstick names /etc/passwd, which is not in"):
        WorkerClient(worker, Deadlines(compile_s=60, run_s=60), files=files).yardstick(tmp_path / "network")
