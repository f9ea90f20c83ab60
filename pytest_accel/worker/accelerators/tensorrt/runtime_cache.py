"""Kernels that TensorRT for RTX compiles on the GPU when an engine is loaded, kept in a file for later loads.

NVIDIA calls it a runtime cache. A file from another GPU, driver or release is not taken, and is replaced.
"""

from __future__ import annotations

from typing import Any

from pytest_accel.worker.accelerators.tensorrt import kept_files
from pytest_accel.worker.accelerators.tensorrt.log import done


class RuntimeCache:
    """The kernels in the file ``path``, for all contexts that are made with a configuration that has them."""

    def __init__(self, path: str, logger: Any) -> None:
        self._path, self._logger = path, logger
        self._cache: Any = None
        self._stored = b""

    def add_to(self, config: Any) -> None:
        """Have a context that is made with ``config`` take its kernels from here, and leave new ones here."""
        if self._cache is None:
            self._cache = done(config.create_runtime_cache(), "make a runtime cache", self._logger)
            self._stored = kept_files.read(self._path)
            if self._stored:
                self._cache.deserialize(self._stored)
        done(config.set_runtime_cache(self._cache), f"use the runtime cache {self._path}", self._logger)

    def keep(self) -> None:
        """Write what has been compiled since, if anything was."""
        if self._cache is None:
            return
        kernels = bytes(done(self._cache.serialize(), "store its runtime cache", self._logger))
        if kernels != self._stored:
            kept_files.replace(self._path, kernels)
            self._stored = kernels

    def drop(self) -> None:
        """Free the kernels in memory, once no context is left that was made with them."""
        self._cache = None
