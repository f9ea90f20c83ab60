"""The package that is installed, for a stand-in that has its name and computes with it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any


def take_place(name: str, stand_in: Path) -> Any:
    """Import the package that is found without the folder of its stand-in, as the module of its name."""
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != stand_in]
    spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
    if spec is None or spec.loader is None:
        raise ImportError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
