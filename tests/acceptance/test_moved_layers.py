"""A layer that lost its precision since the baseline is named in the failure, on each accelerator for the CPU.

Minutes long, so it has a command of its own: ``pytest tests/acceptance -m slow``.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import Workplace

if TYPE_CHECKING:
    from tests.models.zoo import Zoo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: One speed comparison with the baseline is enough.
BRIEFLY = ("-o", "accel_compare_budget=1")
ONNX = """
    import pytest

    @pytest.mark.accelerator({accelerator!r})
    def test_model(accel_model):
        accel_model("model.onnx").check()
"""
#: Writes the same model with its second convolution between Q and DQ, which both compilers compute in INT8.
QUANTISE = """
import sys
import numpy as np, onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

class One(CalibrationDataReader):
    batches = iter([{"image": np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)}])

    def get_next(self):
        return next(self.batches, None)

quantize_static(sys.argv[1], sys.argv[1], One(), quant_format=QuantFormat.QDQ, nodes_to_quantize=["mix"])
"""
KERAS = """
    import keras
    import pytest

    def small_cnn():
        model = keras.models.load_model({keras!r})
        config = model.get_config()
        (strokes,) = [layer["config"] for layer in config["layers"] if layer["config"]["name"] == "strokes"]
        strokes["dtype"] = {dtype!r}
        changed = keras.Sequential.from_config(config)
        changed.set_weights(model.get_weights())
        return changed

    @pytest.mark.accelerator("cpu")
    def test_model(accel_model):
        accel_model(small_cnn).check()
"""


@pytest.mark.parametrize("accelerator", ["cpu-ort", "cpu-openvino"])
def test_a_convolution_that_is_int8_now_is_named(workplace: Workplace, accelerator: str) -> None:
    for package in ("onnxruntime", "openvino"):
        if not any(distributions(name=package)):
            pytest.skip(f"needs {package}: pip install 'pytest-accel[demo]'")
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", workplace.folder], cwd=ROOT, check=True)
    model = (workplace.folder / "convolution.onnx").rename(workplace.folder / "model.onnx")
    workplace.write_test(ONNX.format(accelerator=accelerator))
    saved = workplace.run_bare(f"--accelerator={accelerator}", "--accel-save-baseline")
    saved.explains(f"/model/{accelerator}.json saved")
    subprocess.run([sys.executable, "-c", QUANTISE, model], check=True, capture_output=True)
    run = workplace.run_bare(f"--accelerator={accelerator}", *BRIEFLY)
    assert run.status == 1
    assert run.test.kind == "not-measured"
    run.explains(
        "fp32 was asked for and int8 (",  # OpenVINO takes the pooling behind it too
        ") is coarser",
        "Changed since the baseline:",
        "operator mix changed its precision: cpu:float32 -> cpu:int8",
    )


def test_a_layer_that_is_bf16_now_is_named(workplace: Workplace, zoo: Zoo) -> None:
    keras = str(zoo.keras_file("digits_cnn"))
    workplace.write_test(KERAS.format(keras=keras, dtype="float32"))
    workplace.run("--accel-save-baseline").explains("/small_cnn/cpu.json saved")
    workplace.write_test(KERAS.format(keras=keras, dtype="mixed_bfloat16"))
    run = workplace.run(*BRIEFLY)
    assert run.status == 1
    assert run.test.kind == "not-measured"
    named = [change for change in run.test.changes if "changed its precision: cpu:float32 -> cpu:bfloat16" in change]
    assert any("strokes" in change for change in named), run.output
    run.explains("fp32 was asked for and bf16 (", ") is coarser", "Changed since the baseline:", named[0])
