"""INT8 from good and from bad calibration data, on the two compilers for the CPU.

Minutes long, so it has a command of its own: ``pytest tests/acceptance/accuracy -m slow``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.acceptance.conftest import Workplace
from tests.models.pixels import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_accel.facts.records import TestRecord
    from tests.models.zoo import Examples

pytestmark = pytest.mark.slow

INT8 = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator({accelerators}, precision="int8", batch_size=8)
    @pytest.mark.parametrize(("images", "scale"), {data!r}, ids={cases!r})
    def test_model(accel_model, images, scale):
        calibration = np.load("calibration.npz")["x"][:images] * np.float32(scale)
        accel_model({model!r}, name="digits_cnn", calibration=calibration).check("val.npz")
"""
#: SDKS has the package without which the accelerator is absent.
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "nncf"}
#: DATA has the number of calibration images, and how many times as bright as they should be they are.
DATA = {"good": (300, 1.0), "bright": (300, 20.0), "dark": (300, 1 / 3), "few": (2, 1.0)}


@pytest.fixture
def calibrated(digits_cnn: Path, digits_val: Examples, workplace: Workplace) -> Mapping[str, Mapping[str, TestRecord]]:
    """Digits in INT8 by accelerator and kind of calibration data. One run has them all, so it converts once."""
    names = [name for name, package in SDKS.items() if any(distributions(name=package))]
    if not names:
        pytest.skip(f"needs pip install 'pytest-accel[{','.join(SDKS)}]'")
    workplace.write_data(digits_val)
    np.savez(
        workplace.folder / "calibration.npz", x=held_out_of(digits_val)[: max(images for images, _ in DATA.values())]
    )
    cases, data = list(DATA), list(DATA.values())
    quoted = ", ".join(map(repr, names))
    workplace.write_test(INT8.format(accelerators=quoted, data=data, cases=cases, model=str(digits_cnn)))
    records = workplace.run_bare(f"--accelerator={','.join(names)}").record.tests
    return {name: {case: record_of(records, name, case) for case in DATA} for name in names}


def held_out_of(digits_val: Examples) -> NDArray[np.float32]:
    """The digits that are not among those of the evaluation."""
    from sklearn.datasets import load_digits

    held_out = {image.tobytes() for image in digits_val[0]}
    digits = normalise(load_digits().images.astype(np.uint8))
    return np.stack([image for image in digits if image.tobytes() not in held_out])


def record_of(records: Sequence[TestRecord], accelerator: str, case: str) -> TestRecord:
    (found,) = (each for each in records if each.variant.accelerator == accelerator and f"-{case}]" in each.test)
    return found


def accuracy_verdicts(record: TestRecord) -> list[str]:
    return [verdict.kind for verdict in record.verdicts if verdict.question == "accuracy"]


def test_good_calibration_data_pass_and_bad_ones_are_inaccurate(
    calibrated: Mapping[str, Mapping[str, TestRecord]],
) -> None:
    for accelerator, records in calibrated.items():
        assert accuracy_verdicts(records["good"]) == ["pass", "pass"], accelerator
        for case in ("bright", "dark"):
            accuracy = records[case].accuracy
            assert accuracy is not None
            assert accuracy.error_ratio is not None
            assert accuracy.error_ratio > 3, (accelerator, case)
            assert accuracy_verdicts(records[case])[1] == "inaccurate", "whatever top-1 says, which OpenVINO keeps"
        assert accuracy_verdicts(records["few"])[-1] == "inaccurate", accelerator
