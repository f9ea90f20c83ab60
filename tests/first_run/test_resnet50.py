"""The main job, written as a user would write it: one ResNet-50 on every accelerator, compared in one table.

The limits leave room for a shared machine with two slow cores and busy neighbours. An accelerator that is not here is
skipped with the reason; Inferentia casts to BF16, and its answers are given that much room.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel
    from tests.models.zoo import Examples

#: Where the mission's other hardware is, the same model goes there.
ELSEWHERE = ("gpu", "gpu-ort", "gpu-trt", "gpu-tftrt", "inf1", "inf2", "trn1", "eia")
SAMPLES = 64


@pytest.mark.accelerator("cpu", "cpu-ort", "cpu-openvino", p50_ms=500, max_accuracy_drop=0.01, min_accuracy=0.9)
@pytest.mark.accelerator(*ELSEWHERE, max_accuracy_drop=0.02, min_accuracy=0.9)
@pytest.mark.accelerator("sagemaker", instance_type="ml.c5.xlarge", max_accuracy_drop=0.01, min_accuracy=0.9)
def test_resnet50(accel_model: AccelModel, resnet50: Path, resnet50_val: Examples) -> None:
    images, labels = resnet50_val
    accel_model(resnet50).check((images[:SAMPLES], labels[:SAMPLES]))
