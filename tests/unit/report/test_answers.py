from __future__ import annotations

from pytest_accel.facts.verdicts import Verdict
from pytest_accel.report.answers import answers
from tests.unit.report.test_overview import record


def test_an_answer_has_its_question_its_details_and_what_it_stands_on() -> None:
    verdict = Verdict(kind="regressed", question="regression", summary="Slower.", details=("By much.",))
    changed = record(verdicts=(verdict,), changes=("version tf: 1 -> 2",))
    assert list(answers(changed)) == [
        "regressed (regression): Slower. By much.",
        "single_stream, 100 calls; compiled in 1 min 0 s, loaded in 1.5 s, first inference 40 ms, 20 calls to warm up.",
        "Budgets: p99_ms=7.",
        "Changed from the baseline: version tf: 1 -> 2.",
    ]
