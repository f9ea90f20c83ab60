"""What files and folders hold: the digest of a file, and every file of a folder by its name in there.

Standard library only. What a digest is good for is the caller's story.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Iterator, List, Tuple

#: _CHUNK_BYTES is how much of a file is in memory at a time.
_CHUNK_BYTES = 1 << 20


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file's content. Raises `OSError`."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def files_below(folder: Path) -> Iterator[Tuple[str, Path]]:
    """Yield every file by its path inside; a folder that is a link belongs to it like any other."""
    for where, _, files in _walk(folder):
        for path in (where / name for name in files):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def empty_folders(folder: Path) -> List[str]:
    """Return the folders with nothing inside, by their paths in ``folder``."""
    return [
        where.relative_to(folder).as_posix()
        for where, folders, files in _walk(folder)
        if where != folder and not folders and not files
    ]


def _walk(folder: Path) -> Iterator[Tuple[Path, List[str], List[str]]]:
    """Yield each folder with the names in it. A link that leads back is not followed."""
    seen = {folder.resolve()}
    for where, folders, files in os.walk(folder, followlinks=True):
        inner = {name: (Path(where) / name).resolve() for name in folders}
        folders[:] = sorted(name for name, target in inner.items() if target not in seen)
        seen.update(inner.values())
        yield Path(where), list(inner), sorted(files)
