from __future__ import annotations

import os
import subprocess

import pytest

from pytest_accel.worker.hardware.sessions import is_foreign


@pytest.mark.parametrize("is_new", [False, True])
def test_a_process_of_another_session_is_foreign(is_new: bool) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=is_new) as process:
        assert is_foreign(process.pid) == is_new
        process.kill()


def test_a_process_that_cannot_be_seen_may_be_ours() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert not is_foreign(process.pid)
    assert not is_foreign(os.getpid())
