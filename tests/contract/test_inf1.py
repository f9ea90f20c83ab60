"""``inf1`` against the stand-in of tensorflow-neuron, with the last driver for it: it counts what a process did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.errors import CompileFailed, WorkerError
from pytest_accel.processes.client import WorkerClient
from pytest_accel.testing.contract import made_up
from pytest_accel.worker.accelerators.neuron.inf1 import Inf1
from tests.contract.neuron_family import NeuronContract
from tests.standins import neuron_host

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.worker.accelerator import Source

pytestmark = pytest.mark.slow  # its workers import TensorFlow


def inferences_by_core(machine: Path) -> list[int]:
    return [int(counter.read_text()) for counter in neuron_host.counters(machine)]


class TestInf1(NeuronContract):
    accelerator = Inf1
    chip = "inf1"
    cast = "bfloat16"

    def test_matmult_alone_is_cast_when_asked_for(self, client: WorkerClient, source: Source, tmp_path: Path) -> None:
        options = self.complete(precision="fp16", fp32_cast="matmult")
        client.compile(source, tmp_path, options)
        client.load(tmp_path, options)
        operators = client.placement()[0].operators
        cast = {name.rpartition("/")[2].rpartition("_")[0] for name, place in operators.items() if "float16" in place}
        kept = {name.rpartition("/")[2].rpartition("_")[0] for name, place in operators.items() if "float32" in place}
        assert cast - {""} == {"Conv2D", "depthwise"}
        assert "Relu6" in kept
        assert kept.isdisjoint(cast - {""})

    def test_copies_share_the_pieces_of_a_call(self, source: Source, tmp_path: Path, machine: Path) -> None:
        options = self.complete(batch_size=6, dynamic_batch=True, compiled_batch=2, data_parallel=3)
        with self.worker(tmp_path) as worker:
            copies = WorkerClient(worker, self.deadlines)
            copies.compile(source, tmp_path / "artefact", options)
            before = inferences_by_core(machine)
            copies.predict(made_up(copies.load(tmp_path / "artefact", options), rows=6))
            assert copies.placement()[0].on_device == 1.0
        counted = [after - earlier for after, earlier in zip(inferences_by_core(machine), before, strict=True)]
        assert sorted(counted) == [0, 1, 1, 1]

    def test_a_graph_of_several_neuron_operators_is_never_called_data_parallel(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STANDIN_MISBEHAVES", "refuses-pooling")
        options = self.complete(batch_size=6, dynamic_batch=True, compiled_batch=2, data_parallel=3)
        with self.worker(tmp_path) as worker:
            client = WorkerClient(worker, self.deadlines)
            client.compile(source, tmp_path / "artefact", options)
            with pytest.raises(CompileFailed, match="became 2 Neuron operators, and the runtime copies a model of one"):
                client.load(tmp_path / "artefact", options)
        with self.worker(tmp_path) as worker:
            one_copy = WorkerClient(worker, self.deadlines)
            loaded = one_copy.load(tmp_path / "artefact", {**options, "data_parallel": 1})
            one_copy.predict(made_up(loaded, rows=6))

    def test_groups_of_cores_run_side_by_side_and_are_free_with_the_end_of_their_worker(
        self, artefact: Path, tmp_path: Path
    ) -> None:
        options = self.complete(core_group=2)
        with self.worker(tmp_path) as late:
            waiting = WorkerClient(late, self.deadlines)
            with self.worker(tmp_path) as early:
                holding = WorkerClient(early, self.deadlines)
                inputs = made_up(holding.load(artefact, options), rows=1)
                expected = holding.predict(inputs)
                waiting.load(artefact, options)
                with pytest.raises(
                    WorkerError, match=r"DeviceFailed: .* no NeuronCore could be had: end the process that"
                ):
                    waiting.predict(inputs)
            self.assert_same(waiting.predict(inputs), expected)
