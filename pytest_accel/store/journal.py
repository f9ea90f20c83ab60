"""The journal of a run: every finished check, in the kernel's hands before the next test begins.

A run that is interrupted leaves its journal behind, and the next one with ``--accel-resume`` takes from it what still
binds; a run that comes to its end removes both. In the cache folder are

    journals/<project>/<run>.jsonl   a line for each check, appended
    journals/<project>/<run>.lock    held while the run lives, so that nobody reads the journal of a living one

A machine that dies may take the last lines along; they are measured again. A line with a bad byte costs itself, and
its journal is kept under another name. Who measures, and what becomes of a record
that was taken from here, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Collection
from pathlib import Path

import filelock
import msgspec

from pytest_accel.facts.fact import Fact
from pytest_accel.facts.records import TestRecord
from pytest_accel.store.files import age_s, discard, read_regular, set_aside
from pytest_accel.store.locks import lock_at

#: KEPT_S is the number of seconds after which an interrupted run is forgotten.
KEPT_S = 7 * 24 * 3600
#: LONGEST_QUESTION_S is the number of seconds that another process may hold a journal's lock only to ask whether its
#: run has ended.
LONGEST_QUESTION_S = 2.0

_log = logging.getLogger("pytest_accel")


class JournalLine(Fact, frozen=True, kw_only=True):
    """One line: a check's record, and when the run began that made it."""

    began: str
    record: TestRecord


def folder_of(cache: Path, rootdir: Path) -> Path:
    """Return where the journals of a project's runs are."""
    return cache / "journals" / hashlib.sha256(str(rootdir).encode()).hexdigest()[:16]


class Journal:
    """The journal of this run, which began at ``began``; its file is made with the first line."""

    def __init__(self, folder: Path, began: str) -> None:
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._began = began
        self._lock: filelock.BaseFileLock | None = None
        #: How many checks it holds.
        self.lines = 0

    def append(self, record: TestRecord) -> None:
        """Write a finished check down. It outlives this process, however that ends."""
        if self._lock is None:
            lock = lock_at(_lock_file(self._path))
            lock.acquire()
            self._lock = lock
            forget_old(self._path.parent)
        line = msgspec.json.encode(JournalLine(began=self._began, record=record))
        with self._path.open("ab") as file:
            file.write(line + b"\n")
        self.lines += 1

    def close(self, *, keep: bool) -> None:
        """End it; ``keep`` leaves it for a run that resumes this one."""
        if self._lock is None:
            return
        if not keep:
            _remove(self._path)
        self._lock.release()
        self._lock = None


def discard_left(folder: Path, ran: Collection[str]) -> None:
    """Remove what interrupted runs have left, of whose tests each has now come to its end: those in ``ran``.

    Runs that still live keep theirs, and one with bad lines gets another name.
    """
    for path in filter(_ended, _all(folder)):
        entries, bad = _read(path)
        if {entry.record.test for entry in entries} <= set(ran):
            if bad:
                set_aside(path, folder)
            _remove(path)


def forget_old(folder: Path) -> None:
    """Remove what nobody has come back to for `KEPT_S`."""
    for path in (*_all(folder), *folder.glob("*.damaged")):
        if age_s(path) > KEPT_S and _ended(path):
            _remove(path)


class Finished:
    """What interrupted runs had finished; each result can be taken once.

    ``warn`` gets a sentence about each journal that cannot be read as a whole.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        now_s: float | None = None,
        warn: Callable[[str], object] = _log.warning,
    ) -> None:
        """Read the journals in ``folder``; without one there is nothing to resume."""
        self._entries: dict[str, list[JournalLine]] = {}
        for path in _all(folder) if folder is not None else ():
            if age_s(path, now_s) <= KEPT_S and _ended(path):
                entries, bad = _read(path)
                for entry in entries:
                    self._entries.setdefault(entry.record.key, []).append(entry)
                if bad:
                    warn(f"the journal {path} of an interrupted run has {bad}; what that was is measured again")

    def take(self, key: str, dataset_digest: Callable[[], str]) -> TestRecord | None:
        """Return the record of the same check on the same data, marked as resumed, or None.

        ``dataset_digest`` costs a pass over the data, so it is called only where the check is known.
        """
        for entry in self._entries.get(key, ()):
            if entry.record.accuracy is not None and entry.record.accuracy.dataset_digest == dataset_digest():
                self._entries[key].remove(entry)
                return msgspec.structs.replace(entry.record, resumed=entry.began)
        return None


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def _lock_file(path: Path) -> Path:
    return path.with_suffix(".lock")


def _remove(path: Path) -> None:
    for left in (path, _lock_file(path)):
        discard(left)


def _ended(path: Path) -> bool:
    """Return whether the run of a journal has ended. Other processes may be asking just now, which is soon over."""
    lock = lock_at(_lock_file(path))
    try:
        lock.acquire(timeout=LONGEST_QUESTION_S)
    except filelock.Timeout:
        return False
    lock.release()
    return True


def _read(path: Path) -> tuple[list[JournalLine], str]:
    """Return the lines that can be read, and what is wrong with the others, which is empty where nothing is.

    That a killed process has cut the last line off is nothing wrong, and neither is a line of another release.
    """
    try:
        lines = read_regular(path, follow=False).split(b"\n")
    except OSError as error:
        return [], f"nothing that can be read ({error.strerror})"
    entries, bad = [], []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(msgspec.json.decode(line, type=JournalLine))
        except msgspec.ValidationError:
            continue
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # msgspec lets Python's own errors through
            if number < len(lines):
                bad.append(f"line {number} ({error})")
    return entries, f"lines that cannot be read: {', '.join(bad)}" if bad else ""
