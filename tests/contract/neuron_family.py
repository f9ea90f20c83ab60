"""What the accelerators of the Neuron family have in common beyond the contract, on a made-up machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes import process
from pytest_accel.processes.client import WorkerClient
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from tests.standins import neuron_host

if TYPE_CHECKING:
    from pytest_accel.processes.client import Loaded
    from pytest_accel.processes.process import Worker

STANDINS = Path(neuron_host.__file__).parent


class NeuronContract(AcceleratorContract):
    chip: ClassVar[str]
    driver: ClassVar[str] = neuron_host.DRIVER
    #: The dtype that FP32 is cast to by default.
    cast: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory, forked_workers: None) -> Iterator[Path]:
        """The machine that the workers of this class believe to run on."""
        root = neuron_host.make(tmp_path_factory.mktemp("machine"), cls.chip, driver=cls.driver)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACCEL_HOST_ROOT", str(root))
            patch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
            patch.delenv("STANDIN_MISBEHAVES", raising=False)
            yield root

    def test_the_device_is_the_one_that_its_driver_tells_of(self, client: WorkerClient) -> None:
        found = client.probe()
        assert not isinstance(found, Missing)
        assert found.identity["neuroncores"] == neuron_host.CHIPS[self.chip][1]
        assert found.identity["instance_type"] == neuron_host.INSTANCES[self.chip]
        assert str(found.identity["serial"]).startswith("c0ffee")

    def worker(self, log_dir: Path) -> Worker:
        """A worker for one use: what it does is counted when it ends, if not before."""
        accelerator = f"{self.accelerator.__module__}:{self.accelerator.__name__}"
        return process.Worker(self.accelerator.name, accelerator, log_dir=log_dir)

    def test_every_call_is_counted_by_the_driver(self, artefact: Path, machine: Path, tmp_path: Path) -> None:
        before = neuron_host.inferences(machine)
        with self.worker(tmp_path) as worker:
            client = WorkerClient(worker, self.deadlines)
            loaded = client.load(artefact, self.complete())
            for seed in range(3):
                client.predict(made_up(loaded, rows=1, seed=seed))
            assert client.placement()[0].on_device == 1.0
            is_live = self.driver == neuron_host.LIVE_DRIVER
            assert client.executions_made() == (0 if is_live else 3), "what is proven has to be counted no more"
            assert neuron_host.inferences(machine) - before == (3 if is_live else 0)
        assert neuron_host.inferences(machine) - before == 3

    def test_all_operators_are_on_the_device_in_the_precision_asked_for(
        self, client: WorkerClient, loaded: Loaded
    ) -> None:
        placement, flops = client.placement()
        assert placement.precisions.keys() == {self.cast}
        assert set(placement.operators.values()) == {f"neuron:{self.cast}"}
        assert flops is not None
        assert 240e6 < flops < 260e6, "the yardstick's"

    def test_a_call_is_cut_into_compiled_batches(
        self, client: WorkerClient, source: Source, artefact: Path, tmp_path: Path, machine: Path
    ) -> None:
        options = self.complete(batch_size=5, dynamic_batch=True, compiled_batch=2)
        client.compile(source, tmp_path, options)
        whole = made_up(client.load(tmp_path, options), rows=5)
        before = neuron_host.inferences(machine)
        together = client.predict(whole)
        if self.driver == neuron_host.LIVE_DRIVER:
            assert neuron_host.inferences(machine) - before == 3, "two, two and one"
        flops_of_five = client.placement()[1]
        client.load(artefact, self.complete())
        flops_of_one = client.placement()[1]
        assert flops_of_five == pytest.approx(5 * (flops_of_one or 0.0))
        for row in range(5):
            alone = client.predict({name: array[row : row + 1] for name, array in whole.items()})
            for name, array in alone.items():
                np.testing.assert_allclose(array[0], together[name][row], rtol=1e-2, atol=1e-6)

    def test_the_cores_of_a_worker_stay_its_own(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        client.predict(made_up(loaded, rows=1))
        with pytest.raises(CompileFailed, match=r"NEURON_RT_VISIBLE_CORES=1 cannot be had.*load it in a fresh one"):
            client.load(artefact, self.complete(core_group=1))

    def test_a_signature_that_is_not_there_is_named(self, client: WorkerClient, source: Source, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="no signature 'classify'; it has 'serving_default'"):
            client.compile(source, tmp_path / "artefact", self.complete(signature="classify"))
