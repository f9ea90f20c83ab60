"""The real Python modules of TensorRT and CUDA have every name that the stand-ins have, and so all that we use.

TensorRT's are loaded over libraries that return nothing, which is all that a machine without a GPU can have; nothing is
built or run. The wheels are downloaded, so this is slow: ``pytest tests/contract -m slow``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_accel.worker.hardware import device_files
from tests.contract.surface import Surface, lacking
from tests.contract.wheels import ROOT, download, run

pytestmark = pytest.mark.slow

STANDINS = ROOT / "tests/standins"
#: The wheels of real modules, and the release of the stand-in that each is compared with.
WHEELS = {
    "tensorrt-bindings==8.6.1": "8.6",
    "tensorrt-cu12-bindings==10.9.0.34": "10",
    "tensorrt-cu12-bindings==10.16.1.11": "10",
    "tensorrt-cu12-bindings==11.4.0.106": "11",
}
CUDA_WHEELS = {
    "12.6": ("cuda.cudart", ["cuda-python==12.6.0"]),
    "13.5": ("cuda.bindings.runtime", ["cuda-bindings==13.5.0", "cuda-pathfinder"]),
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
#: What the modules want from them, of which TensorRT 8 alone wants the mangled ones.
SYMBOLS = """
    createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL createNvOnnxParser_INTERNAL
    createNvOnnxParserRefitter_INTERNAL getBuilderPluginRegistry getPluginRegistry getNvOnnxParserVersion
    initLibNvInferPlugins _ZN11nvuffparser15createUffParserEv _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi
    _ZN14nvcaffeparser117createCaffeParserEv _ZN14nvcaffeparser123shutdownProtobufLibraryEv
"""
#: What we ask for with hasattr, so that it must be as absent in the stand-in as it is in the release.
ASKED_FOR = {
    "": ["IInt8EntropyCalibrator2", "IProgressMonitor", "TilingOptimizationLevel"],
    "BuilderFlag": ["FP16", "INT8"],
    "IBuilderConfig": ["max_num_tactics", "l2_limit_for_tiling", "tiling_optimization_level", "max_aux_streams"],
    "ICudaEngine": ["device_memory_size", "device_memory_size_v2"],
    "IExecutionContext": ["execute_async_v3"],
    "NetworkDefinitionCreationFlag": ["EXPLICIT_BATCH"],
    "PreviewFeature": ["PROFILE_SHARING_0806"],
}
#: Our own code on the real module: the logger, the calibrator, the monitor and what is told where there is no builder.
OURS = """
import json, sys
import numpy as np
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from pytest_accel.worker.accelerators.tensorrt import builder, callbacks
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import GpuTrt
from pytest_accel.worker.hardware.cuda import Cuda
told, batch = [], {"x": np.ones((2, 3), np.float32)}
if not builder.is_strongly_typed(tensorrt_bindings):
    calibrator = callbacks.calibrator([batch], lambda share, doing: told.append(doing), Cuda(), tensorrt_bindings)
    told += [calibrator.get_batch_size(), len(calibrator.get_batch(["x"])), calibrator.get_batch(["x"])]
if hasattr(tensorrt_bindings, "IProgressMonitor"):
    monitor = callbacks.monitor(lambda share, doing: told.append(share), tensorrt_bindings)
    monitor.phase_start("Building", None, 4)
    assert monitor.step_complete("Building", 1)
missing = GpuTrt()._missing_tensorrt()
print(json.dumps([missing.kind, missing.reason, told]))
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries by which the modules can be loaded, and which make no object."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the libraries that the modules are loaded over")
    folder = tmp_path_factory.mktemp("stubs")
    source = folder / "nothing.c"
    source.write_text(
        "\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in SYMBOLS.split()), encoding="ascii"
    )
    for number in (8, 10, 11):
        for library in LIBRARIES:
            soname = f"lib{library}.so.{number}"
            command: list[str | Path] = [
                compiler,
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{soname}",
                "-o",
                folder / soname,
                source,
            ]
            subprocess.run(command, check=True)
    return folder


def surface_of(module: str, names: list[str], path: list[Path], **environ: str) -> Surface:
    told: Surface = json.loads(run("-m", "tests.contract.surface", module, *names, path=path, **environ))
    return told


def public_names(module: str, path: list[Path], **environ: str) -> list[str]:
    code = f"import {module} as it; print(*(name for name in it.__all__ if not name.startswith('_')))"
    return run("-c", code, path=path, **environ).split()


@pytest.mark.parametrize(("wheel", "release"), WHEELS.items())
def test_the_real_tensorrt_has_what_the_stand_in_has(wheel: str, release: str, stubs: Path, tmp_path: Path) -> None:
    real = download(tmp_path, wheel)
    path = [STANDINS / "tensorrt", STANDINS / "cuda", STANDINS / "pynvml"]
    names = public_names("tensorrt", path, STANDIN_TENSORRT=release)
    assert {"Builder", "OnnxParser", "Runtime"} <= set(names)
    mine = surface_of("tensorrt", names, path, STANDIN_TENSORRT=release)
    theirs = surface_of("tensorrt_bindings", [*names, *ASKED_FOR[""]], [real], LD_LIBRARY_PATH=str(stubs))
    assert lacking(mine, theirs) == []
    for owner, asked_for in ASKED_FOR.items():
        for name in asked_for:
            here, there = (side[owner] if owner else side for side in (mine, theirs))
            assert (name in here) == (name in there), f"{owner}.{name}"


@pytest.mark.parametrize(("wheel", "release"), WHEELS.items())
def test_our_own_code_runs_on_the_real_tensorrt_as_far_as_there_is_no_gpu(
    wheel: str, release: str, stubs: Path, tmp_path: Path
) -> None:
    path = [download(tmp_path, wheel), STANDINS / "cuda", STANDINS / "pynvml"]
    kind, reason, told = json.loads(run("-c", OURS, path=path, LD_LIBRARY_PATH=str(stubs)))
    assert kind == "driver-mismatch"
    assert reason.endswith("makes no builder here: pybind11::init(): factory function returned nullptr")
    calibrated, half_built = ["calibrating with batch 1 of 1", 2, 1, None], [0.5]
    assert told == {"8.6": calibrated, "10": calibrated + half_built, "11": half_built}[release]


@pytest.mark.parametrize("release", CUDA_WHEELS)
def test_the_real_cuda_python_has_what_the_stand_in_has(release: str, tmp_path: Path) -> None:
    module, wheels = CUDA_WHEELS[release]
    real = download(tmp_path, *wheels)
    path = [STANDINS / "cuda", STANDINS / "pynvml"]
    names = public_names("cuda._runtime", path)
    mine = surface_of(module, names, path, STANDIN_CUDA_PYTHON=release)
    theirs = surface_of(module, names, [real])
    assert {"cudaMalloc", "cudaError_t", "cudaStreamSynchronize"} <= mine.keys()
    assert lacking(mine, theirs) == []


@pytest.mark.skipif(device_files.missing_nvidia() is None, reason="there is a GPU here")
@pytest.mark.parametrize(("release", "kind"), [("12.6", "no-driver"), ("13.5", "driver-mismatch")])
def test_the_real_cuda_python_says_that_there_is_no_gpu(release: str, kind: str, tmp_path: Path) -> None:
    code = "from pytest_accel.worker.hardware.cuda import Cuda; print(Cuda().missing().kind)"
    assert run("-c", code, path=[download(tmp_path, *CUDA_WHEELS[release][1])]).strip() == kind
