from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_accel.store import files
from pytest_accel.store.files import age_s, discard, read_regular, set_aside, write_whole

SPAWN = multiprocessing.get_context("spawn")


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


OTHER_THINGS: tuple[Callable[[Path], None], ...] = (a_fifo, a_device, a_socket, Path.mkdir)


@pytest.mark.parametrize("put", OTHER_THINGS)
def test_what_is_no_file_is_an_error_at_once(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "x")
    with pytest.raises(OSError):  # noqa: PT011 - the system's own number, whichever it is
        read_regular(tmp_path / "x")


def test_a_file_is_read_and_a_link_only_if_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"\xff"
    with pytest.raises(OSError, match="symbolic link"):
        read_regular(tmp_path / "link", follow=False)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 3)
    (tmp_path / "x").write_bytes(b"1234")
    with pytest.raises(OSError, match="has 4 bytes, more than any of ours"):
        read_regular(tmp_path / "x")


def test_a_file_is_written_with_the_mode_of_the_older_one_and_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o640)
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", "ü\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "ü\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pipe_is_not_waited_for_when_it_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="Is no regular file"):
        write_whole(tmp_path / "x", "text")


def _write_beyond_the_file_size_limit(path: Path, answers: multiprocessing.Queue[str]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_whole(path, "x" * 2000)
    except OSError as error:
        answers.put(errno.errorcode[error.errno or 0])


def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("older")
    answers = SPAWN.Queue()
    process = SPAWN.Process(target=_write_beyond_the_file_size_limit, args=(tmp_path / "x", answers))
    process.start()
    assert answers.get(timeout=60) == "EFBIG"
    process.join()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "older")]


@pytest.mark.parametrize("put", [*OTHER_THINGS, Path.touch])
def test_whatever_stands_there_is_removed(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "x")
    discard(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    discard(tmp_path / "x")


def test_a_link_to_a_folder_is_removed_and_the_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x").symlink_to("folder")
    discard(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_is_set_aside_lies_under_another_name_and_once(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "x").write_text(text)
        aside = set_aside(tmp_path / "x", tmp_path / "aside")
    assert aside == tmp_path / "aside" / "x.damaged"
    assert aside.read_text() == "second"
    assert not (tmp_path / "x").exists()


def test_a_file_that_is_gone_is_neither_older_nor_younger_than_any(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert 0 <= age_s(path) < 60
    assert age_s(path, path.stat().st_mtime + 100) == 100
    path.unlink()
    assert not age_s(path) > 0
    assert not age_s(path) <= 0
