from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks import lost_process
from pytest_accel.acceptance.checks.lost_process import check_free_device, check_killed_process, check_out_of_memory
from pytest_accel.acceptance.finding import Broken, NotApplicable

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_a_killed_process_is_told_and_the_next_one_works(in_processes: FakeSubject) -> None:
    assert "was killed by SIGKILL" in check_killed_process(in_processes).reason


def test_a_killed_process_that_goes_on_is_a_fault(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    with pytest.raises(Broken, match="goes on to answer"):
        check_killed_process(in_processes)


def test_a_model_that_needs_no_memory_does_not_run_out_of_it(in_processes: FakeSubject) -> None:
    with pytest.raises(NotApplicable, match="the model loads within 24 MB more"):
        check_out_of_memory(in_processes)


def test_memory_that_runs_out_is_told_in_words(in_processes: FakeSubject) -> None:
    in_processes.scripts["resnet50"] = {
        "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 3]}],
        "failures": {"load": {"how": "memory", "message": "no room for 97 MB", "at_call": 1}},
    }
    # The script has no memory in any process, so the one after it fails too, and that is told.
    with pytest.raises(Exception, match="no room for 97 MB"):
        check_out_of_memory(in_processes)


def test_a_session_that_ends_leaves_nothing(in_processes: FakeSubject) -> None:
    assert check_free_device(in_processes).reason == "no process is left over"


def test_a_process_that_is_left_over_is_named(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(lost_process, "_answers", lambda *_: left.append(subprocess.Popen(["sleep", "60"])))
    try:
        with pytest.raises(Broken, match=r"process \d+ \(sleep\) is left over"):
            check_free_device(in_processes)
    finally:
        for process in left:
            process.kill()
            process.wait()


def test_in_the_controllers_own_process_nothing_is_lost(subject: FakeSubject) -> None:
    for check in (check_out_of_memory, check_killed_process, check_free_device):
        with pytest.raises(NotApplicable, match="no process of its own"):
            check(subject)
