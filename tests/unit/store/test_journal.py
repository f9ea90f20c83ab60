from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.facts.records import Budgets, Signature, TensorSpec, TestRecord
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.store import journal as journals
from pytest_accel.store.journal import KEPT_S, Finished, Journal, check_key, discard_left, folder_of
from tests.unit import facts
from tests.unit.report.test_terminal import accuracy

if TYPE_CHECKING:
    from pytest_accel.inputs.datasets import Dataset
    from tests.unit.conftest import Workshop

SIGNATURE = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 1)),), outputs=())


def dataset(rows: int = 3) -> Dataset:
    return open_dataset(np.ones((rows, 1), np.float32), SIGNATURE, batch_size=1)


def finished_check(key: str = "k", **changed: Any) -> TestRecord:
    return facts.record(**{"key": key, "accuracy": accuracy(dataset_digest=dataset().digest), **changed})


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
    assert finished.take("k", dataset()) == finished_check(resumed="10:00")
    assert finished.take("k", dataset()) is None
    assert finished.take("l", dataset()) is not None


@pytest.mark.parametrize(("key", "rows"), [("other", 3), ("k", 4)], ids=["key", "data"])
def test_one_of_another_check_or_other_data_is_not(left: Path, key: str, rows: int) -> None:
    assert Finished(left).take(key, dataset(rows)) is None


def test_data_are_not_read_when_there_is_nothing_to_resume(left: Path) -> None:
    def unreadable() -> Any:
        raise AssertionError("a pass over the data")

    assert Finished(left).take("other", open_dataset(unreadable, SIGNATURE, batch_size=1)) is None
    assert Finished().take("k", open_dataset(unreadable, SIGNATURE, batch_size=1)) is None


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_line_that_was_cut_off_costs_only_itself(left: Path, cut: int) -> None:
    file = only_file(left)
    os.truncate(file, file.stat().st_size - cut)
    finished = Finished(left)
    assert finished.take("k", dataset()) is not None
    assert (finished.take("l", dataset()) is None) == (cut > 1)  # a whole line may lack its end


def test_lines_of_another_release_are_left_out(left: Path) -> None:
    file = only_file(left)
    file.write_text('{"began": "9:00", "record": {"a": 1}}\n' + file.read_text("utf-8"), encoding="utf-8")
    assert Finished(left).take("k", dataset()) is not None


def test_every_check_is_on_disk_when_it_is_written_down(tmp_path: Path) -> None:
    journal = Journal(tmp_path, began="10:00")
    for lines in (1, 2):
        journal.append(finished_check())
        assert (journal.lines, only_file(tmp_path).read_bytes().count(b"\n")) == (lines, lines)


def test_the_journal_of_a_run_that_lives_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "ASKING_S", 0.0)
    journal = Journal(tmp_path, began="10:00")
    journal.append(finished_check())
    assert Finished(tmp_path).take("k", dataset()) is None
    discard_left(tmp_path)
    journal.close(keep=True)
    assert Finished(tmp_path).take("k", dataset()) is not None


def test_processes_of_one_run_that_ask_at_once_all_get_an_answer(left: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        finished = list(threads.map(lambda _: Finished(left), range(40)))
    assert all(each.take("k", dataset()) for each in finished)


def test_a_run_that_came_to_its_end_leaves_no_file(left: Path) -> None:
    journal = Journal(left, began="11:00")
    journal.append(finished_check())
    journal.close(keep=False)
    assert only_file(left)
    discard_left(left)
    assert list(left.iterdir()) == []


def test_a_journal_that_nobody_came_back_to_is_forgotten(left: Path) -> None:
    written_s = only_file(left).stat().st_mtime
    assert Finished(left, now_s=written_s + KEPT_S - 1).take("k", dataset()) is not None
    assert Finished(left, now_s=written_s + KEPT_S + 1).take("k", dataset()) is None


def test_projects_do_not_share_journals(tmp_path: Path) -> None:
    assert folder_of(tmp_path, Path("/a")) != folder_of(tmp_path, Path("/b"))


def key(workshop: Workshop, **changed: Any) -> str:
    """The key of a check, with one thing changed."""
    options = changed.pop("options", {})
    plan = workshop.plan(**options)
    candidate = compile_candidate(workshop.session, workshop.model(**changed.pop("script", {})), plan.variant)
    said: dict[str, Any] = {"test": "test_it.py::test_it[fake]", "metric": None, "baseline": None}
    budgets = changed.pop("budgets", Budgets(p99_ms=5))
    return check_key(workshop.session, candidate, plan, budgets, **{**said, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"test": "test_it.py::test_other[fake]"},
        {"metric": max},
        {"baseline": facts.baseline()},
        {"budgets": Budgets(p99_ms=6)},
        {"options": {"cores": 2}},
        {"options": {"input_shapes": {"x": (4,)}}},
        {"script": {"latency_ms": 2.0}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_a_result_depends_on_is_in_its_key(workshop: Workshop, changed: dict[str, Any]) -> None:
    assert key(workshop, **changed) != key(workshop)


def test_the_text_of_the_test_is_in_it(workshop: Workshop) -> None:
    before = key(workshop)
    (workshop.folder / "test_it.py").write_text("changed", encoding="ascii")
    assert key(workshop) != before


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"confidence": 0.99}, False),
        ({"first_divergence": True}, False),
        ({"save": "all"}, False),
        ({"in_process": True, "strict": True, "resume": True, "reports": (Path("r.json"),)}, True),
        ({"run_timeout_s": 5.0, "compile_timeout_s": 5.0, "accelerators": ("fake",)}, True),
    ],
)
def test_settings_bind_unless_they_change_no_result(workshop: Workshop, settings: dict[str, Any], same: bool) -> None:
    before = key(workshop)
    workshop.start_again(**settings)
    assert (key(workshop) == before) is same


def test_how_many_are_compared_binds_only_where_there_is_a_baseline(workshop: Workshop) -> None:
    baseline = facts.baseline()
    before = key(workshop), key(workshop, baseline=baseline)
    workshop.session.comparisons = 9
    assert key(workshop) == before[0]
    assert key(workshop, baseline=baseline) != before[1]


def test_a_baseline_that_the_run_writes_itself_does_not_bind(workshop: Workshop) -> None:
    workshop.start_again(save="all")
    assert key(workshop, baseline=facts.baseline()) == key(workshop)
