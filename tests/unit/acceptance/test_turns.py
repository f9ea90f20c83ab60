from __future__ import annotations

import os
import sys
import time

import pytest

from pytest_accel.acceptance.turns import InTurns

#: Counts hundredths of a second of its own running, and is done after ten of them.
COUNTING = """
import time
print("begin", flush=True)
for _ in range(10):
    time.sleep(0.01)
print("Median: 2.5")
"""


#: Tells how many cores it may run on, while it runs.
TELLING = """
import os, time
print("begin", flush=True)
for _ in range(20):
    sum(range(100_000))
    print("may use", len(os.sched_getaffinity(0)))
"""


def in_turns(code: str, start_s: float = 60.0, *, apart: bool = False) -> InTurns:
    return InTurns([sys.executable, "-c", code], begins="begin", start_s=start_s, apart=apart)


def test_it_runs_in_its_turns_alone() -> None:
    with in_turns(COUNTING) as process:
        time.sleep(0.3)
        assert process.take(0.02), "it has not run meanwhile"
        assert process.stopped_s > 0.25
        while process.take(0.1):
            pass
    assert "Median: 2.5" in process.output()


@pytest.mark.parametrize("apart", [True, False])
def test_its_busiest_thread_has_a_core_of_its_own_where_that_is_asked_for(apart: bool) -> None:
    with in_turns(TELLING, apart=apart) as process:
        while process.take(0.1):
            pass
    *_, last = process.output().splitlines()  # it may have gone on a little before it was stopped
    assert last == f"may use {1 if apart else len(os.sched_getaffinity(0))}"


def test_one_that_ends_before_it_begins_is_told_with_its_words() -> None:
    with pytest.raises(RuntimeError, match="ended before 'begin':\nno such model"), in_turns("print('no such model')"):
        pass


def test_one_that_never_begins_is_ended() -> None:
    began_s = time.monotonic()
    with pytest.raises(RuntimeError, match="did not begin in 1 s:\nwait"):
        in_turns("import time; print('wait'); time.sleep(60)", start_s=1.0).__enter__()
    assert time.monotonic() - began_s < 30


def test_one_that_fails_is_told_with_its_words() -> None:
    with in_turns("print('begin'); raise SystemExit('out of memory')") as process:
        while process.take(0.1):
            pass
    with pytest.raises(RuntimeError, match="ended with status 1:\nbegin\nout of memory"):
        process.output()


def test_one_that_writes_much_is_not_stopped_by_that() -> None:
    with in_turns("print('begin', flush=True); print('x' * 1_000_000)") as process:
        while process.take(0.2):
            pass
    assert len(process.output()) > 1_000_000
