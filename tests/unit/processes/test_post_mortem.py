from __future__ import annotations

import pytest

from pytest_accel.processes.post_mortem import ending


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
