"""The TensorFlow that is installed, whose place the stand-in beside this file takes, with nothing replaced in it yet.

`preload` is what a fork server calls: it reads no habit and looks for no device.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import installed_package

_HERE = Path(__file__).parent


def take_place() -> Any:
    """Return the installed TensorFlow as the module of its name, imported now unless `preload` has done that."""
    sys.modules["tensorflow"] = _installed()
    return sys.modules["tensorflow"]


def preload() -> None:
    """Import it as the product does, and leave its place to the stand-in."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    take_place()
    del sys.modules["tensorflow"]


@functools.cache
def _installed() -> Any:
    return installed_package.take_place("tensorflow", _HERE)
