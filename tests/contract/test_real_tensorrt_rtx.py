"""NVIDIA's own compiler, TensorRT for RTX, builds the suite's models for GPUs that are not here.

Skipped where the extra ``gpu-trt-rtx`` is not installed. ResNet-50 is slow: ``pytest tests/contract -m slow``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, DeadlineExceeded
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.worker.accelerator import Missing, Source, Target
from pytest_accel.worker.accelerators.tensorrt.gpu_trt_rtx import GpuTrtRtx
from pytest_accel.worker.hardware import device_files
from tests.contract.building_engines import BuildsEngines, HasNoNonZero
from tests.contract.compiling import CONVOLUTION_FLOPS, ROOT, images, onnx
from tests.contract.surface import lacking
from tests.contract.test_real_tensorrt import STANDINS, public_names, surface_of
from tests.models import onnx_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.facts.records import Placement
    from pytest_accel.worker.accelerator import Arrays
    from tests.models.zoo import Examples, Zoo

if not any(distributions(name="tensorrt-rtx-cu12-bindings")):
    pytest.skip("needs pip install 'pytest-accel[gpu-trt-rtx]'", allow_module_level=True)

REFERENCE = f"{GpuTrtRtx.__module__}:GpuTrtRtx"
#: What an operator computes in where each precision is asked for.
OBSERVED = {"fp32": "float32", "tf32": "unknown", "fp16": "float16", "bf16": "bfloat16", "fp8": "fp8", "int8": "int8"}


def complete(**changes: OptionValue) -> dict[str, OptionValue]:
    """Every option with its value."""
    defaults = {name: option.default for name, option in GpuTrtRtx.options().items()}
    return {**defaults, "target": "sm89", **changes}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    """One worker, which has no GPU."""
    with Worker("gpu-trt-rtx", REFERENCE, log_dir=tmp_path_factory.mktemp("log")) as worker:
        yield WorkerClient(worker, Deadlines(compile_s=600, run_s=60))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small ONNX models."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
    onnx_shapes.attention(folder / "attention.onnx")
    onnx_shapes.two_ends(folder / "two_ends.onnx")
    return folder


def built(
    client: WorkerClient, source: Source, folder: Path, calibration: list[Arrays] | None = None, **options: OptionValue
) -> tuple[Placement, float]:
    """What the compiler says of the layers, and the size of the engine in MB."""
    client.compile(source, folder, complete(**options), calibration=calibration or [])
    placement = client.inspect(folder, complete(**options)).placement
    assert placement is not None
    assert placement.on_device == 1.0
    return placement, (folder / "model.engine").stat().st_size / 1e6


class TestBuilding(BuildsEngines, HasNoNonZero):
    complete: ClassVar[Callable[..., dict[str, OptionValue]]] = staticmethod(complete)

    @pytest.mark.parametrize("precision", OBSERVED)
    def test_every_precision_is_the_one_that_convolutions_have(
        self, client: WorkerClient, models: Path, tmp_path: Path, precision: str
    ) -> None:
        placement, _ = built(client, onnx(models, "convolution"), tmp_path, images(4), precision=precision)
        names = "convolve + rectify" if precision not in ("int8", "fp8") else "convolve"
        assert placement.operators[names] == placement.operators["mix"] == f"gpu:{OBSERVED[precision]}"

    def test_fp32_is_fp32_alone(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement, _ = built(client, onnx(models, "convolution"), tmp_path)
        assert placement.precisions == {"float32": 4}

    @pytest.mark.parametrize(
        ("precision", "target", "words"),
        [
            ("bf16", "sm75", r"a GPU of sm75 does not compute in this precision: .*HW-specific datatypes: b16"),
            ("fp8", "sm86", r"a GPU of sm86 does not compute in this precision: .*HW-specific datatypes: fp8_e4m3"),
        ],
    )
    def test_a_precision_that_the_gpu_does_not_have_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path, precision: str, target: str, words: str
    ) -> None:
        with pytest.raises(CompileFailed, match=words):
            built(client, onnx(models, "two_ends"), tmp_path, two_ends(), precision=precision, target=target)

    def test_a_product_in_fp32_is_refused_for_turing_in_nvidias_words(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match=r"no kernel of 'classify' for Turing \(SM75\) \(FP32 GEMM is not supp"):
            built(client, onnx(models, "two_ends"), tmp_path, target="sm75")
        built(client, onnx(models, "two_ends"), tmp_path / "half", target="sm75", precision="fp16")

    @pytest.mark.parametrize("precision", OBSERVED)
    def test_attention_takes_int64(self, client: WorkerClient, models: Path, tmp_path: Path, precision: str) -> None:
        placement, _ = built(
            client, onnx(models, "attention"), tmp_path, attention(), precision=precision, batch_size=2
        )
        assert f"gpu:{OBSERVED[precision]}" in (placement.operators.get("project_key") or str(placement.operators))
        assert json.loads((tmp_path / "facts.json").read_text())["int64_inputs"] == ["ids", "mask"]

    @pytest.mark.parametrize("precision", OBSERVED)
    def test_two_inputs_and_outputs(self, client: WorkerClient, models: Path, tmp_path: Path, precision: str) -> None:
        placement, _ = built(client, onnx(models, "two_ends"), tmp_path, two_ends(), precision=precision)
        assert placement.operators["classify"] == f"gpu:{OBSERVED[precision]}"

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_weights_may_lie_in_a_file_beside_the_model(
        self, client: WorkerClient, models: Path, tmp_path: Path, precision: str
    ) -> None:
        together, apart = (
            built(client, onnx(models, name), tmp_path / name, images(2), precision=precision)
            for name in ("convolution", "outside")
        )
        assert together[0] == apart[0]
        assert together[1] == pytest.approx(apart[1], rel=0.01)

    @pytest.mark.parametrize(("operator", "model"), [("Shiny", "foreign_operator"), ("SampleOp", "only_onnx_runtime")])
    def test_operators_of_others_are_refused_by_name(
        self, client: WorkerClient, models: Path, tmp_path: Path, operator: str, model: str
    ) -> None:
        with pytest.raises(CompileFailed, match=f"there is no operator '{operator}': replace it"):
            client.compile(onnx(models, model), tmp_path / "artefact", complete())

    def test_the_builders_own_options_are_taken(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        values: dict[type, bool | int] = {bool: True, int: 4096}
        entries = GpuTrtRtx.options()["extra"].entries
        extra = {name: entry.choices[-1] if entry.choices else values[entry.type] for name, entry in entries.items()}
        placement, _ = built(client, onnx(models, "convolution"), tmp_path, extra=extra)
        assert placement.precisions == {"float32": 4}

    def test_an_operator_that_nvidia_does_not_have_is_refused_by_name(
        self, client: WorkerClient, tmp_path: Path
    ) -> None:
        path = onnx_shapes.write(tmp_path / "m.onnx", [("Det", ["x"], ["y"], {})], {"x": ["N", 3, 3]}, {"y": ["N"]})
        with pytest.raises(CompileFailed, match="there is no operator 'Det': replace it in the model"):
            client.compile(Source("onnx", str(path)), tmp_path / "artefact", complete())

    def test_one_engine_is_built_for_the_batches_of_a_profile(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        for precision in ("fp32", "int8"):
            options: dict[str, OptionValue] = {"precision": precision, "profile": "1:2:4", "batch_size": 2}
            calibration = [{"image": np.concatenate([image["image"]] * 2)} for image in images(2)]
            placement, _ = built(client, onnx(models, "convolution"), tmp_path / precision, calibration, **options)
            assert placement.operators["mix"] == f"gpu:{OBSERVED[precision]}"
            assert json.loads((tmp_path / precision / "facts.json").read_text())["flops"] == 2 * CONVOLUTION_FLOPS

    def test_quantised_already_it_is_int8_and_is_not_quantised_again(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement, _ = built(client, onnx(models, "already_quantised"), tmp_path)
        assert placement.operators["mix + restore_image + restore_kernel"] == "gpu:int8"
        assert client.inspect(tmp_path, complete()).model is not None
        for precision in ("int8", "fp8"):
            with pytest.raises(CompileFailed, match=f"is quantised already, .*: leave precision='{precision}' out"):
                built(client, onnx(models, "already_quantised"), tmp_path, images(1), precision=precision)

    @pytest.mark.parametrize("precision", ["fp16", "int8", "fp8"])
    def test_onnx_runtime_predicts_the_answers(
        self, client: WorkerClient, models: Path, tmp_path: Path, precision: str
    ) -> None:
        import onnxruntime

        built(client, onnx(models, "two_ends"), tmp_path, two_ends(), precision=precision)
        model = client.inspect(tmp_path, complete(precision=precision)).model
        assert model is not None
        inputs = two_ends()[0]
        exact, predicted = (
            onnxruntime.InferenceSession(path).run(["classes"], inputs)[0]
            for path in (models / "two_ends.onnx", model.path)
        )
        assert 0 < np.abs(exact - predicted).max() < 0.2

    def test_the_digits_are_compiled_from_a_saved_model(self, client: WorkerClient, tmp_path: Path, zoo: Zoo) -> None:
        options = complete(batch_size=8, precision="fp16")
        source = Source("saved_model", str(zoo.saved_model("digits_cnn")))
        converted = client.convert(source, tmp_path / "converted", options)
        source = Source(converted.kind, str(tmp_path / "converted" / converted.path))
        for precision in ("fp32", "fp16"):
            placement, _ = built(client, source, tmp_path / precision, precision=precision, batch_size=8)
            assert OBSERVED[precision] in placement.precisions

    def test_a_build_that_takes_too_long_is_ended(self, models: Path, tmp_path: Path) -> None:
        with Worker("gpu-trt-rtx", REFERENCE, log_dir=tmp_path) as worker:
            hasty = WorkerClient(worker, Deadlines(compile_s=0.2, run_s=60))
            assert isinstance(hasty.target(complete()), Target)
            with pytest.raises(DeadlineExceeded, match=r"compile was still running after 0\.2 s and was killed"):
                hasty.compile(
                    onnx(models, "convolution"), tmp_path / "a", complete(precision="int8"), None, images(200)
                )


@pytest.mark.slow
class TestResNet50:
    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, client: WorkerClient, resnet50: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
        """The SavedModel as it is converted for a batch of eight, once for all engines."""
        folder = tmp_path_factory.mktemp("converted")
        converted = client.convert(Source("saved_model", str(resnet50)), folder, complete(batch_size=8))
        return Source(converted.kind, str(folder / converted.path))

    def test_engines_for_an_ada_gpu_shrink_with_the_precision(
        self, client: WorkerClient, source: Source, resnet50_val: Examples, tmp_path: Path
    ) -> None:
        (name,) = input_names(source)
        calibration = [{name: resnet50_val[0][first : first + 8]} for first in (0, 8)]
        sizes_mb, observed = {}, {}
        for precision in ("fp32", "fp16", "int8"):
            placement, sizes_mb[precision] = built(
                client, source, tmp_path / precision, calibration, precision=precision, batch_size=8
            )
            observed[precision] = placement.precisions
        assert observed["fp32"].keys() == {"float32"}
        assert observed["fp16"]["float16"] > 50
        assert observed["int8"]["int8"] >= 53
        assert sizes_mb["int8"] < 0.7 * sizes_mb["fp16"] < 0.4 * sizes_mb["fp32"]

    def test_turing_takes_it_in_fp16_and_not_in_fp32(
        self, client: WorkerClient, source: Source, tmp_path: Path
    ) -> None:
        placement, size_mb = built(client, source, tmp_path / "a", target="sm75", precision="fp16", batch_size=8)
        assert placement.precisions["float16"] > 50
        assert 45 < size_mb < 70
        with pytest.raises(CompileFailed, match=r"no kernel of '.*MatMul.*' for Turing \(SM75\) \(FP32 GEMM is not"):
            built(client, source, tmp_path / "b", target="sm75", batch_size=8)


@pytest.mark.skipif(device_files.missing_nvidia() is None, reason="there is a GPU here")
def test_without_a_gpu_the_target_has_to_be_named(client: WorkerClient, models: Path, tmp_path: Path) -> None:
    unnamed = client.target(complete(target=""))
    assert isinstance(unnamed, Missing)
    assert (unnamed.kind, unnamed.action) == ("no-hardware", "name one, such as target='sm89'")
    with pytest.raises(CompileFailed, match="no GPU is here and no target is named: name one, such as target='sm89'"):
        client.compile(onnx(models, "convolution"), tmp_path / "artefact", complete(target=""))
    named = client.target(complete(target="sm75"))
    assert isinstance(named, Target)
    assert named.device == "sm75"


def test_the_stand_in_has_nothing_that_nvidia_has_not() -> None:
    path = [STANDINS / name for name in ("tensorrt_rtx", "tensorrt", "cuda", "pynvml")]
    names = public_names("tensorrt_rtx_bindings", path, STANDIN_TENSORRT="11")
    assert {"Builder", "IRuntimeCache", "ComputeCapability"} <= set(names)
    mine = surface_of("tensorrt_rtx_bindings", names, path, STANDIN_TENSORRT="11")
    theirs = surface_of("tensorrt_rtx_bindings", names, [])
    assert lacking(mine, theirs) == []


def input_names(source: Source) -> list[str]:
    import onnx as onnx_package

    return [value.name for value in onnx_package.load(source.path, load_external_data=False).graph.input]


def attention() -> list[Arrays]:
    """Words in batches of two."""
    random = np.random.default_rng(3)
    return [{"ids": random.integers(0, 100, (2, 6)), "mask": np.ones((2, 6), np.int64)} for _ in range(3)]


def two_ends() -> list[Arrays]:
    """An image with what was measured beside it."""
    random = np.random.default_rng(3)
    shapes = {"image": (1, 3, 8, 8), "measured": (1, 4)}
    return [{name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(8)]
