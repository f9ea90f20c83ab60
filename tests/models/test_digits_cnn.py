"""A small CNN on every accelerator, written as a user would write it; ``baselines/`` guards it against regressions.

The limits leave room for a shared machine with two cores. An accelerator that is not here is skipped with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.first_run.test_resnet50 import ELSEWHERE

if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel
    from tests.models.zoo import Examples

pytestmark = pytest.mark.slow
#: The baselines were saved on another machine of the same kind; between two, paces were seen to differ by 7 %.
BETWEEN_MACHINES = 0.15


@pytest.mark.accelerator(
    "cpu", batch_size=[1, 32], p99_ms=25, max_accuracy_drop=0.01, min_accuracy=0.95, max_regression=BETWEEN_MACHINES
)
@pytest.mark.accelerator(*ELSEWHERE, batch_size=32, max_accuracy_drop=0.01, min_accuracy=0.95)
@pytest.mark.accelerator(
    "sagemaker", instance_type="ml.c5.xlarge", batch_size=32, max_accuracy_drop=0.01, min_accuracy=0.95
)
def test_digits_cnn(accel_model: AccelModel, digits_cnn: Path, digits_val: Examples) -> None:
    accel_model(digits_cnn).check(digits_val)
