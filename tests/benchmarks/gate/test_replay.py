"""The promised error rates, on launches that were recorded on a real machine."""

from __future__ import annotations

from math import inf

import pytest
import scipy.stats

from pytest_accel.verdict.gate import Gate
from tests.benchmarks.gate.creep import FIRST_OVER, STEP, branches
from tests.benchmarks.gate.replay import GATE, Recording, recordings

VERDICTS = 1000
BRANCHES = 20
RECORDINGS = list(recordings())

each_recording = pytest.mark.parametrize(
    "recording", RECORDINGS, ids=[f"{recording.workload}-{recording.condition}" for recording in RECORDINGS]
)


def at_most(errors: int, rate: float) -> bool:
    """Whether so many errors agree with this rate."""
    return errors <= scipy.stats.binom.ppf(0.999, VERDICTS, rate)


@pytest.mark.statistical
@each_recording
def test_unchanged_models_are_called_slower_at_most_once_in_a_hundred(recording: Recording) -> None:
    for duet in {"same", "yardstick"} & recording.duets.keys():
        assert at_most(recording.replay(duet, VERDICTS).count("regressed"), 0.01), duet


@pytest.mark.statistical
@each_recording
def test_slower_models_hardly_ever_pass(recording: Recording) -> None:
    for duet in {"slower-5", "slower-10"} & recording.duets.keys():
        assert at_most(recording.replay(duet, VERDICTS).count("pass", "improved"), 0.01), duet


@pytest.mark.statistical
@each_recording
def test_slowdowns_are_found_on_a_quiet_machine(recording: Recording) -> None:
    if recording.condition != "quiet":
        pytest.skip("under load nothing is promised but to say so")
    for duet in {"slower-5", "slower-10"} & recording.duets.keys():
        # How many launches fit a minute is the framework's: TensorFlow needs most of ten seconds to be loaded.
        missed = VERDICTS - recording.replay(duet, VERDICTS, budget_s=inf).count("regressed")
        assert at_most(missed, 0.01), duet


@pytest.mark.statistical
@each_recording
def test_a_limit_that_is_exactly_met_is_decided_wrongly_no_more_often_than_promised(recording: Recording) -> None:
    """The launches of a slower model against a limit of what it is slower by: a coin that the gate must not toss."""
    for duet in {"slower-5", "slower-10"} & recording.duets.keys():
        gate = Gate(max_regression=recording.slowdown(duet), confidence=GATE.confidence)
        replay = recording.replay(duet, VERDICTS, gate, mirrored=True)
        assert at_most(replay.count("regressed"), 0.05), duet
        assert at_most(replay.count("pass", "improved"), 0.05), duet


@pytest.mark.statistical
@each_recording
def test_whole_launches_in_turns_err_no_more_often_than_promised(recording: Recording) -> None:
    """They are hardly ever decided here: a processor that others use changes from one launch to the next."""
    for duet in recording.duets:
        replay = recording.replay(duet, VERDICTS, apart=True)
        wrong = ("regressed",) if duet in ("same", "yardstick") else ("pass", "improved")
        assert at_most(replay.count(*wrong), 0.05), duet


@pytest.mark.statistical
@each_recording
def test_what_many_commits_add_is_red_and_equal_commits_are_not(recording: Recording) -> None:
    for branch in branches(recording, BRANCHES, step=0.0):
        assert branch.first_red is None
        assert not branch.is_red_at_once
    for branch in branches(recording, BRANCHES, step=STEP):
        assert not branch.is_red_at_once
        assert branch.first_red is not None
        assert branch.first_red >= FIRST_OVER - 1
