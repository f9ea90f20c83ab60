"""How calls are timed in a worker, one after the other or side by side."""
