from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.remains import Output, ending, oom_kills

if TYPE_CHECKING:
    from pathlib import Path


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
    output = Output(tmp_path)
    log = tmp_path / output.paths["log"]
    log.write_text("short")
    output.trim()
    assert log.read_text() == "short"
    log.write_text("x" * 5_000_000 + "the end")
    output.trim()
    assert log.read_text() == ""
    log.write_text(" and after")
    assert output.details().endswith("the end and after")


def test_stacks_come_before_the_output_and_nothing_is_said_of_what_is_empty(tmp_path: Path) -> None:
    output = Output(tmp_path)
    assert output.details() == ""
    (tmp_path / output.paths["log"]).write_bytes(b"caf\xe9\n")
    (tmp_path / output.paths["stacks"]).write_text("Current thread\n")
    assert output.details() == "stacks:\nCurrent thread\n\nlast output:\ncaf\N{REPLACEMENT CHARACTER}"


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    output = Output(tmp_path / "logs")
    output.remove()
    output.remove()
    assert list((tmp_path / "logs").iterdir()) == []
