"""The runtime API under the name that it had until cuda-python 12.8."""

import os

if os.environ.get("STANDIN_CUDA_PYTHON") != "12.6":
    raise ModuleNotFoundError("No module named 'cuda.cudart'", name="cuda.cudart")

from cuda._runtime import *  # noqa: F403
