from __future__ import annotations

import argparse

import pytest

from pytest_accel.bisect.bisection import Finding, Step
from pytest_accel.bisect.trial import FAULTS
from pytest_accel.commands import bisect
from pytest_accel.commands.bisect_lines import of_finding, of_step
from tests.unit.bisect.scripted import CLOSE, GOOD, NOTHING, REGRESSED, Points, ratio, trial


@pytest.mark.parametrize(
    ("words", "own", "for_pytest"),
    [
        (["bisect", "a", "b", "--", "t.py", "-k", "x"], ["bisect", "a", "b"], ["t.py", "-k", "x"]),
        (["bisect", "a", "--reset", "--", "t.py", "--", "u"], ["bisect", "a", "--reset"], ["t.py", "--", "u"]),
        (["bisect", "a", "b"], ["bisect", "a", "b"], []),
    ],
)
def test_what_is_behind_the_dashes_is_for_pytest(words: list[str], own: list[str], for_pytest: list[str]) -> None:
    assert bisect.split(words) == (own, for_pytest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confidence=1"], "1 is not from 0.5 up to less than 1"),
        (["--confidence=0.2"], "0.2 is not from 0.5 up to less than 1"),
        (["--confidence=nan"], "'nan' is not a number above 0"),
        (["--compare-budget=0"], "'0' is not a number above 0"),
        (["--compare-budget=long"], "'long' is not a number above 0"),
        (["--hunt=slow"], "invalid choice: 'slow'"),
    ],
)
def test_values_that_cannot_be_right(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    bisect.add(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words)
    assert message in capsys.readouterr().err


def test_a_decision_is_a_line() -> None:
    shown = trial("p3", REGRESSED, ratio=ratio(1.05), seconds=12.4)
    step = Step("one of 64", shown, "bad", 5)
    assert of_step(step, Points(9)) == "bad        point p3  ×1.050 [1.030, 1.070]  (one of 64; 12 s; 5 to go)"
    kept = Step("BAD", shown, "bad", 0, is_kept=True)
    assert of_step(kept, Points(9)).endswith("(BAD; kept; the last one)")


def test_an_undecided_trial_says_why_and_where_to_look() -> None:
    close = trial("p3", CLOSE, ratio=ratio(1.05), reason="inconclusive: around 1.05", log="/logs/1.log")
    assert "×1.050 [1.030, 1.070]  inconclusive: around 1.05 (/logs/1.log)" in of_step(
        Step("BAD", close, "undecided", 5), Points(9)
    )
    nothing = trial("p3", NOTHING, reason="no test was selected", log="/logs/1.log")
    assert "point p3  no test was selected (/logs/1.log)" in of_step(Step("BAD", nothing, "undecided", 5), Points(9))


def finding(*undecided: str) -> Finding:
    trials = (trial("p5", REGRESSED, ratio=ratio(1.05)), trial("p4", GOOD, ratio=ratio(1.0)))
    return Finding(FAULTS["regressed"], "p5", undecided, confidence=0.95, decisions=8, trials=trials)


def test_the_answer_has_both_sides_of_the_change() -> None:
    assert list(of_finding(finding(), Points(9))) == [
        "first regressed: point p5 (95 % confidence over 8 decisions)",
        "  there   point p5  ×1.050 [1.030, 1.070]",
        "  before  point p4  ×1.000 [0.980, 1.020]",
    ]


def test_an_answer_of_several_names_them_all() -> None:
    assert list(of_finding(finding("p3", "p4"), Points(9)))[:4] == [
        "first regressed: one of these; all but the last could not be decided (95 % confidence over 8 decisions)",
        "  point p3",
        "  point p4",
        "  point p5",
    ]
