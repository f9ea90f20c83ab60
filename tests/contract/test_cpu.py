from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.tensorflow.cpu import Cpu
from pytest_accel.worker.hardware import processor
from tests.contract.preloaded import has_imported, preloaded

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.processes.client import Loaded


class TestCpu(AcceleratorContract):
    accelerator = Cpu

    def test_the_signatures_there_are_are_named(self, client: WorkerClient, artefact: Path, source: Source) -> None:
        options = self.complete(signature="classify")
        with pytest.raises(CompileFailed, match=r"no signature 'classify'; it has 'serving_default'"):
            client.load(artefact, options)

    @pytest.mark.skipif(not processor.has_bf16(), reason="this processor has no BF16 instructions")
    def test_bf16_is_bf16_and_can_be_left_again(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        answers, precisions = {}, {}
        for precision in ("fp32", "bf16", "fp32 again"):
            client.load(artefact, self.complete(precision=precision[:4]))
            answers[precision] = next(iter(client.predict(inputs).values()))
            precisions[precision] = client.placement()[0].precisions
        assert "bfloat16" in precisions["bf16"]
        assert precisions["fp32"] == precisions["fp32 again"]
        assert precisions["fp32"].keys() == {"float32"}
        np.testing.assert_array_equal(answers["fp32"], answers["fp32 again"])
        error = np.linalg.norm(answers["bf16"] - answers["fp32"]) / np.linalg.norm(answers["fp32"])
        assert 1e-5 < error < 0.1

    @pytest.mark.skipif(processor.has_bf16(), reason="this processor has BF16 instructions")
    def test_bf16_is_refused_where_it_would_not_be_bf16(self, client: WorkerClient, artefact: Path) -> None:
        with pytest.raises(CompileFailed, match="this processor has no BF16 instructions; use fp32"):
            client.load(artefact, self.complete(precision="bf16"))

    def test_a_folder_that_is_no_saved_model_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "saved").mkdir()
        with pytest.raises(CompileFailed, match=r"saved is not a SavedModel: it holds no saved_model\.pb"):
            client.compile(Source("saved_model", str(tmp_path / "saved")), tmp_path / "artefact", self.complete())

    def test_a_damaged_saved_model_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "saved").mkdir()
        (tmp_path / "saved" / "saved_model.pb").write_bytes(b"not a protocol buffer")
        with pytest.raises(CompileFailed, match="is not a SavedModel"):
            client.compile(Source("saved_model", str(tmp_path / "saved")), tmp_path / "artefact", self.complete())

    def test_a_damaged_keras_file_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "model.keras").write_bytes(b"not a zip")
        with pytest.raises(CompileFailed, match=r"model\.keras: Keras cannot load it"):
            client.compile(Source("keras", str(tmp_path / "model.keras")), tmp_path / "artefact", self.complete())

    def test_threads_need_a_process_of_their_own(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        client.predict(made_up(loaded, rows=1))
        with pytest.raises(CompileFailed, match="load it in a fresh one"):
            client.load(artefact, self.complete(threads=1))

    def test_the_precisions_of_the_graph_itself_are_known(self, client: WorkerClient, artefact: Path) -> None:
        assert client.graph_precisions(artefact, self.complete()) == ("float32",)

    def test_operators_have_their_times_as_tensorflow_has_fused_them(
        self, client: WorkerClient, loaded: Loaded
    ) -> None:
        client.stage([made_up(loaded, rows=1)])
        times = client.operator_times(4)
        assert times is not None
        placed = {name.rpartition("StatefulPartitionedCall/")[2] for name in client.placement()[0].operators}
        known = [time for time in times if time.name in placed]
        assert sum(time.ns for time in known) > 0.5 * sum(time.ns for time in times)
        kinds = {time.kind.lstrip("_").removeprefix("MklNative") for time in known}  # oneDNN's kernels have its mark
        assert kinds & {"Conv2D", "FusedConv2D"}

    def test_the_yardstick_is_counted_and_runs_in_fp32(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert placement.precisions.keys() == {"float32"}
        found = client.probe()
        assert not isinstance(found, Missing)
        # By hand: 2 x height x width x kernel x channels in x channels out, over all 20 convolutions, and the rest.
        assert flops == pytest.approx(2 * YARDSTICK_MULTIPLY_ADDS, rel=0.03)


@pytest.mark.slow
def test_what_tensorflow_generates_goes_with_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybodys, logs = tmp_path / "everybody's", tmp_path / "logs"
    everybodys.mkdir()
    monkeypatch.setenv("TMPDIR", str(everybodys))
    with Worker("cpu", f"{Cpu.__module__}:{Cpu.__qualname__}", log_dir=logs) as worker:
        options = TestCpu.complete()
        client = WorkerClient(worker, TestCpu.deadlines)
        client.compile(client.yardstick(tmp_path / "source"), tmp_path / "artefact", options)
        client.load(tmp_path / "artefact", options)
        assert list(logs.rglob("__autograph_generated_file*")) != []
    assert list(logs.iterdir()) == []
    assert list(everybodys.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_what_is_forked_has_imported_tensorflow_and_no_thread_is_lost(tmp_path: Path) -> None:
    with preloaded(Cpu, tmp_path) as server:
        assert has_imported(server, "tensorflow.python.eager.context")


def yardstick_multiply_adds() -> int:
    side, channels = 64, 32
    total = side * side * 9 * 3 * channels
    for out_channels, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
    ):
        side //= stride
        total += side * side * channels * (9 + out_channels)
        channels = out_channels
    return total + channels * 100


YARDSTICK_MULTIPLY_ADDS = yardstick_multiply_adds()
