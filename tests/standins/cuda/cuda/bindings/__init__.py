"""Came with cuda-python 12.8."""

import os

if os.environ.get("STANDIN_CUDA_PYTHON") == "12.6":
    raise ModuleNotFoundError("No module named 'cuda.bindings'", name="cuda.bindings")
