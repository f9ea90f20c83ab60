"""The TensorFlow that is installed, whose place the stand-in beside this file takes, with nothing replaced in it yet.

`preload` is what a fork server calls: it reads no habit and looks for no device.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_imported: list[Any] = []


def take_place() -> Any:
    """Return the installed TensorFlow as the module of its name, imported now unless `preload` has done that."""
    if not _imported:
        _imported.append(_import())
    sys.modules["tensorflow"] = _imported[0]
    return _imported[0]


def preload() -> None:
    """Import it as the product does, and leave its place to the stand-in."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    take_place()
    del sys.modules["tensorflow"]


def _import() -> Any:
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("tensorflow", elsewhere)
    if spec is None or spec.loader is None:
        raise ImportError("No module named 'tensorflow'", name="tensorflow")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tensorflow"] = module
    spec.loader.exec_module(module)
    return module
