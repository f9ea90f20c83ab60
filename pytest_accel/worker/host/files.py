"""Files that controllers bring to this machine, each once, kept by the digest of its content.

Below the root are

    objects/<sha256>   one content, whole and read-only; its access time is that of its last use
    runs/<run>/        what one run uses, and what arrives; ``<run>.lock`` is held while the run lives

A run has hard links of its own to all that it uses. So nobody can take that away, and an object with a second link is
one in use: the cap removes the others, the least recently used first. What a dead run leaves behind has a free lock,
and the next run removes it. Where a disk has no hard links, a run has copies. The public methods of `Files` are what a
controller may ask for, in plain data. Standard library only.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Sequence, Tuple, TypeVar, cast

from pytest_accel.worker.file_content import empty_folders, files_below, sha256_of
from pytest_accel.worker.host.run_folders import RunFolder

if TYPE_CHECKING:
    from typing import Callable

    from pytest_accel.worker.wire import Plain


_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: _NO_LINK are the errors of a disk that has no hard links, or no more of them for this file.
_NO_LINK = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
#: _LOOK_EACH is the share of the limit that may arrive between two looks at the size of all objects.
_LOOK_EACH = 0.01
#: _SAMPLE_BYTES is how much of a chunk is compressed to see whether all of it shall be.
_SAMPLE_BYTES = 1 << 14
#: _PAYS is the share of its size that a chunk has to shrink to. Weights keep 0.91 of theirs, at 20 MB/s; sources keep
#: 0.34, whole numbers as 64 bits 0.37, and pixels as float32 0.44.
_PAYS = 0.75
_FASTEST = 1
_READ_ONLY = 0o444

_Operation = TypeVar("_Operation", bound="Callable[..., Plain]")


class Unkept(Exception):
    """A file cannot be kept or given here; the message says why and what to do."""


def default_root(environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder of this user's cache."""
    above = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(above, "pytest-accel", "files")


def deflated(chunk: bytes) -> Plain:
    """Return a chunk as it travels: compressed where that pays."""
    middle = max(0, (len(chunk) - _SAMPLE_BYTES) // 2)
    sample = chunk[middle : middle + _SAMPLE_BYTES]
    pays = len(zlib.compress(sample, _FASTEST)) < _PAYS * len(sample)
    return {"data": zlib.compress(chunk, _FASTEST) if pays else chunk, "deflated": pays}


def inflated(data: bytes, is_deflated: bool, most_bytes: int) -> bytes:
    """Return a chunk as it was. Raises `Unkept` for one of more than ``most_bytes``, or one that is damaged."""
    try:
        chunk = zlib.decompressobj().decompress(data, most_bytes + 1) if is_deflated else data
    except zlib.error as error:
        raise Unkept(f"a part of a file has arrived damaged ({error}): run again") from None
    if len(chunk) > most_bytes:
        raise Unkept(f"a part of a file has more than the {most_bytes} bytes that it may have: run again")
    return chunk


def inside(folder: str, name: str) -> str:
    """Return the path of a file in ``folder``. Raises `Unkept` for a name that could lead out of it."""
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise Unkept(f"{name!r} is no name of a file inside a folder: rename it")
    return os.path.join(folder, *parts)


def _in_words(operation: _Operation) -> _Operation:
    """Turn the system's errors of an operation into an `Unkept` that says what to do."""

    @functools.wraps(operation)
    def told(cache: Files, /, *args: Any, **params: Any) -> Plain:
        try:
            return operation(cache, *args, **params)
        except OSError as error:
            if error.errno in _FULL:
                raise cache._full(error.strerror or "it is full") from error
            raise Unkept(
                f"the folder {cache._root} cannot be used: {error.strerror or error} ({error.filename}); make it "
                "writable for this user, or set XDG_CACHE_HOME there to another folder"
            ) from error

    return cast("_Operation", told)


class Files:
    """The cache below ``root``, used by one run, and kept under ``limit_mb`` megabytes.

    It is safe with any number of runs at a time, each with a `Files` of its own. Every method raises `Unkept`.
    """

    def __init__(self, root: str, limit_mb: float) -> None:
        self._root = root
        self._limit_bytes = limit_mb * 1e6
        self._arriving: Dict[str, Any] = {}
        #: _sound has the size and time that a content had when its digest was found right, by digest.
        self._sound: Dict[str, Tuple[int, int]] = {}
        self._arrived_bytes = float("inf")  # before the first look
        self._folders = 0
        self._open()

    @_in_words
    def _open(self) -> Plain:
        for folder in (self._objects, self._runs):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._run = RunFolder(self._runs)
        for folder in (self._held, self._made, self._arrivals):
            os.makedirs(folder, mode=0o700)
        return {}

    @property
    def _objects(self) -> str:
        return os.path.join(self._root, "objects")

    @property
    def _runs(self) -> str:
        return os.path.join(self._root, "runs")

    @property
    def _held(self) -> str:
        return os.path.join(self._run.path, "held")

    @property
    def _made(self) -> str:
        return os.path.join(self._run.path, "folders")

    @property
    def _arrivals(self) -> str:
        return os.path.join(self._run.path, "arriving")

    def free_space(self) -> Plain:
        """Return how many bytes are free, and in which folder."""
        return {"free": _free_bytes(self._root), "folder": self._root}

    @_in_words
    def hold_contents(self, sizes: Mapping[str, int], release: Sequence[str] = ()) -> Plain:
        """Use contents from now on, given with their sizes by digest, and those to ``release`` no more.

        Returns which of them are missing and have to be received, and the folder in which all lie by their digests.
        What was kept by an earlier run is held to its digest once.
        """
        for digest in release:
            _unlink(_named(self._held, digest))
        missing = [digest for digest in sizes if not self._has(digest)]
        self._make_room(sum(sizes[digest] for digest in missing))
        return {"missing": missing, "folder": self._held}

    @_in_words
    def receive_parts(self, parts: Sequence[Plain], most_bytes: int) -> Plain:
        """Take parts of contents, each of ``most_bytes`` at most, in their order.

        A part is ``{"digest", "name", "first", "last", "data", "deflated"}``; ``name`` is for messages.
        """
        for part in parts:
            digest = part["digest"]
            chunk = inflated(part["data"], part["deflated"], most_bytes)
            if part["first"]:
                self._arriving[digest] = hashlib.sha256()
            self._arriving[digest].update(chunk)
            with self._arrival(digest), open(_named(self._arrivals, digest), "wb" if part["first"] else "ab") as file:
                file.write(chunk)
            if part["last"]:
                self._arrived(digest, part["name"])
        return {}

    @_in_words
    def lay_out(self, files: Mapping[str, str], folders: Sequence[str] = ()) -> Plain:
        """Make a folder with these files, given as digests by name, which have to be held; empty ``folders`` too.

        The same files are given the same folder again. What a program has added in there stays.
        """
        listed = json.dumps([sorted(files.items()), sorted(folders)])
        folder = os.path.join(self._made, hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()[:32])
        os.makedirs(folder, exist_ok=True)
        for name in folders:
            os.makedirs(inside(folder, name), exist_ok=True)
        for name, digest in files.items():
            path, held = inside(folder, name), _named(self._held, digest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.lexists(path) or _seen(path) != _seen(held):
                _unlink(path)
                _link(held, path)
        return {"folder": folder}

    @_in_words
    def empty_folder(self) -> Plain:
        """Make a folder for what will be made here."""
        self._folders += 1
        folder = os.path.join(self._made, str(self._folders))
        os.makedirs(folder)
        return {"folder": folder}

    @_in_words
    def keep_folder(self, folder: str) -> Plain:
        """Keep what was made in a folder, from now on in use, and return digest and size of each file by its name."""
        made = Path(self._own(folder))
        files = {_sendable(name): self._adopted(path) for name, path in files_below(made)}
        return {"files": files, "folders": [_sendable(name) for name in empty_folders(made)]}

    @_in_words
    def read_content(self, digest: str, at: int, most_bytes: int) -> Plain:
        """Return a part of a content that is held, as it travels."""
        with open(_named(self._held, digest), "rb") as file:
            file.seek(at)
            return deflated(file.read(most_bytes))

    @_in_words
    def drop_folder(self, folder: str) -> Plain:
        """Remove a folder that was made here. What of it was kept stays in the cache."""
        shutil.rmtree(self._own(folder), ignore_errors=True)
        return {}

    def let_go(self) -> Plain:
        """Use nothing any more. A process that ends does the same, and the next run tidies up after it."""
        self._run.remove()
        return {}

    def _full(self, reason: str, needed_bytes: int = 0) -> Unkept:
        """Return what is told where there is no space."""
        free_bytes = _free_bytes(self._root)
        needed = f" and {needed_bytes / 1e6:.1f} MB are to come" if needed_bytes else ""
        return Unkept(
            f"{reason}: {free_bytes / 1e6:.1f} MB are free for {self._root}{needed}; free some space there, or set "
            "XDG_CACHE_HOME there to a folder on another disk"
        )

    def _has(self, digest: str) -> bool:
        """Return whether the content is here and sound, and hold it. A damaged one is removed."""
        held, kept = _named(self._held, digest), _named(self._objects, digest)
        if not os.path.exists(held):
            try:
                _link(kept, held)
            except FileNotFoundError:
                return False
        if not self._is_sound(digest):
            _unlink(held)
            _unlink(kept)
            return False
        _mark_used(kept)
        return True

    def _is_sound(self, digest: str) -> bool:
        held = _named(self._held, digest)
        seen = _seen(held)
        if self._sound.get(digest) != seen and sha256_of(Path(held)) != digest:
            return False
        self._sound[digest] = seen
        return True

    @contextmanager
    def _arrival(self, digest: str) -> Iterator[None]:
        """Let go of what has arrived so far where more of it cannot be written: others may need the space."""
        try:
            yield
        except OSError:
            _unlink(_named(self._arrivals, digest))
            raise

    def _arrived(self, digest: str, name: str) -> None:
        """Hold and keep what has arrived whole."""
        arriving, found = _named(self._arrivals, digest), self._arriving.pop(digest).hexdigest()
        if found != digest:
            _unlink(arriving)
            raise Unkept(f"{name} has not arrived as it was: it was changed meanwhile, or damaged; run again")
        held = _named(self._held, digest)
        os.chmod(arriving, _READ_ONLY)
        os.replace(arriving, held)
        self._keep(digest)

    def _keep(self, digest: str) -> None:
        """Keep what is held for other runs too, and look at the size of all now and then."""
        held = _named(self._held, digest)
        self._sound[digest] = _seen(held)
        _link(held, _named(self._objects, digest))
        self._arrived_bytes += os.path.getsize(held)
        if self._arrived_bytes > _LOOK_EACH * self._limit_bytes:
            self._arrived_bytes = 0
            kept = list(_contents(self._objects))
            self._evict(sum(status.st_size for _, status in kept) - self._limit_bytes)

    def _adopted(self, path: Path) -> List[Any]:
        """Hold and keep a file that was made here, and return its digest and size."""
        digest, size = sha256_of(path), path.stat().st_size
        if not self._has(digest):
            arriving = _named(self._arrivals, digest)
            _unlink(arriving)
            if _is_only_name(path):
                _link(str(path), arriving)
            else:
                shutil.copyfile(str(path), arriving)
            os.chmod(arriving, _READ_ONLY)
            os.replace(arriving, _named(self._held, digest))
            self._keep(digest)
        return [digest, size]

    def _make_room(self, needed_bytes: int) -> None:
        """Remove what nobody uses where the disk has too little space for what is to come."""
        self._evict(needed_bytes - _free_bytes(self._root))
        if needed_bytes > _free_bytes(self._root):
            raise self._full("the disk has too little space", needed_bytes)

    def _evict(self, too_many_bytes: float) -> None:
        """Remove what no living run uses, the least recently used first, until so many bytes are gone."""
        if too_many_bytes <= 0:
            return
        unused = [(path, status) for path, status in _contents(self._objects) if status.st_nlink == 1]
        for path, status in sorted(unused, key=lambda content: content[1].st_atime_ns):
            if too_many_bytes <= 0:
                break
            _unlink(path)
            too_many_bytes -= status.st_size

    def _own(self, folder: str) -> str:
        """Return the path of a folder that was made for this run. Raises `Unkept` for any other."""
        path = os.path.realpath(folder)
        if os.path.dirname(path) != os.path.realpath(self._made):
            raise Unkept(f"{folder} is no folder that was made for this run")
        return path


def _named(folder: str, digest: str) -> str:
    """Return the path of a content. Raises `Unkept` for what is no digest, and could lead anywhere."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Unkept(f"{digest!r} is no sha256")
    return os.path.join(folder, digest)


def _sendable(name: str) -> str:
    """Return the name of a file. Raises `Unkept` where it is no text."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise Unkept(f"{name!r} is no UTF-8 text, so the file cannot be sent: rename it") from None
    return name


def _seen(path: str) -> Tuple[int, int]:
    """Return what changes when a file is written to."""
    status = os.lstat(path)
    return status.st_size, status.st_mtime_ns


def _is_only_name(path: Path) -> bool:
    """Return whether a file is ours and has no other name, by which it could be changed later."""
    status = path.lstat()
    return str(path) == os.path.realpath(str(path)) and status.st_nlink == 1 and status.st_uid == os.geteuid()


def _link(path: str, other: str) -> None:
    """Give a file another name, or copy it where the disk has no hard links. An existing ``other`` stays."""
    try:
        os.link(path, other)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        whole = f"{other}.{secrets.token_hex(4)}"
        shutil.copy2(path, whole)
        os.replace(whole, other)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _mark_used(path: str) -> None:
    """Note the time as that of the last use. The time of the last change stays, since it tells of changes."""
    with suppress(FileNotFoundError):  # evicted meanwhile, which takes nothing from who holds it
        os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))


def _free_bytes(folder: str) -> int:
    """Return the free bytes of the disk that a folder is on, or would be."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def _contents(folder: str) -> Iterator[Tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another run has just evicted it
                yield entry.path, os.lstat(entry.path)
