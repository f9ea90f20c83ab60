"""Small files in which Linux tells what a machine is and does."""

from __future__ import annotations

import os
from typing import List, Union

#: Path is what names a file or folder.
Path = Union[str, "os.PathLike[str]"]


def read(*path: Path) -> str:
    """The stripped text of a file that the kernel may not have, or not show: empty in that case."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def listed(*path: Path) -> List[str]:
    """The names in a folder that may not be there, or not for us: none in that case."""
    try:
        return os.listdir(os.path.join(*path))
    except OSError:
        return []
