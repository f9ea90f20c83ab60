from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pytest_accel.measuring.results import Bounded, Latency
from tests.unit import facts

if TYPE_CHECKING:
    import pytest


def latency(calls: int, *, scattered: bool = True, confidence: float = 0.95) -> Latency:
    """Calls of 1 ms, 2 ms and so on, scattered or getting slower and slower."""
    latencies_ns = [1_000_000 * n for n in range(1, calls + 1)]
    if scattered:
        random.Random(1).shuffle(latencies_ns)
    return Latency(facts.measurement(latencies_ns=latencies_ns, items_per_call=4, wall_s=2), confidence=confidence)


def test_percentiles_are_plain_numbers_by_nearest_rank() -> None:
    found = latency(1000)
    percentiles_ms = [found.p50_ms, found.p90_ms, found.p95_ms, found.p99_ms, found.p999_ms, found.percentile_ms(75)]
    assert list(map(float, percentiles_ms)) == [500, 900, 950, 990, 999, 750]
    assert type(found.p50_ms * 2) is float


def test_throughput_is_items_over_all_the_time() -> None:
    assert latency(1000).throughput == 2000


def test_a_percentile_knows_its_bound() -> None:
    assert latency(1000).p99_ms.bound == "95% upper bound 997 ms from 1000 calls"


def test_a_confidence_is_not_told_as_more_than_it_is() -> None:
    assert latency(5000, confidence=0.995).p50_ms.bound.startswith("99.5% upper bound ")
    assert latency(100, confidence=0.995).p99_ms.bound.startswith("100 calls are too few for a 99.5% upper bound, ")


def test_too_few_calls_say_how_many_are_enough() -> None:
    assert latency(100).p99_ms.bound == "100 calls are too few for a 95% upper bound, which needs 299"


def test_slow_calls_in_a_cluster_make_calls_worth_less_than_their_number() -> None:
    assert "1000 calls are too few for a 95% upper bound, which needs " in latency(1000, scattered=False).p99_ms.bound
    assert int(latency(1000, scattered=False).p99_ms.bound.split()[-1]) > 1000


def test_a_failed_comparison_shows_both_sides_and_the_bounds() -> None:
    slow = Bounded(41.25, name="p99 ms", bound="95% upper bound 44 ms")
    limit = Bounded(40.0, name="p50 ms", bound="95% upper bound 42 ms")
    assert Bounded.explain_comparison("<=", slow, 40) == ["p99 ms 41.25 <= 40", "95% upper bound 44 ms"]
    assert Bounded.explain_comparison(">", 40, slow) == ["40 > p99 ms 41.25", "95% upper bound 44 ms"]
    assert Bounded.explain_comparison("<", slow, limit) == [
        "p99 ms 41.25 < p50 ms 40",
        "95% upper bound 44 ms",
        "95% upper bound 42 ms",
    ]


def test_pytest_shows_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pytest_accel.measuring.results import Bounded

        def test_it():
            assert Bounded(41.25, name="p99 ms", bound="95% upper bound 44 ms") <= 40
        """
    )
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["E*assert p99 ms 41.25 <= 40", "E*95% upper bound 44 ms"])
