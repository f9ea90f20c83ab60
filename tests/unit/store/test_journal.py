from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.records import TestRecord
from pytest_accel.store import journal as journals
from pytest_accel.store.journal import KEPT_S, Finished, Journal, discard_left, folder_of
from tests.unit import facts
from tests.unit.report.test_terminal import accuracy


def digest(rows: int = 3) -> str:
    return f"{rows} rows"


def finished_check(key: str = "k", **changed: Any) -> TestRecord:
    return facts.record(**{"key": key, "accuracy": accuracy(dataset_digest=digest()), **changed})


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of a run that was interrupted after two checks."""
    journal = Journal(tmp_path, began="10:00")
    for key in ("k", "l"):
        journal.append(finished_check(key))
    journal.close(keep=True)
    return tmp_path


def only_file(folder: Path) -> Path:
    (file,) = folder.glob("*.jsonl")
    return file


def test_a_result_is_taken_once_and_marked(left: Path) -> None:
    finished = Finished(left)
    assert finished.take("k", digest) == finished_check(resumed="10:00")
    assert finished.take("k", digest) is None
    assert finished.take("l", digest) is not None


@pytest.mark.parametrize(("key", "rows"), [("other", 3), ("k", 4)], ids=["key", "data"])
def test_one_of_another_check_or_other_data_is_not(left: Path, key: str, rows: int) -> None:
    assert Finished(left).take(key, lambda: digest(rows)) is None


def test_data_are_not_read_when_there_is_nothing_to_resume(left: Path) -> None:
    def unreadable() -> str:
        raise AssertionError("a pass over the data")

    assert Finished(left).take("other", unreadable) is None
    assert Finished().take("k", unreadable) is None


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_line_that_was_cut_off_costs_only_itself(left: Path, cut: int) -> None:
    file = only_file(left)
    os.truncate(file, file.stat().st_size - cut)
    finished = Finished(left)
    assert finished.take("k", digest) is not None
    assert (finished.take("l", digest) is None) == (cut > 1)  # a whole line may lack its end


BAD_LINES = {
    "a byte above ASCII": b'{"began": "\xff"}',
    "half a line": b'{"began": ',
    "a lone surrogate": rb'{"began": "\ud800"}',
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_costs_only_itself_is_told_and_kept(left: Path, bad: bytes) -> None:
    file = only_file(left)
    file.write_bytes(bad + b"\n" + file.read_bytes())
    warned: list[str] = []
    finished = Finished(left, warn=warned.append)
    assert finished.take("k", digest) is not None
    assert finished.take("l", digest) is not None
    (sentence,) = warned
    assert sentence.startswith(f"the journal {file} of an interrupted run has lines that cannot be read: line 1 (")
    discard_left(left, ran=[finished_check().test])
    assert [path.name for path in left.iterdir()] == [f"{file.name}.damaged"]


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_journal_costs_no_other_one(left: Path, put: Callable[[Path], object]) -> None:
    put(left / "0-other.jsonl")
    warned: list[str] = []
    assert Finished(left, warn=warned.append).take("k", digest) is not None
    assert "has nothing that can be read (" in warned[0]
    discard_left(left, ran=[finished_check().test])
    assert [path.name for path in left.iterdir()] == ["0-other.jsonl.damaged"]


def test_lines_of_another_release_are_left_out(left: Path) -> None:
    file = only_file(left)
    file.write_text('{"began": "9:00", "record": {"a": 1}}\n' + file.read_text("utf-8"), encoding="utf-8")
    assert Finished(left).take("k", digest) is not None


def test_every_check_is_on_disk_when_it_is_written_down(tmp_path: Path) -> None:
    journal = Journal(tmp_path, began="10:00")
    for lines in (1, 2):
        journal.append(finished_check())
        assert (journal.lines, only_file(tmp_path).read_bytes().count(b"\n")) == (lines, lines)


def test_the_journal_of_a_run_that_lives_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "LONGEST_QUESTION_S", 0.0)
    journal = Journal(tmp_path, began="10:00")
    journal.append(finished_check())
    assert Finished(tmp_path).take("k", digest) is None
    discard_left(tmp_path, ran=[finished_check().test])
    journal.close(keep=True)
    assert Finished(tmp_path).take("k", digest) is not None


def test_processes_of_one_run_that_ask_at_once_all_get_an_answer(left: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        finished = list(threads.map(lambda _: Finished(left), range(40)))
    assert all(each.take("k", digest) for each in finished)


def test_a_run_that_came_to_its_end_leaves_no_file(left: Path) -> None:
    journal = Journal(left, began="11:00")
    journal.append(finished_check())
    journal.close(keep=False)
    assert only_file(left)
    discard_left(left, ran=[])
    assert only_file(left), "a run of other tests ends nothing"
    discard_left(left, ran=[finished_check().test])
    assert list(left.iterdir()) == []


def test_a_journal_that_nobody_came_back_to_is_forgotten(left: Path) -> None:
    written_s = only_file(left).stat().st_mtime
    assert Finished(left, now_s=written_s + KEPT_S - 1).take("k", digest) is not None
    assert Finished(left, now_s=written_s + KEPT_S + 1).take("k", digest) is None


def test_the_next_run_removes_what_is_forgotten(left: Path) -> None:
    old = only_file(left)
    os.utime(old, (time.time() - KEPT_S - 1,) * 2)
    journal = Journal(left, began="11:00")
    journal.append(finished_check())
    assert only_file(left) != old
    journal.close(keep=False)


def test_projects_do_not_share_journals(tmp_path: Path) -> None:
    assert folder_of(tmp_path, Path("/a")) != folder_of(tmp_path, Path("/b"))


def test_a_folder_that_cannot_be_made_fails_the_line_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    journal = Journal(tmp_path / "a file", began="10:00")
    for _ in range(2):
        with pytest.raises(OSError, match="a file"):
            journal.append(finished_check())
    journal.close(keep=False)
