from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_accel.facts.errors import LockTimeout
from pytest_accel.store import locks
from pytest_accel.store.locks import HALF_MADE_S, FileClaim, Patience, Uses, lock_at, take

HOLDER = """
import sys
from pathlib import Path
from pytest_accel.store.locks import lock_at

lock = lock_at(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A lock that another process holds, and the number of that process."""
    path = tmp_path / "x.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield path, holder.pid
        holder.stdin.close()


def test_a_free_lock_is_not_waited_for(tmp_path: Path) -> None:
    told: list[tuple[str, ...]] = []
    lock = lock_at(tmp_path / "x.lock")
    assert take(FileClaim(lock), "it", Patience(0.0, lambda *words: told.append(words))) < 1
    assert lock.is_locked
    assert told == []


def test_waiting_says_for_what_whose_where_and_ends(held: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    path, pid = held
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(locks, "ASK_AGAIN_S", 0.01)
    with pytest.raises(LockTimeout) as caught:
        take(FileClaim(lock_at(path)), "the GPU", Patience(0.1, lambda *words: told.append(words)))
    assert len(told) > 3
    what, where = told[0]
    assert what.startswith(f"waiting for the GPU, which process {pid} (")
    assert " of user " in what
    assert where == str(path)
    assert str(caught.value).startswith("waited 0 s for the GPU, and process")
    assert str(caught.value).endswith(
        f" still holds its lock {path}: end that process, or allow a longer wait with the ini key accel_lock_timeout"
    )


def test_the_lock_of_a_process_that_was_killed_before_it_used_anything_is_swept(tmp_path: Path) -> None:
    (left, young) = (tmp_path / "1-a.lock", tmp_path / "2-b.lock")
    for path in (left, young):
        path.touch()
    os.utime(left, (time.time() - HALF_MADE_S - 1,) * 2)
    uses = Uses(tmp_path)
    uses.add("k")
    uses.sweep()
    assert not left.exists()
    assert young.exists()
    assert uses.holds("k")
    uses.close()
