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
from pytest_accel.worker.host.device_locks import holder_of, prepare_folder

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


def test_a_holder_that_the_kernel_does_not_tell_is_another_process(held: tuple[Path, int], tmp_path: Path) -> None:
    path, _ = held
    assert holder_of(path, listed=tmp_path / "nothing") == "another process"
    (tmp_path / "of-a-container").write_text(f"1: FLOCK  ADVISORY  WRITE 0 00:2f:{path.stat().st_ino} 0 EOF\n")
    assert holder_of(path, listed=tmp_path / "of-a-container") == "another process"
    (tmp_path / "gone").write_text(f"1: FLOCK  ADVISORY  WRITE 4194399 00:2f:{path.stat().st_ino} 0 EOF\n")
    assert "process 4194399 has started and left behind" in holder_of(path, listed=tmp_path / "gone")


def test_a_private_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "locks", private=True)
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
    (tmp_path / "locks").chmod(0o777)
    prepare_folder(tmp_path / "locks", private=True)
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


def test_a_private_folder_of_somebody_else_or_behind_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="it is a link"):
        prepare_folder(tmp_path / "link", private=True)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with pytest.raises(OSError, match="it belongs to user"):
        prepare_folder(tmp_path, private=True)
    prepare_folder(tmp_path, private=False)


def test_a_shared_folder_where_everybody_may_remove_locks_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(OSError, match=r"everybody may remove locks there \(chmod \+t forbids it\)"):
        prepare_folder(tmp_path, private=False)
    tmp_path.chmod(0o1777)
    prepare_folder(tmp_path, private=False)


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
