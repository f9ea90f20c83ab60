"""FP32, BF16 and INT8 on the compilers for the CPU beside TensorFlow: speed-ups, accuracy and placements in one run.

Only what is certain is asserted; the figures are printed (``-rP`` shows them). Minutes long, so it has a command of its
own: ``pytest tests/acceptance/accuracy -m slow``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.worker.hardware import processor
from tests.acceptance.conftest import Run, Workplace
from tests.models.pixels import enlarge, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_accel.facts.records import TestRecord
    from tests.models.zoo import Zoo

pytestmark = pytest.mark.slow

#: Of 32 images one is three points.
MAX_ACCURACY_DROP = 0.15
#: By variant: the only precision that its operators may have, or the one that most of the work must have.
PRECISIONS = {
    "cpu": "float32",
    "cpu-ort-fp32": "float32",
    "cpu-ort-int8": "int8",
    "cpu-openvino-fp32": "float32",
    **({"cpu-openvino-bf16": "bfloat16"} if processor.has_bf16() else {}),
    "cpu-openvino-int8": "int8",
}
ALL = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator("cpu")
    @pytest.mark.accelerator("cpu-ort", precision=["fp32", "int8"])
    @pytest.mark.accelerator("cpu-openvino", precision={precisions})
    def test_model(accel_model):
        images = np.load("calibration.npz")["x"]
        accel_model({model!r}, name={name!r}, calibration=images).check("val.npz", max_accuracy_drop={drop})
"""
#: SPOILT calibrates with data of the wrong range, and with two images.
SPOILT = """
    @pytest.mark.accelerator("cpu-openvino", precision="int8")
    @pytest.mark.parametrize(("images", "scale"), [(None, 20), (2, 1)], ids=["range", "two"])
    def test_spoilt(accel_model, images, scale):
        calibration = np.load("calibration.npz")["x"][:images] * np.float32(scale)
        accel_model({model!r}, name={name!r}, calibration=calibration).check("val.npz")
"""
CALIBRATION_IMAGES = 32
EVALUATION_IMAGES = {"resnet50": 32, "digits_cnn": 450}
PREPROCESSED: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {
    "resnet50": enlarge,
    "digits_cnn": normalise,
}


@pytest.fixture
def prepared(workplace: Workplace, zoo: Zoo) -> Callable[[str], NDArray[np.float32]]:
    """Writes the evaluation data of a model, and returns images that are not among them."""
    if missing := [package for package in ("onnxruntime", "nncf") if not any(distributions(name=package))]:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'pytest-accel[demo]'")

    def prepare(name: str) -> NDArray[np.float32]:
        from sklearn.datasets import load_digits

        images, labels = zoo.validation(name)
        few = slice(EVALUATION_IMAGES[name])
        workplace.write_data((images[few], labels[few]))
        held_out = {image.tobytes() for image in images}
        digits = PREPROCESSED[name](load_digits().images[: 2 * CALIBRATION_IMAGES].astype(np.uint8))
        return np.stack([image for image in digits if image.tobytes() not in held_out][:CALIBRATION_IMAGES])

    return prepare


def test_every_precision_in_one_run(
    prepared: Callable[[str], NDArray[np.float32]], workplace: Workplace, zoo: Zoo
) -> None:
    run = run_all("digits_cnn", prepared, workplace, zoo)
    assert_every_precision(run.record.tests, run.output)


def test_every_precision_and_spoilt_calibration_data_on_resnet50(
    prepared: Callable[[str], NDArray[np.float32]], workplace: Workplace, zoo: Zoo
) -> None:
    run = run_all("resnet50", prepared, workplace, zoo, more=SPOILT)
    spoilt = [record for record in run.record.tests if record.function.endswith("test_spoilt")]
    assert len(spoilt) == 2, run.output
    assert_every_precision([record for record in run.record.tests if record not in spoilt], run.output)
    for record in spoilt:
        assert "inaccurate" in [each.kind for each in record.verdicts if each.question == "accuracy"], record.verdicts
        print(f"{record.test}: {record.accuracy}")
    (wrong_range,) = (record for record in spoilt if record.test.endswith("-range]"))
    assert wrong_range.accuracy is not None
    assert wrong_range.accuracy.error_ratio is not None


def run_all(
    name: str, prepared: Callable[[str], NDArray[np.float32]], workplace: Workplace, zoo: Zoo, *, more: str = ""
) -> Run:
    """Check a model in every precision, and run the tests that are given as ``more``."""
    np.savez(workplace.folder / "calibration.npz", x=prepared(name))
    precisions = [variant.removeprefix("cpu-openvino-") for variant in PRECISIONS if "openvino" in variant]
    named = {"model": str(zoo.saved_model(name)), "name": name}
    workplace.write_test((ALL + more).format(**named, precisions=precisions, drop=MAX_ACCURACY_DROP))
    return workplace.run_bare("--accelerator=cpu,cpu-ort,cpu-openvino")


def assert_every_precision(tests: Sequence[TestRecord], output: str) -> None:
    """All passed, each in its precision and with the error that this has."""
    records = {record.variant.id: record for record in tests}
    assert records.keys() == PRECISIONS.keys(), output
    for variant, record in records.items():
        print(told(record, beside=records["cpu"]))
        assert_ran_in(PRECISIONS[variant], record)
        assert {each.kind for each in record.verdicts if each.question == "accuracy"} <= {"pass", "inconclusive"}
    errors = {variant: worst_error(record) for variant, record in records.items()}
    assert max(errors["cpu"], errors["cpu-ort-fp32"], errors["cpu-openvino-fp32"]) < 1e-3
    coarse = [error for variant, error in errors.items() if PRECISIONS[variant] != "float32"]
    assert 1e-4 < min(coarse) < max(coarse) < 0.3, "another arithmetic of the same model"
    for variant, record in records.items():
        assert record.accuracy is not None
        expected = variant.endswith(("bf16", "int8"))
        assert (record.accuracy.error_ratio is not None) == expected, (
            "BF16 beside TensorFlow's, INT8 beside ideal ranges"
        )


def assert_ran_in(precision: str, record: TestRecord) -> None:
    """All operators on the device; FP32 alone where it was asked for, else none that is coarser than asked."""
    assert record.measurement is not None
    assert record.placement is not None
    assert record.placement.on_device == 1.0
    expected = {"float32": {"float32"}, "bfloat16": {"bfloat16", "float32"}, "int8": {"int8", "float32"}}[precision]
    assert precision in record.placement.precisions
    assert record.placement.precisions.keys() <= expected


def worst_error(record: TestRecord) -> float:
    assert record.accuracy is not None
    return max(errors.normalised_l2 for errors in record.accuracy.outputs)


def told(record: TestRecord, *, beside: TestRecord) -> str:
    """One line of figures: the medians' ratio is the true speed-up of this machine at this moment."""
    assert record.measurement is not None
    assert beside.measurement is not None
    assert record.accuracy is not None
    assert record.placement is not None
    p50_ms, others_ms = (median(each.latencies_ns) / 1e6 for each in (record.measurement, beside.measurement))
    return (
        f"{record.model}[{record.variant.id}] p50 {p50_ms:.3f} ms, {others_ms / p50_ms:.2f} times TensorFlow's speed; "
        f"top-1 {record.accuracy.top1}, lost {record.accuracy.flips_lost}, gained {record.accuracy.flips_gained}, "
        f"error {worst_error(record):.2g}; operators {record.placement.precisions}"
    )
