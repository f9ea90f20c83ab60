"""``inf2`` with PyTorch's programs, against the stand-in of torch-neuronx, with the PyTorch that is installed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput, WorkerError
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.fork_server import ForkServer
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.neuron.inf2_trn1 import Inf2
from pytest_accel.worker.accelerators.pytorch.cpu_torch import CpuTorch
from pytest_accel.worker.formats import yardstick
from tests.contract.preloaded import preloaded
from tests.standins import neuron_host

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.processes.client import Loaded
    from pytest_accel.worker.accelerator import Arrays

pytestmark = pytest.mark.skipif(
    not any(distributions(name="torch")), reason="needs pip install 'pytest-accel[cpu-torch]'"
)
STANDINS = Path(neuron_host.__file__).parent
INF2 = f"{Inf2.__module__}:{Inf2.__name__}"


class TestInf2OnTorch(AcceleratorContract):
    accelerator = Inf2
    batch_sizes: ClassVar[tuple[int, ...]] = (1, 3)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        """A machine with two chips, and both SDKs of them: the worker of this class keeps a core."""
        driver = neuron_host.LIVE_DRIVER
        root = neuron_host.make(tmp_path_factory.mktemp("machine"), "inf2", devices=2, driver=driver)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACCEL_HOST_ROOT", str(root))
            patch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
            patch.delenv("STANDIN_MISBEHAVES", raising=False)
            yield root

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Source:
        return yardstick.write_torch(str(tmp_path_factory.mktemp("source")))

    @pytest.fixture(scope="class")
    @classmethod
    def fork_server(cls, machine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
        """A process that has imported PyTorch: only the worker of the class does it by itself."""
        with preloaded(CpuTorch, tmp_path_factory.mktemp("forks")) as server:
            yield server

    @pytest.fixture
    def start(self, fork_server: ForkServer, tmp_path: Path) -> Callable[[], Worker]:
        """What starts a worker in the environment that a test has made."""
        return functools.partial(Worker, "inf2", INF2, log_dir=tmp_path, fork_server=fork_server)

    def test_both_sdks_have_their_versions(self, client: WorkerClient) -> None:
        versions = client.versions()
        assert versions["torch-neuronx"] == "2.8.0.2.10.13553"
        assert versions["neuron-driver"] == neuron_host.LIVE_DRIVER

    def test_all_of_it_is_on_the_device_and_counted(self, client: WorkerClient, loaded: Loaded, machine: Path) -> None:
        before = neuron_host.inferences(machine)
        for seed in range(3):
            client.predict(made_up(loaded, rows=1, seed=seed))
        assert neuron_host.inferences(machine) - before == 3
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert set(placement.operators.values()) == {"neuron:float32"}
        assert flops is not None
        assert 240e6 < flops < 260e6, "the yardstick's"

    def test_matmult_alone_is_cast_when_asked_for(
        self, client: WorkerClient, source: Source, artefact: Path, tmp_path: Path
    ) -> None:
        inputs = made_up(client.load(artefact, self.complete()), rows=1)
        (exact,) = client.predict(inputs).values()
        options = self.complete(precision="bf16")
        client.compile(source, tmp_path, options)
        client.load(tmp_path, options)
        (cast,) = client.predict(inputs).values()
        precisions = client.placement()[0].precisions
        assert precisions.keys() == {"bfloat16", "float32"}
        assert precisions["bfloat16"] == 20, "the convolutions"
        assert 0 < np.abs(cast - exact).max() < 0.05

    def test_copies_share_the_pieces_of_a_call(
        self, source: Source, tmp_path: Path, machine: Path, start: Callable[[], Worker]
    ) -> None:
        options = self.complete(batch_size=4, dynamic_batch=True, compiled_batch=1, neuroncores=2)
        with start() as worker:
            copies = WorkerClient(worker, self.deadlines)
            copies.compile(source, tmp_path / "artefact", options)
            inputs = made_up(copies.load(tmp_path / "artefact", options), rows=4)
            before = neuron_host.inferences(machine)
            (together,) = copies.predict(inputs).values()
            assert neuron_host.inferences(machine) - before == 4
            assert len(together) == 4
            assert copies.placement()[1] == pytest.approx(4 * 251.8e6, rel=0.01)

    def test_compiling_holds_no_core(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Worker]
    ) -> None:
        """The worker that compiles lives on while others measure."""
        own = neuron_host.make(tmp_path / "machine", "inf2")
        monkeypatch.setenv("ACCEL_HOST_ROOT", str(own))
        options = self.complete()
        with start() as compiles, start() as measures:
            WorkerClient(compiles, self.deadlines).compile(source, tmp_path / "artefact", options)
            assert neuron_host.held_cores(own) == []
            client = WorkerClient(measures, self.deadlines)
            client.predict(made_up(client.load(tmp_path / "artefact", options), rows=1))
            assert len(neuron_host.held_cores(own)) == 1
        assert neuron_host.held_cores(own) == []

    def test_another_batch_than_the_compiled_one_is_refused(self, client: WorkerClient, loaded: Loaded) -> None:
        with pytest.raises(UnfitInput, match=r"takes float32\[1, 3, 128, 128\], got float32\[2, 3, 128, 128\]"):
            client.predict(made_up(loaded, rows=1) | {"image": np.ones((2, 3, 128, 128), np.float32)})

    def test_a_file_that_is_no_program_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "damaged.pt2").write_bytes(b"not an archive")
        with pytest.raises(CompileFailed, match=r"damaged\.pt2 is no exported program"):
            client.compile(Source("torch", str(tmp_path / "damaged.pt2")), tmp_path / "artefact", self.complete())

    @pytest.mark.parametrize(
        ("habit", "message"),
        [
            ("refuses-operator", "there is no operator 'aten::softmax': replace it in the model"),
            ("no-compiler", "nothing was compiled, and all of it would run on the host"),
            ("fails-to-compile", "the compiler refused these options for this model: try another batch_size"),
        ],
    )
    def test_what_does_not_compile_is_refused_with_what_to_do(
        self,
        source: Source,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        start: Callable[[], Worker],
        habit: str,
        message: str,
    ) -> None:
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)
        with start() as worker, pytest.raises(CompileFailed, match=message):
            WorkerClient(worker, self.deadlines).compile(source, tmp_path / "artefact", self.complete())

    @pytest.mark.parametrize(
        ("habit", "message"),
        [
            ("falls-back", "NotExecuted: the driver counted 0 inferences, and 30 calls are 30 at least, so"),
            ("lost-device", "DeviceFailed: the Neuron runtime failed: the device is lost: look in dmesg"),
            ("out-of-memory", "DeviceFailed: the Neuron runtime failed: memory of the device does not suffice"),
            ("no-cores", "DeviceFailed: the Neuron runtime failed: no NeuronCore could be had: end the process"),
        ],
    )
    def test_a_runtime_that_fails_is_told_with_what_to_do(
        self, artefact: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Worker], habit: str, message: str
    ) -> None:
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)
        with start() as worker:
            client = WorkerClient(worker, self.deadlines)
            with pytest.raises(WorkerError, match=message):
                place_after(client, made_up(client.load(artefact, self.complete()), rows=1), calls=30)

    @pytest.mark.parametrize("habit", ["nan", "casts", "returns-early"])
    def test_a_runtime_that_computes_something_else_answers_otherwise(
        self,
        client: WorkerClient,
        artefact: Path,
        monkeypatch: pytest.MonkeyPatch,
        start: Callable[[], Worker],
        habit: str,
    ) -> None:
        inputs = made_up(client.load(artefact, self.complete()), rows=1)
        (expected,) = client.predict(inputs).values()
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)
        with start() as worker:
            spoilt = WorkerClient(worker, self.deadlines)
            spoilt.load(artefact, self.complete())
            (answer,) = spoilt.predict(inputs).values()
        if habit == "nan":
            assert np.isnan(answer).any()
        else:
            assert np.abs(answer - expected).max() > 0.02 * expected.max()


def place_after(client: WorkerClient, inputs: Arrays, *, calls: int) -> None:
    """Make some calls and ask where they ran."""
    for _ in range(calls):
        client.predict(inputs)
    client.placement()


def test_with_torch_neuronx_alone_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = neuron_host.make(tmp_path / "machine", "inf2")
    site = tmp_path / "site"
    neuron_host.write(site / "tensorflow", {"__init__.py": "raise ImportError('no TensorFlow here')"})
    monkeypatch.setenv("ACCEL_HOST_ROOT", str(root))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(STANDINS), os.environ.get("PYTHONPATH", "")]))
    with Worker("inf2", INF2, log_dir=tmp_path) as worker:
        client = WorkerClient(worker, AcceleratorContract.deadlines)
        assert not isinstance(client.probe(), Missing)
        assert "tensorflow" not in client.versions()
        source = client.yardstick(tmp_path / "source")
        assert source.kind == "torch"
        options: dict[str, OptionValue] = TestInf2OnTorch.complete()
        client.compile(source, tmp_path / "artefact", options)
        loaded = client.load(tmp_path / "artefact", options)
        assert client.predict(made_up(loaded, rows=1)).keys() == {"scores"}
