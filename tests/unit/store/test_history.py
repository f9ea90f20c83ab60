from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.records import Provenance
from pytest_accel.store.baselines import Baselines
from pytest_accel.store.history import History, dump, files_of, read
from pytest_accel.store.history_entry import HistoryEntry, entry_of
from tests.unit import facts

COMMIT = Provenance(commit="0123456789abcdef", dirty=False, branch="main")


def entry(day: int = 23, **changed: Any) -> HistoryEntry:
    """The entry of a run on this day of November 2026."""
    record = facts.record(measurement=facts.measurement(), provenance=COMMIT)
    made = entry_of(record, began=f"2026-11-{day:02}T17:00:00+00:00", confidence=0.95)
    return msgspec.structs.replace(made, **changed)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "baselines")


def added(history: History, *entries: HistoryEntry) -> Path:
    path = history.add(entries)
    assert path is not None
    return path


def days(history: History) -> list[int]:
    return [int(each.when[8:10]) for each in history.read().entries]


def test_a_run_adds_a_file_of_its_own_named_for_its_start_and_commit(history: History) -> None:
    path = added(history, entry(), entry(model="bert"))
    assert path.parent == history.root / "2026-11"
    assert re.fullmatch(r"2026-11-23T170000Z-0123456789-[0-9a-f]{6}\.jsonl", path.name)
    assert [each.model for each in history.read().entries] == ["resnet50", "bert"]
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing is left of writing it"


@pytest.mark.parametrize(("commit", "named"), [("", "no-commit"), ("../../etc", "etc")])
def test_a_name_is_one_whatever_the_commit_is_called(history: History, commit: str, named: str) -> None:
    path = added(history, entry(provenance=Provenance(commit=commit)))
    assert re.fullmatch(rf"2026-11-23T170000Z-{named}-[0-9a-f]{{6}}\.jsonl", path.name)
    assert path.parent == history.root / "2026-11"


def test_a_line_is_made_to_be_read(history: History) -> None:
    (line,) = added(history, entry()).read_text().splitlines()
    plain = json.loads(line)
    assert list(plain) == sorted(plain)
    assert plain["schema"] == 1
    assert '"throughput": 158.416,' in line
    assert "opponent" not in plain, "what is not known takes no room"
    assert "latencies" not in line


def test_what_is_read_is_written_in_the_same_way(history: History) -> None:
    line = added(history, entry()).read_text()
    (found,) = history.read().entries
    assert dump(found) == line


def test_two_shards_that_began_in_the_same_second_keep_both(history: History) -> None:
    assert added(history, entry()) != added(history, entry(fingerprint="other"))
    assert len(history.read().entries) == 2


def test_what_is_there_already_is_not_added_again(history: History) -> None:
    before = added(history, entry()).read_bytes()
    assert history.add([entry()]) is None
    path = added(history, entry(), entry(24))
    assert path.name.startswith("2026-11-24")
    assert len(path.read_text().splitlines()) == 1
    assert files_of([history.root])[0].read_bytes() == before


def test_a_line_in_several_files_counts_once(history: History) -> None:
    path = added(history, entry())
    (path.parent / "joined.jsonl").write_text(path.read_text() + dump(entry(22)))
    assert days(history) == [22, 23]


def test_runs_are_in_the_order_in_which_they_began(history: History) -> None:
    for day in (25, 7, 16):
        added(history, entry(day))
    assert days(history) == [7, 16, 25]


def test_no_run_and_no_folder_are_no_history(history: History) -> None:
    assert history.read() == ((), ())
    assert history.add([]) is None
    assert not history.root.exists()


def test_a_file_is_never_written_again(history: History) -> None:
    path = added(history, entry())
    path.write_text("something else\n")
    with pytest.raises(AccelError, match=r"-[0-9a-f]{6}\.jsonl cannot be written: another run has a file of this name"):
        history.add([entry()])
    assert path.read_text() == "something else\n"


def test_a_folder_that_cannot_be_written_is_named_with_the_next_action(history: History) -> None:
    history.root.parent.write_text("a file is in the way")
    with pytest.raises(AccelError, match=r"history/2026-11/.* cannot be written: .*; choose another folder with --acc"):
        history.add([entry()])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON: "),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"<<<<<<< HEAD", "an unresolved merge conflict"),
        (b'{"schema": 1}', "when: this field is missing"),
        (b"7", "Expected object, got int"),
        (dump(entry()).replace('"pass"', '"fine"').encode(), "verdict: Invalid enum value 'fine'"),
        (dump(entry()).replace("0.95", "1.95").encode(), "confidence: Expected float < 1.0"),
        (dump(entry()).replace("23T17", "23 17").encode(), "when is '2026-11-23 17:00:00+00:00', and has to be like"),
    ],
    ids=["not JSON", "not UTF-8", "conflict", "field", "kind", "verdict", "number", "moment"],
)
def test_a_damaged_line_names_file_and_line_and_hides_no_other(history: History, line: bytes, problem: str) -> None:
    path = added(history, entry(22))
    good = path.read_bytes()
    path.write_bytes(good + line.rstrip(b"\n") + b"\n" + dump(entry(24)).encode())
    known = history.read()
    assert days(history) == [22, 24]
    (fault,) = known.faults
    assert fault.startswith(f"{path}:2: ")
    assert problem in fault
    assert fault.endswith("; restore the file from version control, or remove the line")


def test_a_line_of_a_newer_release_asks_for_an_upgrade(history: History) -> None:
    path = added(history, entry())
    path.write_text('{"schema": 2, "what": "ever"}\n' + path.read_text())
    known = history.read()
    assert days(history) == [23]
    assert known.faults == (f"{path}:1: schema 2 is newer than 1, the newest known here; upgrade pytest-accel",)


def test_a_file_that_cannot_be_read_is_told_and_hides_no_other(history: History) -> None:
    path = added(history, entry())
    (path.parent / "a-device.jsonl").symlink_to("/dev/null")
    (path.parent / "b-lost.jsonl").symlink_to("nowhere")
    (path.parent / "c-folder.jsonl").mkdir()
    device, lost = history.read().faults
    assert days(history) == [23]
    assert "a-device.jsonl cannot be read: is no regular file; restore the file from version control" in device
    assert "b-lost.jsonl cannot be read: No such file or directory; restore" in lost
    assert history.add([entry()]) is None, "the lines that can be read are known"


def test_baselines_and_history_do_not_see_each_other(history: History) -> None:
    baselines = Baselines(history.root.parent)
    baselines.save(facts.baseline())
    added(history, entry())
    assert [path.suffix for path in baselines.paths()] == [".json"]
    assert list(baselines.iterate())
    assert baselines.elsewhere("2026-11", "x") == []
    assert len(files_of([history.root.parent])) == 1


def test_files_of_others_in_a_folder_are_left_alone(history: History, tmp_path: Path) -> None:
    path = added(history, entry())
    (tmp_path / "launches.jsonl").write_text("{}")
    assert files_of([tmp_path]) == [path]
    assert files_of([tmp_path, path, tmp_path]) == [path]
    renamed = path.rename(tmp_path / "night.jsonl")
    assert [each.model for each in read(files_of([renamed])).entries] == ["resnet50"]


def test_what_has_no_history_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file or folder .*/none; name histories that runs with"):
        files_of([tmp_path / "none"])
    with pytest.raises(UsageError, match=r"has no history: no file below it has a name like 2026-11-23T170000Z-"):
        files_of([tmp_path])
