"""Files as a worker has them: those of this machine, where it runs here.

For a worker on another machine `pytest_accel.processes.host_files` has the same face.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from pytest_accel.worker import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from pytest_accel.worker.wire import Packed


class WorkerFiles(Protocol):
    """How files and large arrays come to a worker, and how what it makes comes from there."""

    def there(self, path: Path) -> str:
        """Bring a file or folder to where the worker reads it, and return its path there."""

    def made(self, folder: Path) -> AbstractContextManager[str]:
        """Give the path of an empty folder for the worker to fill; what is in it at the end comes into ``folder``."""

    def arrays(self, batches: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Packed]]:
        """Return the batches of one request as plain data. Raises `pytest_accel.worker.wire.NotNumeric`."""


class FilesHere:
    """The face for a worker on this machine: it reads and writes what we do."""

    def there(self, path: Path) -> str:
        """Return the path."""
        return str(path)

    def made(self, folder: Path) -> AbstractContextManager[str]:
        """Give the path of the folder."""
        return nullcontext(str(folder))

    def arrays(self, batches: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Packed]]:
        """Return the arrays with all that is in them."""
        return [wire.pack_all(batch) for batch in batches]
