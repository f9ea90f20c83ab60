from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from pytest_accel.store.locks import HALF_MADE_S
from pytest_accel.store.scratch import PREFIX, Scratch

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _be_killed_in_the_middle(temporary: Path) -> None:
    tempfile.tempdir = str(temporary)
    scratch = Scratch()
    (scratch.path / "worker.log").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_run_leaves_is_swept_by_the_next_one(temporary: Path) -> None:
    living = Scratch()
    (living.path / "worker.log").write_text("half")
    killed = SPAWN.Process(target=_be_killed_in_the_middle, args=(temporary,))
    killed.start()
    killed.join()
    assert len(list(temporary.iterdir())) == 2
    following = Scratch()
    assert set(temporary.iterdir()) == {living.path, following.path}
    living.close()
    following.close()
    following.close()
    assert list(temporary.iterdir()) == []


def test_nothing_else_is_touched(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [temporary / name for name in (f"pytest-accel-{os.getuid()}", f"{PREFIX}full", f"{PREFIX}young", "else")]
    for folder in others:
        folder.mkdir()
    (temporary / f"{PREFIX}full" / "file").touch()
    (temporary / f"{PREFIX}link").symlink_to("else")
    (temporary / f"{PREFIX}file").touch()
    half_made = temporary / f"{PREFIX}half"
    half_made.mkdir()
    for path in (half_made, temporary / f"{PREFIX}full"):
        os.utime(path, (time.time() - HALF_MADE_S - 1,) * 2)
    before = set(temporary.iterdir())
    scratch = Scratch()
    assert before - set(temporary.iterdir()) == {half_made}
    scratch.close()
    left = Scratch()
    left.path.joinpath("alive.lock").unlink()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    Scratch().close()
    assert left.path.is_dir()
    monkeypatch.setattr(os, "getuid", lambda: own)
    left.close()
