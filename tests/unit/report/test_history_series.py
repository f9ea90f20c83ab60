from __future__ import annotations

from itertools import count
from math import hypot, log
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import ComparedBaseline, Provenance
from pytest_accel.report.history_series import Series, series_of
from pytest_accel.store.history_entry import Bounds, HistoryEntry, entry_of
from pytest_accel.verdict.gate import WIDEST
from tests.unit import facts


def within_2_percent(ratio: float) -> Bounds:
    return Bounds(estimate=ratio, lower=ratio / 1.02, upper=ratio * 1.02)


class Runs:
    """Runs one after the other, an hour apart."""

    def __init__(self) -> None:
        self.entries: list[HistoryEntry] = []
        self._hours = count()

    def add(self, artefact: str, ratio: float | Bounds | None = None, baseline: str = "", **changed: Any) -> None:
        """One run of what was compiled to ``artefact``, which took ``ratio`` times as long as the baseline."""
        hour = next(self._hours)
        facts_of_run: dict[str, Any] = {
            "artefact": artefact,
            "provenance": Provenance(commit=f"{hour:02}{'a' * 38}"),
            "ratio": Bounds(estimate=ratio, lower=ratio / 1.02, upper=ratio * 1.02)
            if isinstance(ratio, float)
            else ratio,
            "beside": ComparedBaseline(saved="2026-11-01", artefact_key=baseline) if baseline else None,
        }
        began = f"2026-11-{1 + hour // 24:02}T{hour % 24:02}:00:00+00:00"
        made = entry_of(facts.record(measurement=facts.measurement()), began=began, confidence=0.95)
        self.entries.append(msgspec.structs.replace(made, **{**facts_of_run, **changed}))

    def series(self) -> list[Series]:
        return list(series_of(self.entries))

    def values(self) -> list[list[float]]:
        return [[round(point.value, 4) for point in series.points] for series in self.series()]


@pytest.fixture
def runs() -> Runs:
    return Runs()


def test_ratios_to_one_baseline_are_the_series_and_its_own_run_is_one(runs: Runs) -> None:
    runs.add("A")
    runs.add("B", 1.02, "A")
    runs.add("C", 0.99, "A")
    (series,) = runs.series()
    assert series.measure == "ratio"
    assert runs.values() == [[1.0, 1.02, 0.99]]
    assert (series.points[0].lower, series.points[0].upper) == (1.0, 1.0)
    assert series.points[1].upper == pytest.approx(1.02 * 1.02)


def test_a_baseline_from_before_the_history_has_the_level_one(runs: Runs) -> None:
    runs.add("B", 1.02, "A")
    runs.add("C", 0.99, "A")
    assert runs.values() == [[1.02, 0.99]]


def test_ratios_are_chained_where_the_baseline_was_replaced(runs: Runs) -> None:
    runs.add("A")
    runs.add("B", 1.04, "A")  # is saved
    runs.add("C", 1.04, "B")  # is saved
    runs.add("D", 1.00, "C")
    assert runs.values() == [[1.0, 1.04, round(1.04**2, 4), round(1.04**2, 4)]]


def test_the_errors_of_a_chain_add_up(runs: Runs) -> None:
    runs.add("B", 1.04, "A")
    runs.add("C", 1.04, "B")
    point = runs.series()[0].points[1]
    assert point.lower is not None
    assert point.upper is not None
    assert log(point.value / point.lower) == pytest.approx(hypot(log(1.02), log(1.02)))
    assert log(point.upper / point.value) == pytest.approx(hypot(log(1.02), log(1.02)))


def test_measuring_one_artefact_often_adds_up_no_errors(runs: Runs) -> None:
    runs.add("B", 1.04, "A")
    for _ in range(50):
        runs.add("B", 1.01, "B")
    assert runs.values() == [[1.04] + [round(1.04 * 1.01, 4)] * 50]


def test_what_was_measured_best_is_the_level_of_a_baseline(runs: Runs) -> None:
    vague = Bounds(estimate=1.5, lower=1.0, upper=2.0)
    runs.add("B", vague, "A")
    runs.add("B", 1.04, "A")
    runs.add("B", vague, "A")
    runs.add("C", 1.0, "B")
    assert runs.values() == [[1.5, 1.04, 1.5, 1.04]]


def test_where_no_run_leads_from_one_baseline_to_the_next_a_series_begins(runs: Runs) -> None:
    runs.add("B", 1.02, "A")
    runs.add("C", 1.03, "A")
    runs.add("E", 1.01, "D")
    runs.add("F", 1.00, "D")
    assert runs.values() == [[1.02, 1.03], [1.01, 1.0]]
    assert [len(series.entries) for series in runs.series()] == [2, 2]


def test_a_run_that_was_compared_with_no_baseline_counts_and_has_no_point(runs: Runs) -> None:
    runs.add("B", 1.02, "A")
    runs.add("C", 0.7, opponent="../main")
    runs.add("D")
    runs.add("E", 1.03, "A")
    (series,) = runs.series()
    assert len(series.entries) == 4
    assert runs.values() == [[1.02, 1.03]]


def test_without_two_ratios_latency_is_drawn_with_its_bounds(runs: Runs) -> None:
    bounds = Bounds(estimate=50.0, lower=48.0, upper=52.0)
    for ratio, baseline in ((None, ""), (1.02, "A"), (None, "")):
        runs.add("B", ratio, baseline, p50_ms=bounds)
    (series,) = runs.series()
    assert series.measure == "p50"
    assert [(point.lower, point.value, point.upper) for point in series.points] == [(48, 50, 52)] * 3


def test_a_bound_that_is_not_known_is_none(runs: Runs) -> None:
    runs.add("B", Bounds(estimate=1.0, lower=1 / WIDEST, upper=WIDEST), "A")
    runs.add("C", 1.0, "A")
    point = runs.series()[0].points[0]
    assert (point.lower, point.upper) == (None, None)


def test_each_model_variant_and_hardware_is_a_series(runs: Runs) -> None:
    others: list[dict[str, Any]] = [{"model": "bert"}, {"variant": "cpu"}, {"fingerprint": "other"}]
    for changed in ({}, *others, {}):
        runs.add("A", **changed)
    found = [(series.name, series.entries[0].fingerprint, len(series.entries)) for series in runs.series()]
    assert found == [
        ("bert[gpu-trt-int8-b8]", facts.T4.fingerprint, 1),
        ("resnet50[cpu]", facts.T4.fingerprint, 1),
        ("resnet50[gpu-trt-int8-b8]", facts.T4.fingerprint, 2),
        ("resnet50[gpu-trt-int8-b8]", "other", 1),
    ]


def test_a_change_says_from_which_commit_on_and_how_much(runs: Runs) -> None:
    for nth in range(16):
        runs.add(f"B{nth}", 1.0 if nth < 8 else 1.05, "A")
    (change,) = runs.series()[0].changes
    assert change.at == 8
    assert str(change) == "from commit 08aaaaaaaa on 5 % slower"


def test_a_change_is_seen_across_a_replaced_baseline(runs: Runs) -> None:
    """Each step is small beside the baseline of its day."""
    for nth in range(6):
        runs.add(f"B{nth}", 1.0, "A")
    for nth in range(6):
        runs.add(f"C{nth}", 1.04, "A")
    for nth in range(6):
        runs.add(f"D{nth}", 1.04, "C0")
    assert [change.at for change in runs.series()[0].changes] == [6, 12]


def test_a_change_of_unknown_commit_names_its_run(runs: Runs) -> None:
    for nth in range(16):
        runs.add("B", 0.9 if nth >= 8 else 1.0, "A", provenance=Provenance())
    (change,) = runs.series()[0].changes
    assert str(change) == "from the run of 2026-11-01T08:00:00+00:00 on 10 % faster"
