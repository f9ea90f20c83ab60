from pytest_accel_example.accelerator import Example

from pytest_accel.testing.contract import AcceleratorContract


class TestExample(AcceleratorContract):
    accelerator = Example
    rtol = 1e-6
