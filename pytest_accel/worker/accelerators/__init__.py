"""One file for each accelerator, each a subclass of `pytest_accel.worker.accelerator.Accelerator`."""
