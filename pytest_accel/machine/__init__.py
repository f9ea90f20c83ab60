"""This machine: which one it is, and what disturbs it while it measures."""
