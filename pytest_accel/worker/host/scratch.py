"""An attendant's temporary folder: removed at its end, or by the next one where it could not do that itself.

Standard library only.
"""

from __future__ import annotations

import os
import tempfile

from pytest_accel.worker.host.device_locks import prepare_folder
from pytest_accel.worker.host.run_folders import RunFolder

#: _ROOM_BYTES is how much has to fit on the disk, at least.
_ROOM_BYTES = 2**20


class Scratch:
    """One folder for the temporary files of workers, below the machine's temporary folder."""

    def __init__(self) -> None:
        """Make the folder. Raises `OSError` where there is no room for it."""
        ours = os.path.join(tempfile.gettempdir(), f"pytest-accel-host-{os.getuid()}")
        prepare_folder(ours, private=True)
        self._folder = RunFolder(ours)
        self.path = self._folder.path
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(_ROOM_BYTES))
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove it. May be called twice."""
        self._folder.remove()
