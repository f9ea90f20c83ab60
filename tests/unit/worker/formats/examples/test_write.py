"""The example networks are the same ones in every framework, and run with any batch."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest

from pytest_accel.worker.formats.examples.networks import NETWORKS
from pytest_accel.worker.formats.examples.write import write

#: Writes all examples in a process of its own, and runs them on what is in the files; TensorFlow's images are NHWC.
RUN = """
import sys
from pathlib import Path
import numpy as np
from pytest_accel.worker.formats.examples.networks import NETWORKS
from pytest_accel.worker.formats.examples.write import write

kind, folder = sys.argv[1], Path(sys.argv[2])

def run(path, names, arrays):
    if kind == "onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = [value.name for value in session.get_outputs()]
        return dict(zip(outputs, session.run(None, dict(zip(names, arrays)))))
    if kind == "torch":
        import torch
        from pytest_accel.worker.formats.torch_model import ExportedProgram
        return ExportedProgram(path)([torch.tensor(array) for array in arrays])
    import tensorflow
    predict = tensorflow.saved_model.load(path).signatures["serving_default"]
    feed = {name: tensorflow.constant(array) for name, array in zip(names, arrays)}
    return {name: value.numpy() for name, value in predict(**feed).items()}

for name, network in NETWORKS.items():
    inputs = np.load(folder / f"{name}.npz")
    images = {entrance.name for entrance in network.entrances if entrance.is_image and kind != "saved_model"}
    arrays = [inputs[each].transpose(0, 3, 1, 2) if each in images else inputs[each] for each in inputs]
    source = write(name, kind, str(folder / kind / name))
    np.savez(folder / f"{name}-{kind}.npz", **run(source.path, list(inputs), arrays))
"""
ROWS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every example, and what ONNX Runtime makes of them."""
    folder, random = tmp_path_factory.mktemp("examples"), np.random.default_rng(7)
    for name, network in NETWORKS.items():
        inputs = {}
        for each in network.entrances:
            shape = (ROWS, *each.shape)
            drawn = random.normal(size=shape) if each.dtype == "float32" else random.integers(0, 9, shape)
            inputs[each.name] = drawn.astype(each.dtype)
        np.savez(folder / f"{name}.npz", **inputs)  # type: ignore[arg-type] # NumPy takes any names
    run_all("onnx", "onnxruntime", folder)
    return folder


def run_all(kind: str, package: str, folder: Path) -> None:
    if not any(distributions(name=package)):
        pytest.skip(f"needs {package}")
    command = [sys.executable, "-c", RUN, kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "package"), [("saved_model", "tensorflow"), ("torch", "torch")])
def test_an_example_is_the_same_network_in_every_framework(kind: str, package: str, folder: Path) -> None:
    run_all(kind, package, folder)
    for name in NETWORKS:
        with np.load(folder / f"{name}-onnx.npz") as expected, np.load(folder / f"{name}-{kind}.npz") as found:
            assert {len(found[output]) for output in found} == {ROWS}
            assert set(found) == set(expected)
            for output in expected:
                np.testing.assert_allclose(found[output], expected[output], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("name", "kind"), [("resnet50", "keras"), ("alexnet", "onnx")])
def test_what_there_is_not_is_told(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=f"no example '{name}' of the kind '{kind}'"):
        write(name, kind, str(tmp_path))
