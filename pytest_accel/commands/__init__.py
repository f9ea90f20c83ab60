"""The console script `pytest-accel`, one file for each command."""
