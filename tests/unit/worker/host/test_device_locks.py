from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_accel.facts.settings import default_lock_dir
from pytest_accel.store.locks import lock_at
from pytest_accel.worker.host.device_locks import DeviceLocks, holder_of, own_lock_folder, prepare_folder

#: HOLDER takes a lock as an attendant does, tells what came of it, and keeps it.
HOLDER = """
import sys
from pytest_accel.worker.host.device_locks import DeviceLocks
locks = DeviceLocks()
print(repr(locks.take_device("device-x.lock", sys.argv[1])["holder"]), flush=True)
sys.stdin.read()
"""


def test_attendants_and_runs_by_hand_keep_apart(tmp_path: Path) -> None:
    path = tmp_path / "device-x.lock"
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attendant:
        assert attendant.stdin is not None
        assert attendant.stdout is not None
        assert attendant.stdout.readline() == "''\n"
        by_hand = lock_at(path)
        with pytest.raises(TimeoutError):
            by_hand.acquire(timeout=0)
        assert f"process {attendant.pid} (" in DeviceLocks().take_device(path.name, str(tmp_path))["holder"]
        attendant.stdin.close()
        attendant.wait()
    with by_hand:
        taken = DeviceLocks().take_device(path.name, str(tmp_path))
        assert taken["path"] == str(path)
        assert f"process {os.getpid()} (" in taken["holder"]


def test_a_lock_that_was_given_back_can_be_taken(tmp_path: Path) -> None:
    ours, others = DeviceLocks(), DeviceLocks()
    path = ours.take_device("x", str(tmp_path))["path"]
    others.give_device_back(path)  # it is not theirs
    assert others.take_device("x", str(tmp_path))["holder"] != ""
    ours.give_device_back(path)
    assert others.take_device("x", str(tmp_path))["holder"] == ""
    others.give_device_back(path)


def test_the_users_own_folder_is_that_of_every_run() -> None:
    assert own_lock_folder() == str(default_lock_dir())


def test_a_holder_that_the_kernel_does_not_tell_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch()
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
