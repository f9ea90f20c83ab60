"""An attendant's temporary folder: removed at its end, or by the next one where it could not do that itself.

It holds a lock while its process lives. So a folder whose lock is free is what a killed attendant has left. Standard
library only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from typing import Optional

#: PREFIX begins the name of each folder, and of nothing else.
PREFIX = "pytest-accel-host-"
_LOCK = "alive.lock"
#: _HALF_MADE_S is the age in seconds from which a folder without a lock is what a killed process has left.
_HALF_MADE_S = 3600.0
#: _ROOM_BYTES is how much has to fit on the disk, at least.
_ROOM_BYTES = 2**20


class Scratch:
    """One folder for the temporary files of workers, below the machine's temporary folder."""

    def __init__(self) -> None:
        """Make the folder. Raises `OSError` where there is no room for it."""
        temporary = tempfile.gettempdir()
        sweep(temporary)
        self.path = tempfile.mkdtemp(prefix=PREFIX, dir=temporary)
        try:
            self._life = _locked(os.path.join(self.path, _LOCK))
            _require_room(self.path)
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove it. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(temporary: str) -> None:
    """Remove the folders of this user's attendants that no longer live."""
    for name in os.listdir(temporary):
        folder = os.path.join(temporary, name)
        with suppress(OSError):  # it was just removed
            if name.startswith(PREFIX) and not os.path.islink(folder) and os.stat(folder).st_uid == os.getuid():
                _remove_dead(folder)


def _remove_dead(folder: str) -> None:
    lock = os.path.join(folder, _LOCK)
    if not os.path.exists(lock):
        if time.time() - os.stat(folder).st_mtime > _HALF_MADE_S:
            os.rmdir(folder)  # killed before it had a lock, so that it is empty
        return
    life = _locked(lock)
    if life is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(life)


def _locked(path: str) -> Optional[int]:
    """Return the lock's open file, None where a living process holds it."""
    life = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(life)
        return None
    return life


def _require_room(folder: str) -> None:
    """Raise `OSError` where a file of `_ROOM_BYTES` does not fit."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_ROOM_BYTES))
