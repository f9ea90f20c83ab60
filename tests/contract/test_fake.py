from __future__ import annotations

from pytest_accel.testing import FakeAccelerator
from pytest_accel.testing.contract import AcceleratorContract


class TestFake(AcceleratorContract):
    accelerator = FakeAccelerator
