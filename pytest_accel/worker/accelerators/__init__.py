"""Subclasses of `pytest_accel.worker.accelerator.Accelerator`, in one folder for each family of SDK."""
