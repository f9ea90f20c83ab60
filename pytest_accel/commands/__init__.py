"""This is the console script `pytest-accel`, with one file for each command."""
