"""INT8 from good and from bad calibration data, on the two compilers for the CPU.

Minutes long, so it has a command of its own: ``pytest tests/acceptance/accuracy -m slow``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.acceptance.conftest import Workplace
from tests.models.pixels import normalise

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from tests.models.zoo import Examples

pytestmark = pytest.mark.slow

INT8 = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator({accelerator!r}, precision="int8", batch_size=8)
    def test_model(accel_model):
        images = np.load("calibration.npz")["x"]
        model = accel_model({model!r}, name="digits_cnn", calibration=images * np.float32({scale}))
        model.check("val.npz")
"""
#: The package without which the accelerator is absent.
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "nncf"}


@pytest.fixture(params=SDKS)
def accelerator(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not any(distributions(name=SDKS[name])):
        pytest.skip(f"needs {SDKS[name]}: pip install 'pytest-accel[{name}]'")
    return name


@pytest.fixture
def calibrated(
    digits_cnn: Path, digits_val: Examples, workplace: Workplace, accelerator: str
) -> Callable[..., TestRecord]:
    """Checks digits in INT8 with so many calibration images, ``scale`` times as bright as they should be."""
    from sklearn.datasets import load_digits

    held_out = {image.tobytes() for image in digits_val[0]}
    digits = normalise(load_digits().images.astype(np.uint8))
    others = np.stack([image for image in digits if image.tobytes() not in held_out])

    def check(images: int, scale: float = 1.0) -> TestRecord:
        workplace.write_data(digits_val)
        np.savez(workplace.folder / "calibration.npz", x=others[:images])
        workplace.write_test(INT8.format(accelerator=accelerator, model=str(digits_cnn), scale=scale))
        return workplace.run_bare(f"--accelerator={accelerator}").test

    return check


def accuracy_verdicts(record: TestRecord) -> list[str]:
    return [verdict.kind for verdict in record.verdicts if verdict.question == "accuracy"]


def test_good_calibration_data_pass(calibrated: Callable[..., TestRecord]) -> None:
    record = calibrated(300)
    assert accuracy_verdicts(record) == ["pass", "pass"]


@pytest.mark.parametrize("scale", [20.0, 1 / 3])
def test_calibration_data_of_the_wrong_range_are_inaccurate(
    calibrated: Callable[..., TestRecord], scale: float
) -> None:
    record = calibrated(300, scale)
    assert record.accuracy is not None
    assert record.accuracy.error_ratio is not None
    assert record.accuracy.error_ratio > 3
    assert accuracy_verdicts(record)[1] == "inaccurate", "whatever top-1 says, which OpenVINO keeps"


def test_two_calibration_images_are_inaccurate(calibrated: Callable[..., TestRecord]) -> None:
    assert accuracy_verdicts(calibrated(2))[-1] == "inaccurate"
