"""A run's temporary folder: removed at its end, or by the next run where it could not do that itself.

The folder holds a lock while its process lives. So a folder whose lock is free is what a killed run has left.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from pytest_accel.store.files import age_s, discard
from pytest_accel.store.locks import HALF_MADE_S, if_free, lock_at

#: PREFIX begins the name of each folder, and of nothing else.
PREFIX = "pytest-accel-run-"
_LOCK = "alive.lock"


class Scratch:
    """One folder for the temporary files of a run, below the machine's temporary folder."""

    def __init__(self) -> None:
        """Make the folder. Raises `OSError` where the machine's temporary folder cannot be used."""
        temporary = Path(tempfile.gettempdir())
        temporary.mkdir(parents=True, exist_ok=True)  # somebody may have cleaned up since Python has chosen it
        sweep(temporary)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._life = lock_at(self.path / _LOCK)
        self._life.acquire()

    def close(self) -> None:
        """Remove it. May be called twice."""
        discard(self.path)
        self._life.release()


def sweep(temporary: Path) -> None:
    """Remove the folders of this user's runs that no longer live."""
    for folder in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or just removed
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if (folder / _LOCK).is_file():
                _remove_dead(folder)
            elif age_s(folder) > HALF_MADE_S:
                folder.rmdir()  # killed before it had a lock, so that it is empty


def _remove_dead(folder: Path) -> None:
    with if_free(lock_at(folder / _LOCK)) as free:
        if free:
            discard(folder)
