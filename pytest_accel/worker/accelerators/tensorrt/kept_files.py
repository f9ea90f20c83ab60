"""Files that several builds or loads share: the times of kernels, and the kernels themselves."""

from __future__ import annotations

import os


def read(path: str) -> bytes:
    """Return the content of a file, nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def replace(path: str, content: bytes) -> None:
    """Write a file that another process never reads half of."""
    written = f"{path}.{os.getpid()}"
    with open(written, "wb") as file:
        file.write(content)
    os.replace(written, path)
