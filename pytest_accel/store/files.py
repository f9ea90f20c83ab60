"""Files that are whole or not there, files that are what they seem, and what becomes of those that are not.

What stands in a file, and what to do where it is wrong, is the caller's story.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: PLAIN_NAME is what a name looks like that can name a file anywhere.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
#: MOST_BYTES is the size of the largest file that is read whole; ours have some kilobytes.
MOST_BYTES = 256 * 2**20


def read_regular(path: Path, *, follow: bool = True) -> bytes:
    """Return the content of a regular file. Raises `OSError` for anything else, without ever waiting for it.

    Without ``follow``, a link counts as something else too.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if status.st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, more than any of ours", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MOST_BYTES)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; a write that fails leaves the older one as it was.

    The file gets the mode of the older one. A link stays, and what it leads to is written. Raises `OSError`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Is no regular file", str(path))
    with written_beside(target, text) as temporary:
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    sync(target.parent)


@contextmanager
def written_beside(path: Path, text: str) -> Iterator[Path]:
    """Give a synced file with this text in the folder of ``path``; what is left of it at the end is removed."""
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        with suppress(OSError):  # the disk that failed the write may fail this too, and the first error says more
            temporary.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Let a name that was made in a folder outlive a machine that dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot; the file itself is safe by then
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def age_s(path: Path, now_s: float | None = None) -> float:
    """Return the seconds since a file was written; NaN where it is gone, which is neither more nor less than any."""
    try:
        return (time.time() if now_s is None else now_s) - path.lstat().st_mtime
    except FileNotFoundError:  # another process has removed it
        return float("nan")


def discard(path: Path) -> None:
    """Remove a folder and all below it, or whatever stands in its place, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def set_aside(path: Path, folder: Path) -> Path:
    """Move what stands at ``path`` into ``folder``, under another name that is still to be recognised.

    An earlier one of that name is replaced. Returns where it lies. Raises `OSError`.
    """
    aside = folder / f"{path.name}.damaged"
    folder.mkdir(parents=True, exist_ok=True)
    discard(aside)
    path.rename(aside)
    return aside
