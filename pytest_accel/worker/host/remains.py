"""What the workers of a machine leave on disk: the end of their output, their stacks, their temporary files.

Standard library only. Nothing here starts, kills or talks to a worker.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Dict, Sequence

from pytest_accel.worker.redaction import redacted

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

_LOG_CAP_BYTES = 4 * 2**20
_TAIL_BYTES = 8 * 2**10
#: _STACKS_S is the number of seconds that a worker's stacks are waited for: it may be past writing.
_STACKS_S = 1.0


class Remains:
    """What each worker leaves below ``folder``. A public method is an operation.

    A worker is known by its ``temporary`` folder. Its log is kept small, and what was cut off of it ends here.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(folder)
        self._cut_off: Dict[str, bytes] = {}

    def prepare_worker(self) -> Plain:
        """Make the places that a new worker writes to, and return their paths."""
        os.makedirs(self._folder, exist_ok=True)
        # A short name: an SDK may make a socket in there, whose whole path may have 107 bytes and no more.
        temporary = tempfile.mkdtemp(dir=self._folder)
        for path in (_log(temporary), _stacks(temporary)):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._cut_off[temporary] = b""
        return {"log": _log(temporary), "stacks": _stacks(temporary), "temporary": temporary}

    def restore_folder(self, temporary: str) -> Plain:
        """Make the folder of temporary files again where somebody has cleaned up behind a living worker."""
        os.makedirs(temporary, mode=0o700, exist_ok=True)
        return {}

    def trim_log(self, temporary: str) -> Plain:
        """Empty the log when it has grown too long; the worker appends, so it goes on at the start."""
        if _size_of(_log(temporary)) > _LOG_CAP_BYTES:
            self._cut_off[temporary] = _end_of(_log(temporary))
            os.truncate(_log(temporary), 0)
        return {}

    def trim_logs(self) -> Plain:
        """Do that for all workers."""
        for temporary in list(self._cut_off):
            self.trim_log(temporary)
        return {}

    def wait_for_stacks(self, temporary: str) -> Plain:
        """Wait until a worker has written its stacks, but not long."""
        size, until = -1, time.monotonic() + _STACKS_S
        while time.monotonic() < until and not 0 < size == _size_of(_stacks(temporary)):
            size = _size_of(_stacks(temporary))
            time.sleep(0.02)
        return {}

    def last_words(self, temporary: str, secrets: Sequence[str]) -> Plain:
        """Return the stacks and the end of the log, ready to print and without ``secrets`` and credentials."""
        output = self._cut_off.get(temporary, b"") + _end_of(_log(temporary))
        parts = {"stacks": _start_of(_stacks(temporary)), "last output": output[-_TAIL_BYTES:]}
        texts = {title: redacted(content.decode(errors="replace").strip(), secrets) for title, content in parts.items()}
        return {"text": "\n\n".join(f"{title}:\n{text}" for title, text in texts.items() if text)}

    def remove_remains(self, temporary: str) -> Plain:
        """Delete all of it, once the worker has ended and writes no more."""
        for path in (_log(temporary), _stacks(temporary)):
            with suppress(FileNotFoundError):
                os.unlink(path)
        shutil.rmtree(temporary, ignore_errors=True)
        self._cut_off.pop(temporary, None)
        return {}


def _log(temporary: str) -> str:
    return f"{temporary}.log"


def _stacks(temporary: str) -> str:
    return f"{temporary}.stacks"


def _size_of(path: str) -> int:
    """Return the size of a file in bytes; 0 where somebody has cleaned up the temporary folder."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _start_of(path: str) -> bytes:
    if not _size_of(path):
        return b""
    with open(path, "rb") as file:
        return file.read(_TAIL_BYTES)


def _end_of(path: str) -> bytes:
    size = _size_of(path)
    if not size:
        return b""
    with open(path, "rb") as file:
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES)
