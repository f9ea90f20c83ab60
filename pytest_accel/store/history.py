"""The history: what every run has measured, beside the baselines, in files that are only ever added.

Each run adds a file of its own, so that git merges branches which both have added without a conflict:

    <baselines>/history/<YYYY-MM>/<start of the run>-<commit>-<digest>.jsonl    a line for each check

A line is made to be read in a pull request: sorted keys, and as many digits as a baseline has. No file is ever
written again. A line that cannot be read is told, and hides no other one. A line that stands in several files counts
once, so that histories can be joined in any order, and as often as somebody likes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.fingerprint import slug_of
from pytest_accel.facts.records import SHOWN_OF_COMMIT
from pytest_accel.store import strict_json
from pytest_accel.store.files import read_regular, sync, written_beside
from pytest_accel.store.history_entry import SCHEMA, HistoryEntry
from pytest_accel.store.significant_digits import rounded

#: FOLDER is the name of the history's folder in the folder of the baselines.
FOLDER = "history"
#: SUFFIX is that of its files. Baselines have another one, so that neither listing finds the other's files.
SUFFIX = ".jsonl"
#: _NAME is what the name of a run's file looks like, by which one is known in a folder of other files.
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z-.+-[0-9a-f]{6}\.jsonl")
#: _EXAMPLE is such a name.
_EXAMPLE = "2026-11-23T170000Z-0123456789-3fa9c1.jsonl"
#: _REPAIR says what to do about a line that cannot be read.
_REPAIR = "restore the file from version control, or remove the line"


class Known(NamedTuple):
    """What can be read of a history, the oldest run first, and a sentence about each line that cannot."""

    entries: tuple[HistoryEntry, ...]
    faults: tuple[str, ...]


class History:
    """The history beside the baselines in a folder."""

    def __init__(self, baselines: Path) -> None:
        self.root = baselines / FOLDER

    def read(self) -> Known:
        """Return everything that was kept."""
        return read(_files_below(self.root))

    def add(self, entries: Iterable[HistoryEntry]) -> Path | None:
        """Write what is not there yet to a file of its own, and return its path; None where nothing is new.

        The file appears whole or not at all. Raises `AccelError` that names it where it cannot be written.
        """
        lines = {dump(entry): entry for entry in entries}
        for line in self._lines_of_months({entry.when[:7] for entry in lines.values()}):
            lines.pop(line, None)
        if not lines:
            return None
        path = self.root / _name(lines)
        try:
            _write_new(path, "".join(lines))
        except OSError as error:
            advice = "choose another folder with --accel-baseline-dir"
            raise AccelError(f"{path} cannot be written: {error.strerror}; {advice}") from error
        return path

    def _lines_of_months(self, months: Iterable[str]) -> Iterator[str]:
        """Give every line of the runs of these months. A line is always written in the same way."""
        for path in (path for month in months for path in _files_below(self.root / month)):
            with suppress(OSError):  # reading the history tells what cannot be read
                yield from read_regular(path).decode("utf-8", errors="replace").splitlines(keepends=True)


def read(paths: Iterable[Path]) -> Known:
    """Return what stands in these files, each check once, in the order in which the runs began."""
    entries: dict[HistoryEntry, None] = {}
    faults: list[str] = []
    for path in paths:
        for found in _lines(path):
            if isinstance(found, HistoryEntry):
                entries[found] = None
            else:
                faults.append(found)
    return Known(tuple(sorted(entries, key=lambda entry: (entry.when, entry.test))), tuple(faults))


def files_of(sources: Sequence[Path]) -> list[Path]:
    """Return the files of the histories at ``sources``, which are files, or folders with some anywhere below.

    Raises `UsageError` for what is not there, and for a folder without a history.
    """
    return list(dict.fromkeys(path for source in sources for path in _files_of(source)))


def _files_of(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UsageError(f"there is no file or folder {source}; name histories that runs with --accel-history left")
    if not (found := [path for path in _files_below(source) if _NAME.fullmatch(path.name)]):
        raise UsageError(f"{source} has no history: no file below it has a name like {_EXAMPLE}")
    return found


def dump(entry: HistoryEntry) -> str:
    """Return the line of an entry. Raises `BaselineError` for numbers that JSON does not have."""
    plain = rounded(msgspec.to_builtins(entry), "history")
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(f"*{SUFFIX}") if not path.is_dir() and not path.name.startswith("."))


def _lines(path: Path) -> Iterator[HistoryEntry | str]:
    """Give each line as an entry, or as a sentence about what is wrong with it."""
    try:
        lines = read_regular(path).split(b"\n")
    except OSError as error:
        yield f"{path} cannot be read: {error.strerror}; {_REPAIR}"
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _entry(line)
            except (strict_json.Malformed, UnicodeDecodeError) as error:
                yield f"{path}:{number}: {_problem(error)}; {_REPAIR}"
            except _NewerSchema as error:
                yield f"{path}:{number}: {error}"


def _problem(error: strict_json.Malformed | UnicodeDecodeError) -> str:
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


class _NewerSchema(Exception):
    """The line is fine, this pytest-accel is too old."""


def _entry(line: bytes) -> HistoryEntry:
    text = line.decode("utf-8")
    data = strict_json.parse(text)
    schema: Any = data.get("schema") if isinstance(data, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise _NewerSchema(f"schema {schema} is newer than {SCHEMA}, the newest known here; upgrade pytest-accel")
    return strict_json.convert(data, HistoryEntry, text)


def _name(lines: dict[str, HistoryEntry]) -> Path:
    """Name a file for the run that began last, which is the one that writes it, and for what is in it."""
    entry = max(lines.values(), key=lambda each: each.when)
    moment = entry.when.removesuffix("+00:00").replace(":", "")
    commit = slug_of(entry.provenance.commit[:SHOWN_OF_COMMIT]) or "no-commit"
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:6]
    return Path(entry.when[:7]) / f"{moment}Z-{commit}-{digest}{SUFFIX}"


def _write_new(path: Path, text: str) -> None:
    """Write a file that was not there. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path, text) as temporary:
        try:
            path.hardlink_to(temporary)  # the one call that makes a whole file only where there is none
        except FileExistsError:
            if path.read_text(encoding="utf-8") != text:
                raise FileExistsError(errno.EEXIST, "another run has a file of this name", str(path)) from None
    sync(path.parent)
