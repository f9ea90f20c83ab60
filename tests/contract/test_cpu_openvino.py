from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.openvino import CpuOpenVino
from pytest_accel.worker.hardware import processor
from tests.contract.compiling import CompilingContract, images, onnx

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.processes.client import WorkerClient

HAS_BF16 = processor.has_bf16()


class TestCpuOpenVino(CompilingContract):
    accelerator = CpuOpenVino

    @pytest.mark.skipif(not HAS_BF16, reason="this processor has no BF16 instructions")
    def test_bf16_convolves_in_bf16(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        assert self.placed(client, models, tmp_path, precision="bf16").operators["mix"] == "cpu:bfloat16"

    @pytest.mark.skipif(HAS_BF16, reason="this processor has BF16 instructions")
    def test_bf16_is_refused_where_it_would_not_be_bf16(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match="this processor has no BF16 instructions; use fp32 or int8"):
            client.compile(onnx(models, "convolution"), tmp_path, self.complete(precision="bf16"))

    def test_what_int8_leaves_stays_in_fp32(self, client: WorkerClient, source: Source, tmp_path: Path) -> None:
        self.compiled(client, source, tmp_path, images(2, side=128), precision="int8")
        assert client.placement()[0].precisions.keys() == {"int8", "float32"}, "BF16 only when asked for"

    def test_threads_and_streams_that_openvino_does_not_make_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        client.compile(onnx(models, "convolution"), tmp_path, self.complete())
        for fits in ({"threads": 1}, {"streams": 1}, {"hint": "throughput"}):
            assert client.load(tmp_path, self.complete(**fits))
        with pytest.raises(CompileFailed, match=r"threads=4096 is not possible here: OpenVINO has .*_THREADS \d+"):
            client.load(tmp_path, self.complete(threads=4096))

    def test_another_signature_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="'serving_default' only, not 'classify'"):
            client.compile(Source("saved_model", str(tmp_path)), tmp_path, self.complete(signature="classify"))

    def test_an_output_has_the_name_of_the_source_though_a_branch_gives_it_another(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        loaded = self.compiled(client, onnx(models, "branch_inside"), tmp_path)
        assert [output.name for output in loaded.signature.outputs] == ["y"]

    def test_weights_keep_their_precision_in_the_artefact(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        client.compile(onnx(models, "convolution"), tmp_path, self.complete(), calibration=images(1))
        weights = (tmp_path / "model.bin").stat().st_size
        assert weights >= 16 * 3 * 3 * 3 * 4, "16 x 3 x 3 x 3 in FP32"
