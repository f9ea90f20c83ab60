"""An attendant's temporary folder: removed at its end, or by the next one where it could not do that itself.

Standard library only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress

from pytest_accel.worker.host.device_locks import prepare_folder
from pytest_accel.worker.host.run_folders import begin_run, remove_dead_runs

#: _ROOM_BYTES is how much has to fit on the disk, at least.
_ROOM_BYTES = 2**20


class Scratch:
    """One folder for the temporary files of workers, below the machine's temporary folder."""

    def __init__(self) -> None:
        """Make the folder. Raises `OSError` where there is no room for it."""
        ours = os.path.join(tempfile.gettempdir(), f"pytest-accel-host-{os.getuid()}")
        prepare_folder(ours, private=True)
        remove_dead_runs(ours)
        self.path, self._life = begin_run(ours)
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(_ROOM_BYTES))
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove it, and the file of its lock, which goes with this process."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}.lock")
