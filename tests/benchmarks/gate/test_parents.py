"""Launches that are forked from one process are as independent as others, on launches recorded on a real machine."""

from __future__ import annotations

from statistics import median

import pytest
import scipy.stats

from tests.benchmarks.gate.parents import WORKLOADS, paces

#: Of so many true hypotheses one is rejected in a thousand runs; the recording is always the same.
SIGNIFICANCE = 0.001

each_workload = pytest.mark.parametrize("workload", WORKLOADS)


def deviations(families: list[list[float]]) -> list[float]:
    """How far each launch is from the middle of its family, in percent."""
    return [abs(pace - median(family)) for family in families for pace in family]


@pytest.mark.statistical
@each_workload
def test_launches_of_one_parent_scatter_no_less_than_others(workload: str) -> None:
    forked, own = deviations(paces(workload, "forked")), deviations(paces(workload, "own"))
    assert min(len(forked), len(own)) >= 40
    assert scipy.stats.mannwhitneyu(forked, own, alternative="less").pvalue > SIGNIFICANCE


@pytest.mark.statistical
@each_workload
def test_what_one_parent_gives_is_not_its_own(workload: str) -> None:
    assert scipy.stats.kruskal(*paces(workload, "forked")).pvalue > SIGNIFICANCE
