from __future__ import annotations

from pytest_accel.facts.records import Budgets, Ratio
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.report.plots.forest import forest
from pytest_accel.verdict.gate import WIDEST
from tests.unit.report.test_model_table import table
from tests.unit.report.test_overview import record


def ratio(estimate: float, lower: float, upper: float) -> Ratio:
    return Ratio(estimate=estimate, lower=lower, upper=upper, confidence=0.95, launches=3, smallest_caught=0.1)


def test_ratios_are_drawn_with_interval_and_limit() -> None:
    plot = forest(table(record(ratio=ratio(1.2, 1.1, 1.3), budgets=Budgets(max_regression=0.02))))
    assert plot is not None
    (whisker,) = plot.whiskers
    assert plot.left < plot.one < whisker.limit < whisker.lower < whisker.at < whisker.upper < plot.right
    assert whisker.text == "×1.200 [1.100, 1.300]"
    assert not whisker.open_below
    assert not whisker.open_above


def test_an_interval_without_an_end_reaches_the_edge() -> None:
    plot = forest(table(record(ratio=ratio(1.0, 1 / WIDEST, WIDEST))))
    assert plot is not None
    (whisker,) = plot.whiskers
    assert (whisker.lower, whisker.upper) == (plot.left, plot.right)
    assert whisker.open_below
    assert whisker.open_above


def test_a_ratio_has_the_verdict_on_itself() -> None:
    verdicts = (
        Verdict(kind="sla-breach", question="sla", summary="Slow."),
        Verdict(kind="improved", question="regression", summary="Faster."),
    )
    plot = forest(table(record(ratio=ratio(0.8, 0.7, 0.9), verdicts=verdicts)))
    assert plot is not None
    assert plot.whiskers[0].text == "×0.800 [0.700, 0.900] improved"


def test_without_a_comparison_there_are_no_ratios() -> None:
    assert forest(table(record())) is None
