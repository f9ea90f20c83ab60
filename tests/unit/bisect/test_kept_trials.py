from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_accel.bisect.kept_trials import KEPT_S, LOGS, KeptTrials, folder_of, forget_old, held
from pytest_accel.facts.errors import AccelError, UsageError
from tests.unit.bisect.scripted import REGRESSED, ratio, trial


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    kept = KeptTrials(tmp_path / "new")
    trials = [trial("a"), trial("b", REGRESSED, ratio=ratio(1.05), seconds=2.5), trial("a", REGRESSED)]
    for each in trials:
        kept.add(each)
    again = KeptTrials(tmp_path / "new")
    assert list(again) == trials
    assert (len(again), again.at("a"), again.at("c")) == (3, [trials[0], trials[2]], [])


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "trials.json").write_text('[{"point": 1}]')
    with pytest.raises(AccelError, match=r"trials\.json is damaged: .*; --reset drops it"):
        KeptTrials(tmp_path)


def test_each_question_has_its_own_folder(tmp_path: Path) -> None:
    questions = [["a", "b"], ["a"], ["ab"], ["b", "a"]]
    assert len({folder_of(tmp_path, question) for question in questions}) == len(questions)
    assert folder_of(tmp_path, ["a"]) == folder_of(tmp_path, ["a"])


def test_one_question_has_one_search_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "question"
    with held(folder), pytest.raises(UsageError, match="another search for the same answer runs"), held(folder):
        pass
    with held(folder):
        pass


def test_searches_that_nobody_goes_on_with_are_forgotten(tmp_path: Path) -> None:
    old, new, running = (tmp_path / name for name in ("old", "new", "running"))
    for folder in (old, new, running):
        (folder / LOGS).mkdir(parents=True)
    long_ago_s = time.time() - KEPT_S - 10
    for folder in (old, running):
        os.utime(folder / LOGS, (long_ago_s, long_ago_s))
    with held(running):
        forget_old(tmp_path)
    assert [folder.exists() for folder in (old, new, running)] == [False, True, True]
    forget_old(tmp_path / "nothing")
