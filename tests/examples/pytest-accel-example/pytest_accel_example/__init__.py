"""An accelerator of one's own; see `pytest_accel_example.accelerator`."""
