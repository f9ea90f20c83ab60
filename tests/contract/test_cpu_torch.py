from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.pytorch.cpu_torch import CpuTorch
from pytest_accel.worker.hardware import processor
from tests.contract.preloaded import has_imported, preloaded
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS

if TYPE_CHECKING:
    from pytest_accel.processes.client import Loaded

ROOT = Path(__file__).parents[2]


class TestCpuTorch(AcceleratorContract):
    accelerator = CpuTorch

    @pytest.fixture(scope="class")
    @classmethod
    def programs(cls, client: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of small programs; the accelerator is known to be there, and PyTorch with it."""
        from tests.models import torch_recipes

        folder = tmp_path_factory.mktemp("programs")
        torch_recipes.write(folder)
        return folder

    def test_fp32_is_fp32_alone_and_counted(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert set(placement.operators.values()) == {"cpu:float32"}
        assert sum(name.startswith("conv2d") for name in placement.operators) == 20
        assert flops == 2 * YARDSTICK_MULTIPLY_ADDS

    def test_operators_have_their_times_under_the_names_of_the_program(
        self, client: WorkerClient, loaded: Loaded
    ) -> None:
        client.stage([made_up(loaded, rows=1)])
        times = client.operator_times(4)
        assert times is not None
        convolutions = {time.name for time in times if time.kind == "conv2d" and time.ns > 0}
        assert convolutions == {name for name in client.placement()[0].operators if name.startswith("conv2d")}

    def test_the_precisions_of_the_program_itself_are_known(self, client: WorkerClient, artefact: Path) -> None:
        assert client.graph_precisions(artefact, self.complete()) == ("float32",)

    def test_it_computes_the_yardstick_that_the_others_have(
        self, client: WorkerClient, loaded: Loaded, tmp_path: Path
    ) -> None:
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'pytest-accel[cpu-ort]'")
        assert onnxruntime
        image = made_up(loaded, rows=1)
        (scores,) = client.predict(image).values()
        np.save(tmp_path / "image.npy", image["image"])
        script = WITH_ONNX_RUNTIME.format(folder=tmp_path)
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
        np.testing.assert_allclose(scores, np.load(tmp_path / "scores.npy"), rtol=1e-3, atol=1e-6)

    @pytest.mark.skipif(not processor.has_bf16(), reason="this processor has no BF16 instructions")
    def test_bf16_is_bf16_and_can_be_left_again(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        answers, precisions = [], []
        for precision in ("fp32", "bf16", "fp32"):
            client.load(artefact, self.complete(precision=precision))
            answers.append(next(iter(client.predict(inputs).values())))
            precisions.append(client.placement()[0].precisions)
        assert precisions[1]["bfloat16"] >= 20
        assert precisions[0] == precisions[2]
        np.testing.assert_array_equal(answers[0], answers[2])
        error = np.linalg.norm(answers[1] - answers[0]) / np.linalg.norm(answers[0])
        assert 1e-5 < error < 0.1

    def test_it_runs_with_the_threads_asked_for(self, client: WorkerClient, artefact: Path) -> None:
        worker, threads = psutil.Process(client.worker.pid), {}
        for asked in (1, 5):
            loaded = client.load(artefact, self.complete(threads=asked))
            client.predict(made_up(loaded, rows=1))
            threads[asked] = worker.num_threads()
        assert threads[5] - threads[1] >= 2

    def test_inputs_and_outputs_have_the_names_that_the_module_gives(
        self, client: WorkerClient, programs: Path
    ) -> None:
        signature = self.load_program(client, programs, "two_inputs").signature
        assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [
            ("left", "float32", (None, 4)),
            ("right", "int64", (None,)),
        ]
        assert [(spec.name, spec.dtype) for spec in signature.outputs] == [
            ("output_0", "float32"),
            ("output_1", "int64"),
        ]
        answers = client.predict({"left": np.ones((1, 4), np.float32), "right": np.array([3])})
        np.testing.assert_array_equal(answers["output_0"], np.full((1, 4), 4, np.float32))
        assert answers["output_1"].tolist() == [6]

    def test_a_program_for_another_batch_is_refused(self, client: WorkerClient, programs: Path) -> None:
        with pytest.raises(CompileFailed, match="'image' was exported for batches of 8: ask for batch_size=8"):
            self.load_program(client, programs, "fixed_batch")
        assert self.load_program(client, programs, "fixed_batch", batch_size=8).signature.inputs[0].shape == (8, 3)

    def test_a_file_that_is_no_program_is_refused_with_what_to_do(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "damaged.pt2").write_bytes(b"not an archive")
        with pytest.raises(
            CompileFailed, match=r"damaged\.pt2 is no exported program: make one with torch\.export\.save"
        ):
            client.compile(Source("torch", str(tmp_path / "damaged.pt2")), tmp_path / "artefact", self.complete())

    def test_values_that_an_operator_cannot_take_are_refused(self, client: WorkerClient, programs: Path) -> None:
        self.load_program(client, programs, "lookup")
        with pytest.raises(UnfitInput, match=r"PyTorch cannot run this model: .*index out of range"):
            client.predict({"index": np.array([99])})
        assert client.predict({"index": np.array([1])})

    @pytest.mark.slow
    def test_a_compiled_program_has_no_operators_of_its_own(self, client: WorkerClient, programs: Path) -> None:
        self.load_program(client, programs, "two_inputs")
        client.load(programs / "two_inputs", self.complete(compile="default"))
        client.stage([{"left": np.ones((1, 4), np.float32), "right": np.array([3])}])
        assert client.operator_times(4) is None

    @pytest.mark.slow
    def test_a_compiled_program_answers_the_same_and_is_compiled_while_it_is_loaded(
        self, client: WorkerClient, programs: Path
    ) -> None:
        inputs = {"left": np.ones((1, 4), np.float32), "right": np.array([3])}
        self.load_program(client, programs, "two_inputs")
        expected = client.predict(inputs)
        compiled = client.load(programs / "two_inputs", self.complete(compile="default"))
        client.stage([inputs])
        warm = client.warm_up(min_calls=1, min_s=0, max_s=1, window=1)
        assert warm.first_inference_ns < 1e9 * compiled.load_s / 2
        self.assert_same(client.predict(inputs), expected)

    @pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
    def test_what_is_forked_has_imported_pytorch_and_computes_with_all_its_threads(
        self, client: WorkerClient, artefact: Path, loaded: Loaded, tmp_path: Path
    ) -> None:
        inputs = made_up(loaded, rows=1)
        expected = client.predict(inputs)
        reference = f"{CpuTorch.__module__}:{CpuTorch.__name__}"
        with preloaded(CpuTorch, tmp_path) as server:
            assert has_imported(server, "torch.export._trace", "torch._export.serde.serialize")
            with Worker("cpu-torch", reference, log_dir=tmp_path, fork_server=server) as worker:
                forked, threads = WorkerClient(worker, self.deadlines), psutil.Process(worker.pid).num_threads()
                forked.load(artefact, self.complete(threads=5))
                forked.predict(inputs)
                assert psutil.Process(worker.pid).num_threads() >= threads + 4
                forked.load(artefact, self.complete())
                self.assert_same(forked.predict(inputs), expected)

    def load_program(self, client: WorkerClient, programs: Path, name: str, **options: int) -> Loaded:
        folder = programs / name
        client.compile(Source("torch", str(programs / f"{name}.pt2")), folder, self.complete(**options))
        return client.load(folder, self.complete(**options))


WITH_ONNX_RUNTIME = """
import numpy, onnxruntime
from pytest_accel.worker.formats import yardstick
path = yardstick.write_onnx("{folder}").path
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(scores,) = session.run(None, {{"image": numpy.load("{folder}/image.npy")}})
numpy.save("{folder}/scores.npy", scores)
"""
