"""Files between this machine and a host: what a worker there reads, and what it makes.

Each content is sent once, by its digest, and kept there by `pytest_accel.worker.host.files`. So a run that finds all of
its models, artefacts and arrays there sends their digests alone. What comes back is held to its digest here.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from pytest_accel.facts.errors import WorkerError
from pytest_accel.facts.fact import Count, Fact
from pytest_accel.processes.replies import valid
from pytest_accel.worker import wire
from pytest_accel.worker.file_content import empty_folders, files_below, sha256_of
from pytest_accel.worker.formats.external_data import TooDeep, external_files
from pytest_accel.worker.host.files import Unkept, deflated, inflated, inside

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from pytest_accel.worker.wire import Packed, Plain

#: LARGE_BYTES is the size from which on an array is kept on the host by its digest.
LARGE_BYTES = 64_000
_PHASE = "files"
#: _PATIENCE_S is the deadline for the host to read all of some files, which can be gigabytes.
_PATIENCE_S = 3600.0
#: _PART_DEADLINE_S is the deadline of one part, which is sized to take about `_PART_S`.
_PART_DEADLINE_S = 600.0
_PART_S = 0.5
_FIRST_PART_BYTES, _MOST_BYTES = 1 << 18, 1 << 23
_FEWEST_BYTES = 1 << 14
#: _TOLD_BYTES is the least that is told of: less is sent before anybody could read it.
_TOLD_BYTES = 1 << 20
#: _NEARLY_NONE_BYTES is so little space that a program that fails there has failed for want of it.
_NEARLY_NONE_BYTES = 1 << 16


_Reply = TypeVar("_Reply")


class Cargo(NamedTuple):
    """A content that may have to be sent; ``name`` is for people."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


class _Held(Fact, frozen=True):
    missing: list[str]
    folder: str


class _Folder(Fact, frozen=True):
    folder: str


class _Made(Fact, frozen=True):
    files: dict[str, tuple[str, Count]]
    folders: list[str]


class _Part(Fact, frozen=True):
    data: bytes
    deflated: bool


class _Space(Fact, frozen=True):
    free: Count
    folder: str


class HostFiles:
    """The files of one host, asked through one attendant. ``tell`` hears how much of a transfer is done.

    Every method raises what ``ask`` raises, `WorkerError` for what did not arrive as it was, and `OSError` for files of
    this machine. ``host`` is what messages call it.
    """

    def __init__(
        self, ask: Callable[..., Plain], tell: Callable[[float | None, str], object], *, host: str = "the host"
    ) -> None:
        self._ask = ask
        self._tell = tell
        self._host = host
        self._parts = PartSize()
        self._digests: dict[tuple[int, ...], str] = {}
        #: _laid_out has the far folder of each content that is there.
        self._laid_out: dict[tuple[object, ...], str] = {}
        #: _arrays has the far path of each array of the last request.
        self._arrays: dict[str, str] = {}

    def there(self, path: Path) -> str:
        """Bring a file or folder to the host, and return its path there. Other files that an ``.onnx`` names go along.

        The far file keeps its name. It is read-only, and nobody there removes it before this run ends. Where nothing is
        here, nothing is there either.
        """
        name = Path(os.path.normpath(path.absolute())).name
        files, folders = _in_folder(path, name) if path.is_dir() else (_with_data(path, name), [])
        digests = {_sendable(inner): self._digest(file) for inner, file in files.items()}
        content = (*sorted(digests.items()), *folders)
        if content not in self._laid_out:
            self._bring({digests[inner]: _cargo(file) for inner, file in files.items()})
            laid_out = self._asked(_Folder, "lay_out", files=digests, folders=[*map(_sendable, folders)])
            self._laid_out[content] = laid_out.folder
        return f"{self._laid_out[content]}/{name}"

    @contextmanager
    def made(self, folder: Path) -> Iterator[str]:
        """Give an empty folder on the host; what is in it at the end comes into ``folder``.

        Where something fails on a disk of the host that has no space left, the error says so.
        """
        far = self.empty_folder()
        try:
            yield far
            self.back(far, folder)
        except WorkerError as error:
            self._require_space(error)
            raise
        finally:
            with suppress(WorkerError):  # of a host that is lost, which removes it itself
                self._ask("drop_folder", folder=far)

    def empty_folder(self) -> str:
        """Make a folder on the host, and return its path there."""
        return self._asked(_Folder, "empty_folder").folder

    def back(self, far: str, path: Path) -> None:
        """Bring what was made in a folder of the host into the local folder ``path``. The host keeps it too."""
        made = self._asked(_Made, "keep_folder", folder=far, deadline_s=_PATIENCE_S)
        for folder in (path, *(self._inside(path, name) for name in made.folders)):
            folder.mkdir(parents=True, exist_ok=True)
        progress = Transfer(self._tell, f"fetching from {self._host}", sum(size for _, size in made.files.values()))
        for name, (digest, size) in made.files.items():
            file = self._inside(path, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(digest, size, file, progress)

    def arrays(self, batches: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Packed]]:
        """Return the batches of one request as plain data. The worker reads large arrays from the host's cache.

        They stay there at least until this is called again.
        """
        packed = [wire.pack_all(batch) for batch in batches]
        large = [array for batch in packed for array in batch.values() if len(array["data"]) > LARGE_BYTES]
        digests = [hashlib.sha256(array["data"]).hexdigest() for array in large]
        if not self._arrays.keys() >= set(digests):
            cargo = {digest: _in_memory(array["data"]) for digest, array in zip(digests, large, strict=True)}
            released, self._arrays = self._arrays.keys() - cargo.keys(), {}
            folder = self._bring(cargo, release=released)
            self._arrays = {digest: f"{folder}/{digest}" for digest in cargo}
        for digest, array in zip(digests, large, strict=True):
            del array["data"]
            array["path"] = self._arrays[digest]
        return packed

    def _bring(self, cargo: Mapping[str, Cargo], release: Iterable[str] = ()) -> str:
        """See that the host has these contents, and return the folder there in which they lie by their digests."""
        held = self._asked(
            _Held,
            "hold_contents",
            sizes={digest: item.size for digest, item in cargo.items()},
            release=sorted(release),
            deadline_s=_PATIENCE_S,
        )
        missing = {digest: cargo[digest] for digest in cargo if digest in held.missing}
        progress = Transfer(self._tell, f"sending to {self._host}", sum(item.size for item in missing.values()))
        for parts in self._requests(missing):
            self._send(parts, progress)
        return held.folder

    def _requests(self, cargo: Mapping[str, Cargo]) -> Iterator[list[Plain]]:
        """Yield the parts of all contents, as many together as travel in one request."""
        together, size = [], 0
        for part in self._parts_of(cargo):
            together.append(part)
            size += len(part["data"])
            if size >= self._parts.bytes:
                yield together
                together, size = [], 0
        if together:
            yield together

    def _parts_of(self, cargo: Mapping[str, Cargo]) -> Iterator[Plain]:
        for digest, item in cargo.items():
            left = item.size
            with item.open() as file:
                while True:
                    chunk = file.read(min(left, self._parts.bytes))
                    first, left = left == item.size, left - len(chunk)
                    last = not left or not chunk  # the host finds that a file has become shorter
                    yield {"digest": digest, "name": item.name, "first": first, "last": last, "data": chunk}
                    if last:
                        break

    def _send(self, parts: list[Plain], progress: Transfer) -> None:
        sent = sum(len(part["data"]) for part in parts)
        packed = [{**part, **deflated(part["data"])} for part in parts]
        with self._parts.timed(sum(len(part["data"]) for part in packed)):
            self._ask("receive_parts", parts=packed, most_bytes=_MOST_BYTES, deadline_s=_PART_DEADLINE_S)
        progress.add(sent, parts[-1]["name"])

    def _fetch(self, digest: str, size: int, file: Path, progress: Transfer) -> None:
        """Write a content of the host to a new file. Raises `WorkerError` where it is not what the digest says."""
        found, at = hashlib.sha256(), 0
        with file.open("xb") as stream:
            while at < size:
                most_bytes = min(self._parts.bytes, size - at)
                with self._parts.timed(most_bytes):
                    part = self._asked(
                        _Part,
                        "read_content",
                        digest=digest,
                        at=at,
                        most_bytes=most_bytes,
                        deadline_s=_PART_DEADLINE_S,
                    )
                chunk = self._inflated(part, most_bytes)
                if not chunk:
                    break
                found.update(chunk)
                stream.write(chunk)
                at += len(chunk)
                progress.add(len(chunk), file.name)
        if found.hexdigest() != digest:
            raise WorkerError(
                f"{file.name} has not come from {self._host} as it is there: it was changed meanwhile, or damaged; "
                "run again",
                phase=_PHASE,
            )
        self._digests[_identity(file)] = digest

    def _inflated(self, part: _Part, most_bytes: int) -> bytes:
        try:
            return inflated(part.data, part.deflated, most_bytes)
        except Unkept as error:
            raise WorkerError(f"{self._host}: {error}", phase=_PHASE) from None

    def _inside(self, path: Path, name: str) -> Path:
        """Return the local path of a far file, which has to be in the folder, whatever the host calls it."""
        try:
            return Path(inside(str(path), name))
        except Unkept as error:
            raise WorkerError(f"{self._host}: {error}", phase=_PHASE) from None

    def _digest(self, file: Path) -> str:
        """Return the sha256 of a file, computed once for as long as nobody writes to it."""
        identity = _identity(file)
        if identity not in self._digests:
            self._digests[identity] = sha256_of(file)
        return self._digests[identity]

    def _require_space(self, error: WorkerError) -> None:
        """Raise `WorkerError` where a disk without space explains another one: that only tells what was not written."""
        try:
            space = self._asked(_Space, "free_space")
        except WorkerError:  # of a host that is lost, and the first error says more
            return
        if space.free < _NEARLY_NONE_BYTES:
            raise WorkerError(
                f"the disk of {self._host} is full: {space.free} bytes are free for {space.folder}; free some space "
                f"there ({error})",
                phase=error.phase,
                details=error.details,
            ) from error

    def _asked(self, shape: type[_Reply], op: str, **params: Any) -> _Reply:
        return valid(self._ask(op, **params), shape, op, of=self._host)


class PartSize:
    """How many bytes one part has: what the line takes in about `_PART_S`, so that nothing waits long behind it."""

    def __init__(self) -> None:
        self.bytes = _FIRST_PART_BYTES

    @contextmanager
    def timed(self, sent_bytes: int) -> Iterator[None]:
        """Learn from the time of the block, in which so many bytes travel."""
        began_s = time.monotonic()
        yield
        took_s = time.monotonic() - began_s
        if took_s > 2 * _PART_S:
            self.bytes = max(_FEWEST_BYTES, self.bytes // 2)
        elif took_s < _PART_S / 2 and 2 * sent_bytes > self.bytes:  # fewer bytes tell nothing of more
            self.bytes = min(_MOST_BYTES, self.bytes * 2)


class Transfer:
    """Says how much of a transfer is done."""

    def __init__(self, tell: Callable[[float | None, str], object], doing: str, total_bytes: int) -> None:
        self._tell = tell
        self._doing = doing
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def add(self, done_bytes: int, name: str) -> None:
        """Say that more is done; ``name`` is what of."""
        self._done_bytes += done_bytes
        if self._total_bytes >= _TOLD_BYTES:
            sizes = f"{self._done_bytes / 1e6:.0f} of {self._total_bytes / 1e6:.0f} MB"
            self._tell(self._done_bytes / self._total_bytes, f"{self._doing}: {name}, {sizes}")


def _in_folder(path: Path, name: str) -> tuple[dict[str, Path], list[str]]:
    """Return the files of a folder that is called ``name`` there, and its empty folders; itself, if it is one."""
    files = {f"{name}/{inner}": file for inner, file in files_below(path)}
    return files, [name, *(f"{name}/{inner}" for inner in empty_folders(path))]


def _with_data(path: Path, name: str) -> dict[str, Path]:
    """Return a model file and those that it names, by their names beside it.

    What lies outside of its folder stays here: no worker reads that, wherever it runs.
    """
    beside: Mapping[str, Path] = {}
    if path.suffix == ".onnx" and path.is_file():
        with suppress(TooDeep):  # which the worker says too
            beside = external_files(path)
    normal = {os.path.normpath(inner): file for inner, file in beside.items() if file.is_file()}
    own = {name: path} if path.is_file() else {}
    return {inner: file for inner, file in normal.items() if not _leads_out(inner)} | own


def _leads_out(name: str) -> bool:
    return Path(name).parts[0] in ("/", "..")


def _sendable(name: str) -> str:
    """Return the name of a file. Raises `WorkerError` where it is no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WorkerError(
            f"{name!r} is no UTF-8 text, so it cannot be sent: rename that file or folder", phase=_PHASE
        ) from None
    return name


def _identity(file: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cargo(file: Path) -> Cargo:
    return Cargo(str(file), file.stat().st_size, lambda: file.open("rb"))


def _in_memory(data: bytes) -> Cargo:
    return Cargo("an array", len(data), lambda: io.BytesIO(data))
