"""What `pytest-accel bisect` promises, on launches that were recorded on a real machine."""

from __future__ import annotations

from statistics import median

import pytest

from tests.benchmarks.gate.bisect_replay import ENDS, searches, usable
from tests.benchmarks.gate.replay import Recording

SEARCHES = 40
RECORDINGS = usable()
NAMES = [f"{recording.workload}-{recording.condition}" for recording in RECORDINGS]


@pytest.mark.statistical
@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_one_of_64_commits_is_found_and_hardly_ever_another_one(recording: Recording) -> None:
    made = searches(recording, SEARCHES)
    assert sum(each.is_wrong for each in made) <= SEARCHES / 20
    if recording.condition == "quiet":  # under load nothing is promised but to name several commits, or to give up
        assert sum(each.is_right for each in made) >= SEARCHES * 19 / 20
        assert median(each.decisions - ENDS for each in made) <= 7
