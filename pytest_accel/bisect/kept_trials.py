"""The trials of a search, in a file that outlives Ctrl-C: what has been measured is never measured again.

Each question has a folder of its own in the cache folder, so that nothing of another question is taken over. In it are

    trials.json     all trials, in the order in which they were made
    opponent/       the compile cache with the artefact of the good commit
    cache/          the compile cache of the trials
    logs/           what pytest has written, and the records of the runs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pytest_accel.bisect.trial import Trial
from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.store.files import age_s, discard, write_whole
from pytest_accel.store.locks import folders, if_free, lock_at

#: KEPT_S is the number of seconds after which a search that nobody goes on with is forgotten.
KEPT_S = 7 * 24 * 3600
_TRIALS = "trials.json"
#: LOGS is the folder in it that each run writes to, so that it is as old as the last run.
LOGS = "logs"


class KeptTrials:
    """The trials of one question: they are read at once, and the file is written with each new one."""

    def __init__(self, folder: Path) -> None:
        """Read what is there. Raises `AccelError` where the file cannot be read."""
        self.folder = folder
        self._path = folder / _TRIALS
        try:
            text = self._path.read_bytes()
            self._trials = msgspec.json.decode(text, type=list[Trial])
        except FileNotFoundError:
            self._trials = []
        except msgspec.MsgspecError as error:
            raise AccelError(f"{self._path} is damaged: {error}; --reset drops it and begins anew") from error

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def at(self, point: str) -> list[Trial]:
        """Return the trials of one commit or version."""
        return [trial for trial in self._trials if trial.point == point]

    def add(self, trial: Trial) -> None:
        """Keep a trial; it is on the disk when this returns."""
        self._trials.append(trial)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, msgspec.json.format(msgspec.json.encode(self._trials), indent=1).decode() + "\n")


def folder_of(cache: Path, question: Sequence[str]) -> Path:
    """Return the folder of a question, which is all that its answer depends on."""
    digest = hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:16]
    return cache / "bisects" / digest


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others out of the folder. Raises `UsageError` where another search is at the same question."""
    with if_free(lock_at(folder.with_suffix(".lock"))) as free:
        if not free:
            raise UsageError(f"another search for the same answer runs just now ({folder}); wait for its end")
        yield


def forget_old(parent: Path) -> None:
    """Remove the folders of searches that nobody has gone on with for `KEPT_S`."""
    for folder in folders(parent):
        if age_s(folder / LOGS) > KEPT_S:
            with if_free(lock_at(folder.with_suffix(".lock"))) as free:
                if free:
                    discard(folder)
