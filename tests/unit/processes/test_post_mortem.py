from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_accel.processes.post_mortem import Remains, ending, oom_kills, writers_of


@pytest.mark.parametrize(
    ("status", "more_oom_kills", "words"),
    [
        (3, False, "exited with status 3"),
        (-11, True, "was killed by SIGSEGV"),
        (-9, False, "was killed by SIGKILL (out of memory, perhaps)"),
        (-9, True, "was killed by SIGKILL by the kernel, out of memory,"),
    ],
)
def test_an_exit_status_in_words(status: int, more_oom_kills: bool, words: str) -> None:
    assert ending(status, more_oom_kills=more_oom_kills) == words


def test_the_kernels_count_is_read_from_our_own_cgroup(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "ours").mkdir(parents=True)
    (tmp_path / "jobs" / "ours" / "memory.events").write_text("low 0\noom 5\noom_kill 2\n")
    (tmp_path / "self").write_text("0::/jobs/ours\n")
    assert oom_kills(tmp_path, tmp_path / "self") == 2


def test_without_a_count_nothing_is_claimed(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path / "self") == 0


def test_a_short_log_is_left_alone_and_a_long_one_emptied_with_its_end_kept(tmp_path: Path) -> None:
    remains = Remains(tmp_path)
    log = tmp_path / remains.paths["log"]
    log.write_text("short")
    remains.trim()
    assert log.read_text() == "short"
    log.write_text("x" * 5_000_000 + "the end")
    remains.trim()
    assert log.read_text() == ""
    log.write_text(" and after")
    assert remains.details().endswith("the end and after")


def test_stacks_come_before_the_output_and_nothing_is_said_of_what_is_empty(tmp_path: Path) -> None:
    remains = Remains(tmp_path)
    assert remains.details() == ""
    (tmp_path / remains.paths["log"]).write_bytes(b"caf\xe9\n")
    (tmp_path / remains.paths["stacks"]).write_text("Current thread\n")
    assert remains.details() == "stacks:\nCurrent thread\n\nlast output:\ncaf\N{REPLACEMENT CHARACTER}"


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    remains = Remains(tmp_path / "logs")
    (Path(remains.paths["temporary"]) / "folder").mkdir()
    (Path(remains.paths["temporary"]) / "folder" / "file").touch()
    remains.remove()
    remains.remove()
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_socket_among_the_temporary_files_has_a_path_that_the_kernel_takes(tmp_path: Path) -> None:
    session, socket = "/pytest-accel-12345678", "/pymp-12345678/listener-12345678"  # the latter is multiprocessing's
    own = Remains(tmp_path).paths["temporary"].removeprefix(str(tmp_path))
    assert len(session + own + socket) <= 107 - 40, "which leaves 40 bytes for the user's TMPDIR"


def test_a_relative_folder_is_told_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in Remains(Path("logs")).paths.values():
        assert Path(path).is_absolute()


def test_a_log_that_somebody_has_removed_is_an_empty_one(tmp_path: Path) -> None:
    remains = Remains(tmp_path / "logs")
    shutil.rmtree(tmp_path / "logs")
    remains.trim()
    assert remains.details() == ""
    remains.restore()
    assert Path(remains.paths["temporary"]).is_dir()
    remains.remove()


def test_credentials_are_taken_out_of_the_log_and_the_stacks(tmp_path: Path) -> None:
    remains = Remains(tmp_path)
    remains.secrets.add("secret/of the worker")
    for name in ("log", "stacks"):
        Path(remains.paths[name]).write_text("GET /?key=secret%2Fof%20the+worker AKIAIOSFODNN7EXAMPLE")
    assert remains.details().count("GET /?key=(redacted) (redacted)") == 2


def test_the_writers_of_a_pipe_are_found_and_its_readers_are_not() -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(["sleep", "600"], pass_fds=[writing]) as writer:
        with subprocess.Popen(["sleep", "600"], pass_fds=[reading]) as reader:
            os.close(writing)
            assert list(writers_of(reading)) == [writer.pid]
            reader.kill()
        writer.kill()
    os.close(reading)
