"""The main job on real models, written as a user would write it.

The limits leave room for a shared machine with two cores; what guards against regressions is ``baselines/``. The
accelerators below the CPU take the same models, and are skipped with the reason where they are not; Inferentia casts to
BF16, and its answers are given that much room.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_accel.model import AccelModel
    from tests.models.zoo import Examples

#: Where the mission's other hardware is, the same models go there.
ELSEWHERE = ("gpu", "gpu-ort", "gpu-trt", "inf1", "inf2", "trn1", "eia")
#: The baselines were saved on another machine of the same kind; between two, paces were seen to differ by 7 %.
BETWEEN_MACHINES = 0.15


@pytest.mark.accelerator("cpu", p50_ms=250, max_accuracy_drop=0.01, min_accuracy=0.9, max_regression=BETWEEN_MACHINES)
@pytest.mark.accelerator(*ELSEWHERE, max_accuracy_drop=0.02, min_accuracy=0.9)
@pytest.mark.accelerator("sagemaker", instance_type="ml.c5.xlarge", max_accuracy_drop=0.01, min_accuracy=0.9)
def test_resnet50(accel_model: AccelModel, resnet50: Path, resnet50_val: Examples) -> None:
    accel_model(resnet50).check(resnet50_val)


@pytest.mark.accelerator(
    "cpu", batch_size=[1, 32], p99_ms=25, max_accuracy_drop=0.01, min_accuracy=0.95, max_regression=BETWEEN_MACHINES
)
@pytest.mark.accelerator(*ELSEWHERE, batch_size=32, max_accuracy_drop=0.01, min_accuracy=0.95)
@pytest.mark.accelerator(
    "sagemaker", instance_type="ml.c5.xlarge", batch_size=32, max_accuracy_drop=0.01, min_accuracy=0.95
)
def test_digits_cnn(accel_model: AccelModel, digits_cnn: Path, digits_val: Examples) -> None:
    accel_model(digits_cnn).check(digits_val)
