"""The compile cache: what is slow to make is made once, by one process, and shared by all.

Artefacts, exported models and reference outputs lie here under a key that says everything they were made from. Below
the root are

    entries/<key>/      one finished entry: ``content/`` and ``manifest.json``, whose time is that of its last use
    building/<key>/     an entry being made or thrown away, seen by the holder of the key's lock only
    damaged/            entries that were not as they had been made, for whoever wants to know why
    locks/<key>.lock    held while an entry is looked up, made or removed
    in-use/<process>/   a marker for each entry a living process uses; ``<process>.lock`` is held while it lives

Entries appear and vanish by one rename, so nobody ever sees half of one. Locks die with their process, so nothing that
a killed process leaves behind is in anybody's way. What a key is made of is the caller's to decide.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import platformdirs

from pytest_accel.facts.errors import AccelError, CacheError
from pytest_accel.facts.fact import Fact, OptionValue
from pytest_accel.store.files import discard, read_regular, set_aside
from pytest_accel.store.locks import ENDLESS, FileClaim, Patience, Uses, if_free, lock_at, take
from pytest_accel.worker.file_content import sha256_of

if TYPE_CHECKING:
    from pytest_accel.facts.settings import Settings

#: HASHED_AT_FIRST_USE_MB is the largest entry, in MB, whose contents are hashed at its first use in a process. Reading
#: gigabytes takes longer than many a compilation, so a larger entry is hashed only where the time of a file has
#: changed.
HASHED_AT_FIRST_USE_MB = 256

_log = logging.getLogger("pytest_accel")
_CONTENT = "content"
_VALUE = "value.json"
_Value = TypeVar("_Value")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: _NEARLY_NONE_BYTES is so little space that a program that fails there has failed for want of it.
_NEARLY_NONE_BYTES = 1 << 16
#: _OF_THIS_PROCESS are errors that say nothing of the file: this process has too many open, or too little memory.
_OF_THIS_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True)
class Entry:
    """A sound entry, protected from eviction until it is released. ``hit`` says that it was there already.

    ``digest`` is that of the names and contents of its files when it was made.
    """

    key: str
    path: Path
    size_mb: float
    hit: bool
    digest: str


@dataclass(frozen=True)
class Stored:
    """One line of the cache's listing; ``last_used`` is in seconds since the epoch."""

    key: str
    label: str
    size_mb: float
    last_used: float
    in_use: bool


Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class StoredFile(Fact, frozen=True, kw_only=True):
    """What a file was when it was put into the cache."""

    size: Size
    mtime_ns: int
    sha256: str


class Manifest(Fact, frozen=True, kw_only=True):
    """What belongs to an entry. Files that an SDK adds later, such as a timing cache, are none of ours."""

    label: str
    files: dict[str, StoredFile]

    @property
    def size_mb(self) -> float:
        """Size of the contents in units of a million bytes."""
        return sum(file.size for file in self.files.values()) / 1e6

    @property
    def digest(self) -> str:
        """The sha256 of the names and contents of all files."""
        listed = sorted((name, file.sha256) for name, file in self.files.items())
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def root_of(settings: Settings) -> Path:
    """Return where a session's compile cache is."""
    return settings.cache_dir or default_root()


def default_root() -> Path:
    """Return the user's own cache folder."""
    return platformdirs.user_cache_path("pytest-accel")


def artefact_key(
    model_digest: str,
    accelerator: str,
    options: Mapping[str, OptionValue],
    *,
    versions: Mapping[str, str],
    made_for: str,
    code_digest: str,
    calibration_digest: str = "",
) -> str:
    """Return the key of a compiled model: a digest of all that compiling depends on.

    ``options`` are those that are compiled in, ``versions`` those of the SDK and compiler. ``made_for`` is the
    fingerprint of the hardware, or the kind of device where the compiler works without it. ``code_digest`` is that of
    the accelerator's code and ours, which decide how the SDK is asked.
    """
    return cache_key(
        "artefact",
        model=model_digest,
        accelerator=accelerator,
        options=dict(options),
        versions=dict(versions),
        hardware=made_for,
        code=code_digest,
        calibration=calibration_digest,
    )


def cache_key(kind: str, **made_of: object) -> str:
    """Return the key of an entry of any other kind: a digest of the kind and of all that it depends on, by name."""
    return hashlib.sha256(json.dumps([kind, made_of], sort_keys=True).encode()).hexdigest()[:32]


class Damaged(Exception):
    """An entry is not what was put into the cache; the message says in what way."""


class Cache:
    """A folder of entries, shared by any number of processes and kept under ``limit_mb``.

    ``warn`` gets a sentence about each damaged entry, which is set aside: a bad byte costs the entry that has it, and
    no other. ``patience`` says how long an entry is waited for that another process makes. Every method raises
    `CacheError` when the folder cannot be used, with what to do about it, and `LockTimeout`.
    """

    def __init__(
        self,
        root: Path,
        limit_mb: float,
        *,
        warn: Callable[[str], object] = _log.warning,
        patience: Patience = ENDLESS,
    ) -> None:
        self.root = root
        self.limit_mb = limit_mb
        self._warn = warn
        self._patience = patience
        self._swept = False
        self._uses = Uses(root / "in-use")
        self._hashed: set[str] = set()
        #: What was found sound and has not been released since, so that nobody may have evicted it.
        self._held: dict[str, Entry] = {}
        self._size_mb: float | None = None

    def entry(self, key: str, build: Callable[[Path], object], *, label: str) -> Entry:
        """Return the entry of this key. Where there is none, or a damaged one, ``build`` fills an empty folder with it.

        Other processes that want the same entry wait meanwhile. Whatever ``build`` raises is passed on, and then
        nothing is left of the attempt. ``label`` is what people read in listings.
        """
        if (held := self._still_held(key)) is not None:
            return held
        with self._locked(key, label):
            found = self._find(key, "is made again")
            if found is not None:
                return found
            made = self._make(key, build, label)
        with _with_advice(self.root):
            self._keep_under_limit(made)
        return made

    def value(self, key: str, shape: type[_Value], make: Callable[[], _Value], *, label: str) -> _Value:
        """Return the value of this key, which ``make`` gives when there is none. It is kept as JSON of a ``shape``."""

        def build(folder: Path) -> None:
            (folder / _VALUE).write_bytes(msgspec.json.encode(make()))

        try:
            return _decoded((self.entry(key, build, label=label).path / _VALUE).read_bytes(), shape)
        except Damaged as damage:  # by another release, since the bytes are those that were put there
            with self._locked(key, label), _with_advice(self.root):
                self._held.pop(key, None)
                self._set_aside(key, f"{_VALUE}: {damage}", "is made again")
        return _decoded((self.entry(key, build, label=label).path / _VALUE).read_bytes(), shape)

    def lookup(self, key: str) -> Entry | None:
        """Return the entry of this key if there is a sound one."""
        if (held := self._still_held(key)) is not None:
            return held
        with self._locked(key, key):
            return self._find(key, "is not used")

    def release(self, key: str) -> None:
        """Say that this process no longer uses the entry, so that it may be evicted."""
        self._held.pop(key, None)
        with _with_advice(self.root):
            self._uses.drop(key)

    def release_all(self) -> None:
        """Say that this process no longer uses any entry."""
        self._held.clear()
        with _with_advice(self.root):
            self._uses.drop_all()

    def close(self) -> None:
        """Release every entry. The end of the process does the same."""
        self._held.clear()
        with _with_advice(self.root):
            self._uses.close()

    def entries(self) -> tuple[Stored, ...]:
        """Return all entries, the least recently used first."""
        with _with_advice(self.root):
            return tuple(sorted(self._stored(), key=lambda stored: stored.last_used))

    def prune(self, limit_mb: float) -> tuple[Stored, ...]:
        """Evict the least recently used entries until the rest fits; those in use stay.

        What was damaged and set aside goes first. A limit of 0 empties the cache. Returns what was evicted.
        """
        evicted = []
        with _with_advice(self.root):
            self._sweep()
            discard(self._aside)
            stored = sorted(self._stored(), key=lambda stored: stored.last_used)
            self._size_mb = sum(entry.size_mb for entry in stored)
            for entry in stored:
                if self._size_mb <= limit_mb and limit_mb > 0:  # a damaged entry counts as 0 MB
                    break
                if self._evict(entry.key):
                    evicted.append(entry)
                    self._size_mb -= entry.size_mb
        return tuple(evicted)

    def content(self, key: str) -> Path:
        """Return where the files of an entry lie, or would; `lookup` protects them from eviction."""
        return self._folder(key) / _CONTENT

    def _still_held(self, key: str) -> Entry | None:
        """Return what this process holds, unless somebody has removed it all the same."""
        held = self._held.get(key)
        if held is not None and not held.path.is_dir():
            self._hashed.discard(key)
            del self._held[key]
            return None
        return held

    @property
    def _aside(self) -> Path:
        return self.root / "damaged"

    def _folder(self, key: str) -> Path:
        return self.root / "entries" / key

    def _lock_file(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"

    @contextmanager
    def _locked(self, key: str, label: str) -> Iterator[None]:
        if not key or key.startswith(".") or not all(c.isalnum() or c in "-_." for c in key):
            raise ValueError(f"{key!r} cannot name a file; a key has letters, digits and '-_.' only")
        with _with_advice(self.root):
            if not self._swept:
                self._swept = True
                self._sweep()
            lock = lock_at(self._lock_file(key))
            take(FileClaim(lock), f"the compile cache's entry {label or key}", self._patience)
        try:
            yield
        finally:
            lock.release()

    def _find(self, key: str, consequence: str) -> Entry | None:
        """Return the sound entry of a locked key, from now on in use; a damaged one is reported and set aside."""
        folder = self._folder(key)
        with _with_advice(self.root):
            if not os.path.lexists(folder):
                return None
            try:
                manifest = _manifest(folder)
                self._require_sound(key, folder / _CONTENT, manifest)
            except Damaged as damage:
                self._set_aside(key, str(damage), consequence)
                return None
            os.utime(folder / "manifest.json")
            self._uses.add(key)
        found = self._held[key] = Entry(key, folder / _CONTENT, manifest.size_mb, hit=True, digest=manifest.digest)
        return found

    def _set_aside(self, key: str, damage: str, consequence: str) -> None:
        folder = self._folder(key)
        aside = set_aside(folder, self._aside)
        self._hashed.discard(key)
        self._warn(
            f"the compile cache's entry {folder} was damaged ({damage}) and {consequence}; the damaged one is kept as "
            f"{aside} until `pytest-accel cache prune`"
        )

    def _require_sound(self, key: str, content: Path, manifest: Manifest) -> None:
        """Raise `Damaged` for what is wrong with an entry's files; `HASHED_AT_FIRST_USE_MB` tells how near it looks."""
        thorough = key not in self._hashed and manifest.size_mb <= HASHED_AT_FIRST_USE_MB
        if content.is_symlink():
            raise Damaged(f"{_CONTENT} is a link")
        for name, stored in manifest.files.items():
            status = _status(content, name)
            if status.st_size != stored.size:
                raise Damaged(f"{name} has {status.st_size} bytes instead of {stored.size}")
            if (thorough or status.st_mtime_ns != stored.mtime_ns) and sha256_of(content / name) != stored.sha256:
                raise Damaged(f"{name} has other contents")
        self._hashed.add(key)

    def _make(self, key: str, build: Callable[[Path], object], label: str) -> Entry:
        scratch = self.root / "building" / key
        content = scratch / _CONTENT
        try:
            with _with_advice(self.root):
                discard(scratch)  # of a process that was killed
                content.mkdir(parents=True)
            with _with_advice(self.root, only=_FULL), self._naming_a_full_disk():
                build(content)
            with _with_advice(self.root):
                manifest = Manifest(label=label, files=dict(_files(content)))
                (scratch / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
                self._folder(key).parent.mkdir(parents=True, exist_ok=True)
                self._uses.add(key)
                scratch.rename(self._folder(key))
        finally:
            discard(scratch)
        self._hashed.add(key)
        return Entry(key, self.content(key), manifest.size_mb, hit=False, digest=manifest.digest)

    @contextmanager
    def _naming_a_full_disk(self) -> Iterator[None]:
        """Say so where a worker fails on a disk that has no space: it can only tell what it could not write."""
        try:
            yield
        except AccelError as error:
            free = shutil.disk_usage(self.root).free
            if free >= _NEARLY_NONE_BYTES:
                raise
            full = OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {free} bytes are free: {error}")
            raise full from error

    def _keep_under_limit(self, made: Entry) -> None:
        # Reading all manifests after each build would make a session's cost grow with the square of its tests, so the
        # size is read once and then kept up; what other processes add is seen at the next prune.
        if self._size_mb is None:
            self._sweep()
            self._size_mb = sum(stored.size_mb for stored in self._stored())
        else:
            self._size_mb += made.size_mb
        if self._size_mb > self.limit_mb:
            self.prune(self.limit_mb)

    def _stored(self) -> Iterator[Stored]:
        entries = self.root / "entries"
        for folder in entries.iterdir() if entries.is_dir() else ():
            try:
                manifest, last_used = _manifest(folder), (folder / "manifest.json").stat().st_mtime
            except Damaged:
                manifest, last_used = Manifest(label="(damaged)", files={}), 0.0
            except FileNotFoundError:  # another process has just evicted it
                continue
            yield Stored(folder.name, manifest.label, manifest.size_mb, last_used, self._uses.holds(folder.name))

    def _evict(self, key: str) -> bool:
        with if_free(lock_at(self._lock_file(key))) as free:
            if not free or self._uses.holds(key):
                return False
            self._remove(key)
            return True

    def _remove(self, key: str) -> None:
        """Take a locked entry away: by a rename, so that no death can leave half of it."""
        trash = self.root / "building" / key
        trash.parent.mkdir(parents=True, exist_ok=True)
        discard(trash)
        with suppress(FileNotFoundError):
            self._folder(key).rename(trash)
        discard(trash)

    def _sweep(self) -> None:
        """Remove what killed processes left: a scratch folder whose key nobody has locked."""
        building = self.root / "building"
        for scratch in building.iterdir() if building.is_dir() else ():
            with if_free(lock_at(self._lock_file(scratch.name))) as free:
                if free:
                    discard(scratch)
        self._uses.sweep()


@contextmanager
def _with_advice(root: Path, *, only: Collection[int] | None = None) -> Iterator[None]:
    """Turn the system's errors (of these numbers ``only``) into a `CacheError` that says what to do."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        elsewhere = "choose another folder with --accel-cache-dir"
        if error.errno in _FULL:
            elsewhere = f"free some space, run `pytest-accel cache prune --limit MB`, or {elsewhere}"
        reason = f"{error.strerror or error} ({error.filename})" if error.filename else error.strerror or str(error)
        raise CacheError(f"the compile cache {root} cannot be used: {reason}; {elsewhere}") from error


def _manifest(folder: Path) -> Manifest:
    """Return the manifest of an entry. Raises `Damaged`."""
    if folder.is_symlink() or not folder.is_dir():
        raise Damaged("it is a link" if folder.is_symlink() else "it is no folder")
    try:
        return _decoded(read_regular(folder / "manifest.json", follow=False), Manifest)
    except FileNotFoundError:
        raise Damaged("it has no manifest.json") from None
    except OSError as error:
        if error.errno in _OF_THIS_PROCESS:
            raise
        raise Damaged(f"manifest.json: {error.strerror}") from None
    except Damaged as damage:
        raise Damaged(f"manifest.json: {damage}") from None


def _decoded(text: bytes, shape: type[_Value]) -> _Value:
    """Return a value of a ``shape``. Raises `Damaged`."""
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # msgspec lets Python's own errors through
        raise Damaged(str(error)) from None


def _status(content: Path, name: str) -> os.stat_result:
    """Return the status of a file that a manifest names. Raises `Damaged` where that is no file of the entry."""
    if not name or ".." in Path(name).parts or Path(name).is_absolute():
        raise Damaged(f"it names {name!r}, which is no file of an entry")
    try:
        status = (content / name).stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_PROCESS:
            raise
        raise Damaged(f"{name} is missing") from None
    if not stat.S_ISREG(status.st_mode):
        raise Damaged(f"{name} is no regular file")
    return status


def _files(content: Path) -> Iterator[tuple[str, StoredFile]]:
    for file in sorted(content.rglob("*")):
        if file.is_file():
            facts = file.stat()
            stored = StoredFile(size=facts.st_size, mtime_ns=facts.st_mtime_ns, sha256=sha256_of(file))
            yield file.relative_to(content).as_posix(), stored
