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

#: Writes an example in a process of its own and runs it on the images or rows of a file; TensorFlow's come as NHWC.
RUN = """
import sys
import numpy as np
from pytest_accel.worker.formats.examples.networks import NETWORKS
from pytest_accel.worker.formats.examples.write import write

name, kind, folder, inputs = sys.argv[1:5]
source = write(name, kind, folder)
arrays = list(np.load(inputs).values())
images = [entrance.is_image for entrance in NETWORKS[name].entrances]
if kind != "saved_model":
    arrays = [array.transpose(0, 3, 1, 2) if image else array for array, image in zip(arrays, images)]
if kind == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(source.path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, dict(zip([v.name for v in session.get_inputs()], arrays)))))
elif kind == "torch":
    from pytest_accel.worker.formats.torch_model import ExportedProgram
    import torch
    outputs = ExportedProgram(source.path)([torch.tensor(array) for array in arrays])
else:
    import tensorflow
    predict = tensorflow.saved_model.load(source.path).signatures["serving_default"]
    feed = {e.name: tensorflow.constant(array) for e, array in zip(NETWORKS[name].entrances, arrays)}
    outputs = {key: value.numpy() for key, value in predict(**feed).items()}
np.savez(inputs.replace("inputs", f"outputs-{kind}"), **outputs)
"""
SMALL = [name for name in NETWORKS if name != "resnet50"]


def made_up(name: str, rows: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {
        each.name: random.normal(size=(rows, *each.shape)).astype(each.dtype)
        if each.dtype == "float32"
        else random.integers(0, 9, (rows, *each.shape)).astype(each.dtype)
        for each in NETWORKS[name].entrances
    }


def outputs_of(name: str, kind: str, folder: Path) -> dict[str, np.ndarray]:
    np.savez(folder / "inputs.npz", **made_up(name))  # type: ignore[arg-type] # NumPy takes any names
    command = [sys.executable, "-c", RUN, name, kind, str(folder / kind), str(folder / "inputs.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / f"outputs-{kind}.npz") as stored:
        return dict(stored)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("kind", "package"), [("saved_model", "tensorflow"), ("torch", "torch")])
def test_an_example_is_the_same_network_in_every_framework(name: str, kind: str, package: str, tmp_path: Path) -> None:
    for needed in (package, "onnxruntime"):
        if not any(distributions(name=needed)):
            pytest.skip(f"needs {needed}")
    expected, found = outputs_of(name, "onnx", tmp_path), outputs_of(name, kind, tmp_path)
    assert {len(output) for output in found.values()} == {3}
    assert found.keys() == expected.keys()
    for output in expected:
        np.testing.assert_allclose(found[output], expected[output], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("resnet50", "keras"), ("alexnet", "onnx")])
def test_what_there_is_not_is_told(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=f"no example '{name}' of the kind '{kind}'"):
        write(name, kind, str(tmp_path))
