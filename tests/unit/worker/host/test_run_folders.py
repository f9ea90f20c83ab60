from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_accel.worker.host.run_folders import _is_taken, begin_run, remove_dead_runs

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_stays_while_its_run_lives_and_goes_with_the_next_one(tmp_path: Path) -> None:
    (living, life), (dead, death) = begin_run(str(tmp_path)), begin_run(str(tmp_path))
    os.close(death)
    remove_dead_runs(str(tmp_path))
    assert {str(path) for path in tmp_path.iterdir()} == {living, f"{living}.lock"}
    os.close(life)
    remove_dead_runs(str(tmp_path))
    assert not any(tmp_path.iterdir())
    assert dead != living


def test_a_lock_that_another_run_has_just_removed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    assert _is_taken(lock, str(path))
    path.unlink()
    assert not _is_taken(lock, str(path))
    path.touch()
    assert not _is_taken(lock, str(path))
    os.close(lock)
