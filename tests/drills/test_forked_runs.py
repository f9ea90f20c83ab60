"""A forked run is what a started one is: nobody inside can tell the difference, and nothing of it is overlooked."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.drills.drill import TAG, Drill, Ran, processes_of

pytestmark = pytest.mark.drill

FACTS = """
import json
import os
import signal
import sys
import tempfile
import threading

def test_facts():
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    files = [os.readlink(path) for path in paths if os.path.lexists(path)]
    facts = {
        "arguments": sys.argv,
        "environment": dict(os.environ),
        "path": sys.path,
        "flags": list(sys.flags),
        "main": sys.modules["__main__"].__file__,
        "folder": os.getcwd(),
        "temporary": tempfile.gettempdir(),
        "leads a session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "threads": threading.active_count(),
        "signals": [str(signal.getsignal(each)) for each in sorted(signal.valid_signals())],
        "streams": [(each.encoding, each.errors, each.line_buffering) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "files": sorted(name.partition(":")[0] for name in files),
    }
    print("FACTS", json.dumps(facts))
"""


def facts_of(ran: Ran) -> dict[str, Any]:
    (line,) = (line for line in ran.out.splitlines() if "FACTS" in line)
    facts: dict[str, Any] = json.loads(line.partition("FACTS")[2])
    return facts


def given_answers(drill: Drill) -> None:
    """Leave no question of a drill open: this is none."""
    drill.answers.update(dict.fromkeys(drill.answers, True))


def test_a_forked_run_is_as_a_started_one(drill: Drill) -> None:
    given_answers(drill)
    drill.write("test_models.py", FACTS)
    forked, started = (facts_of(drill.run("-s", anew=anew, environment={"MORE": "1"})) for anew in (False, True))
    assert forked == started
    assert forked["environment"]["MORE"] == "1"


LEAVES = """
import os
import signal

def test_leaves():
    if os.fork() == 0:
        os.closerange(0, 256)
        while True:
            signal.pause()
"""


def test_what_a_forked_run_leaves_behind_is_found(drill: Drill) -> None:
    given_answers(drill)
    drill.write("test_models.py", LEAVES)
    drill.verdict(drill.run(), status=0, passed=1)
    (left,) = processes_of(drill.environment[TAG])
    left.kill()


@pytest.mark.parametrize("end", ["signal.SIGTERM", "signal.SIGKILL"])
def test_the_end_of_a_forked_run_is_told(drill: Drill, end: str) -> None:
    given_answers(drill)
    drill.write("test_models.py", f"import os, signal\ndef test_ends(): os.kill(os.getpid(), {end})\n")
    assert drill.run().status == -getattr(signal, end.partition(".")[2])


def test_a_forked_run_that_hangs_shows_its_stack(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    given_answers(drill)
    monkeypatch.setattr("tests.drills.drill.LIMIT_S", 3.0)
    drill.write("test_models.py", "import time\ndef test_hangs(): time.sleep(60)\n")
    with pytest.raises(pytest.fail.Exception, match=r"the run hangs:[\s\S]*test_models\.py.* in test_hangs"):
        drill.run()
