"""What ``gpu-torch`` asks of PyTorch's CUDA before anything runs; what runs is tested on a GPU."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.accelerator import CompileJob, Missing, Refused, Source
from pytest_accel.worker.accelerators.pytorch import gpu_torch
from pytest_accel.worker.accelerators.pytorch.gpu_torch import GpuTorch
from pytest_accel.worker.timing import side_by_side, single_calls

if TYPE_CHECKING:
    import numpy as np

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Tesla T4, as far as PyTorch tells; settings are put back."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    facts = SimpleNamespace(name="Tesla T4", uuid="5a1c3e70", major=7, minor=5, multi_processor_count=40)
    told = {
        "init": lambda: None,
        "get_device_properties": lambda _device: facts,
        "get_device_capability": lambda _device: (facts.major, facts.minor),
        "is_bf16_supported": lambda including_emulation=True: including_emulation or facts.major >= 8,
        "reset_peak_memory_stats": lambda: None,
    }
    for name, function in told.items():
        monkeypatch.setattr(torch.cuda, name, function)
    before = torch.get_float32_matmul_precision()
    yield facts
    torch.set_float32_matmul_precision(before)


def test_the_gpu_is_told_by_the_handle_that_pytorch_uses() -> None:
    found = GpuTorch().probe()
    assert not isinstance(found, Missing)
    assert found.device == "Tesla T4"
    assert found.identity == {
        "gpu": "Tesla T4",
        "gpu_uuid": "GPU-5a1c3e70",
        "compute_capability": "7.5",
        "sm_count": 40,
    }


def test_a_pytorch_without_cuda_is_told_from_one_that_cannot_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.cuda, "init", fail)
    missing = GpuTorch().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, "is too old (found version 11040)" in missing.reason) == ("no-driver", True)
    monkeypatch.setattr(torch.version, "cuda", None)
    missing = GpuTorch().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, missing.reason.partition(" was ")[2]) == ("no-sdk", "built without CUDA")


@pytest.mark.parametrize(("precision", "matmul", "convolution"), [("fp32", "highest", False), ("tf32", "high", True)])
def test_tf32_is_on_only_where_it_was_asked_for(
    cuda: SimpleNamespace, precision: str, matmul: str, convolution: bool
) -> None:
    cuda.major, cuda.minor = 9, 0
    GpuTorch().configure({"precision": precision})
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (matmul, convolution)


@pytest.mark.parametrize(
    ("precision", "why"), [("tf32", r"7\.5 and TF32 begins with 8\.0"), ("bf16", "this GPU has no BF16 instructions")]
)
def test_what_the_gpu_would_only_emulate_is_refused(precision: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        GpuTorch().configure({"precision": precision})


class Streams:
    """CUDA's streams: work is done when its stream has been waited for, or the whole device, for which others wait."""

    def __init__(self) -> None:
        self.own = threading.local()
        self.used: list[int] = []
        self.waits_for_all = 0
        self.streams: set[Stream] = set()
        self.most_busy = 0

    def stream(self, stream: Any) -> Any:
        """A block whose work goes to ``stream``."""
        return contextmanager(self._block)(stream)

    def _block(self, stream: Any) -> Iterator[None]:
        self.own.stream = stream
        yield
        self.own.stream = None

    def compute(self, _inputs: Any) -> list[Any]:
        """One call of a program, in the stream of its thread."""
        stream = getattr(self.own, "stream", None)
        assert stream is not None, "the default stream, in which one call waits for all others"
        assert not stream.busy, "two calls in one stream wait for each other"
        stream.busy = True
        self.used.append(id(stream))
        self.streams.add(stream)
        self.most_busy = max(self.most_busy, sum(each.busy for each in self.streams))
        time.sleep(0.002)
        return [torch.zeros(1)]

    def arrays(self, outputs: list[Any]) -> dict[str, np.ndarray]:
        return {"y": outputs[0].numpy()}

    def synchronize(self) -> None:
        self.waits_for_all += 1


class Stream:
    def __init__(self) -> None:
        self.busy = False

    def synchronize(self) -> None:
        self.busy = False


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    streams = Streams()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", streams.stream)
    monkeypatch.setattr(torch.cuda, "synchronize", streams.synchronize)
    monkeypatch.setattr(GpuTorch, "device", "cpu")
    monkeypatch.setattr(gpu_torch, "_page_locked", torch.empty_like)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    return streams


def test_calls_side_by_side_have_streams_of_their_own_and_wait_for_no_other(streams: Streams) -> None:
    accelerator = GpuTorch()
    accelerator._options = {"precision": "fp32"}
    accelerator._program = streams  # type: ignore[assignment]
    for _ in range(2):
        side_by_side.multi_stream(accelerator, [[torch.ones(1)]], 30, 0, concurrency=3)
    assert len(streams.used) == 2 * (30 + 3), "and one of each lane that is not timed"
    assert len(set(streams.used)) <= 3, "and the next measurement has the same ones, with the memory that they hold"
    assert streams.waits_for_all == 0


def test_offline_has_a_call_in_a_second_stream_while_it_waits_for_the_first(streams: Streams) -> None:
    accelerator = GpuTorch()
    accelerator._options = {"precision": "fp32"}
    accelerator._program = streams  # type: ignore[assignment]
    single_calls.offline(accelerator, [[torch.ones(1)]], 6, 0)
    first, second = streams.used[:2]
    assert first != second
    assert len(streams.used) == 2 + 6
    assert set(streams.used) == {first, second}
    assert streams.most_busy == 2


def test_a_call_that_fails_leaves_its_stream_to_the_next(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = GpuTorch()
    accelerator._options = {"precision": "fp32"}
    accelerator._program = streams  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(streams, "compute", lambda _inputs: torch.ones(2) @ torch.ones(3))
        with pytest.raises(Refused, match="PyTorch cannot run this model: inconsistent tensor size"):
            accelerator.infer([torch.ones(1)])
    accelerator.infer([torch.ones(1)])
    assert len(list(accelerator._lanes)) == 1


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_a_compiler_that_makes_cuda_graphs_runs_one_call_at_a_time(mode: str) -> None:
    options = {name: option.default for name, option in GpuTorch.options().items()}
    assert GpuTorch.impossible({**options, "compile": mode}) is None
    why = GpuTorch.impossible({**options, "compile": mode, "load_shape": "offline"})
    assert why is not None
    assert why.startswith(f"compile={mode!r} makes CUDA graphs, of which PyTorch runs one at a time")


def test_calls_begin_when_the_weights_are_there(streams: Streams, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), tmp_path / "model.pt2")
    GpuTorch().load(str(tmp_path), {"precision": "fp32", "batch_size": 1, "compile": "none"})
    assert streams.waits_for_all == 1


def test_compiling_reads_the_program_once(streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, artefact = tmp_path / "source.pt2", tmp_path / "artefact"
    artefact.mkdir()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), source)
    read: list[str] = []
    load = torch.export.load

    def counted(path: str) -> Any:
        read.append(path)
        return load(path)

    monkeypatch.setattr(torch.export, "load", counted)
    options = {"precision": "fp32", "batch_size": 1, "compile": "none"}
    GpuTorch().compile_job(
        CompileJob(Source("torch", str(source)), str(artefact), options, lambda _share, _doing: None)
    )
    assert read == [str(source)], "which its errors name"
    assert (artefact / "model.pt2").read_bytes() == source.read_bytes()


def test_only_what_the_tensor_cores_compute_is_in_tf32() -> None:
    accelerator = GpuTorch()
    accelerator._options = {"precision": "tf32"}
    assert accelerator._in_tf32("conv2d", "float32")
    assert not accelerator._in_tf32("relu", "float32")
    assert not accelerator._in_tf32("conv2d", "float64")
    accelerator._options = {"precision": "fp32"}
    assert not accelerator._in_tf32("conv2d", "float32")


def test_work_ahead_is_in_the_stream_of_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel that only waits goes into the stream that the next call takes."""
    used: list[Any] = []
    stream = SimpleNamespace(synchronize=lambda: used.append("synchronised"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)

    @contextmanager
    def entered(chosen: Any) -> Iterator[None]:
        used.append(chosen)
        yield

    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "_sleep", used.append)
    accelerator = GpuTorch()
    accelerator.work_ahead(2)
    assert used == [stream, 3000]
    accelerator.work_ahead(1, wait=True)
    assert used[2:] == [stream, 1500, "synchronised"]
    assert accelerator._lanes.take().stream is stream, "which the next call takes"
    assert len(list(accelerator._lanes)) == 1


def test_the_loop_beside_it_runs_on_the_gpu() -> None:
    tool = GpuTorch.vendor_tool("artefact", "inputs", 40, {})
    assert tool is not None
    assert list(tool.arguments[1:]) == ["torch", "artefact/model.pt2", "inputs", "40", "cuda"]
