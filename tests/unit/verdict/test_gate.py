from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
import scipy.stats
from msgspec.structs import replace

from pytest_accel.facts.records import Duet, DuetLaunch
from pytest_accel.stats import MIXTURE_SAMPLES
from pytest_accel.verdict.gate import MOST_LAUNCHES, SPREAD, SPREAD_FREEDOM, Decision, Gate, comparable


def launch(pace: float, error: float = 0.0) -> DuetLaunch:
    return DuetLaunch(
        candidate_p50_ms=10.0 * pace,
        pacemaker_p50_ms=10.0,
        log_pace=math.log(pace),
        pairs=40,
        started_first="candidate",
        log_pace_error=error,
    )


def duet(*paces: float, pacemaker: str = "yardstick", digest: str = "d1", error: float = 0.0) -> Duet:
    launches = tuple(launch(pace, error) for pace in paces)
    return Duet(pacemaker=pacemaker, pacemaker_digest=digest, launches=launches)


def decided(gate: Gate, *paces: float, baseline: Duet | None = None, error: float = 0.0) -> Decision:
    return gate.decide(gate.ratio(duet(*paces, error=error), baseline))


def test_a_doubled_time_is_found_by_two_launches() -> None:
    assert decided(Gate(), 2.01, 1.98) == "regressed"


def test_an_unchanged_time_passes_after_two_launches() -> None:
    assert decided(Gate(), 1.001, 0.998) == "pass"


def test_one_launch_decides_nothing() -> None:
    assert decided(Gate(), 3.0) == "inconclusive"
    assert Gate().ratio(duet()) is None
    assert Gate().ratio(duet(1.0, 1.0), duet()) is None
    assert Gate().decide(None) == "inconclusive"


def test_launches_that_others_disturbed_count_for_nothing() -> None:
    quiet, spoilt = duet(1.001, 0.998), replace(launch(1.5), disturbed=True)
    both = replace(quiet, launches=(spoilt, *quiet.launches, spoilt))
    only_spoilt = replace(quiet, launches=(spoilt,) * 20)
    assert Gate().ratio(both) == Gate().ratio(quiet)
    assert Gate().ratio(quiet, both) == Gate().ratio(quiet, quiet)
    assert Gate().ratio(only_spoilt) is Gate().ratio(quiet, only_spoilt) is None
    assert Gate().wants_more(only_spoilt.launches)
    assert not Gate().wants_more((spoilt,) * MOST_LAUNCHES)


def test_a_slowdown_within_the_noise_is_undecided() -> None:
    assert decided(Gate(), 1.03, 1.12, 1.07) == "inconclusive"


def test_pairs_that_scatter_within_the_launches_need_more_of_these() -> None:
    assert decided(Gate(), 1.001, 0.998, error=0.002) == "pass"
    assert decided(Gate(), 1.001, 0.998, error=0.05) == "inconclusive"


def test_a_faster_candidate_is_improved_only_beyond_half_of_what_matters() -> None:
    assert decided(Gate(), 0.900, 0.901, 0.902) == "improved"
    assert decided(Gate(), 0.980, 0.981, 0.982) == "pass"


def test_a_slowdown_within_the_tolerance_passes_and_one_at_it_is_undecided() -> None:
    paces = [1.030, 1.031, 1.029] * 5
    assert decided(Gate(max_regression=0.05), *paces) == "pass"
    assert decided(Gate(max_regression=0.01), *paces) == "regressed"
    assert decided(Gate(max_regression=0.03), *paces) == "inconclusive"


def test_bounds_mix_students_likelihood_over_the_mean() -> None:
    """At its bound, the likelihood ratio of all means, by brute force, to the limit's is one over the error."""
    paces, error = [1.01, 1.05, 0.99, 1.02], 0.05
    logs = [math.log(pace) for pace in paces]
    for tests in (1, 20):
        ratio = Gate(confidence=1 - error, tests=tests).ratio(duet(*paces))
        assert ratio is not None
        assert mixed_likelihood_ratio(logs, math.log(ratio.lower)) == pytest.approx(tests / (2 * error), rel=1e-4)
        assert mixed_likelihood_ratio(logs, math.log(ratio.upper)) == pytest.approx(1 / (2 * error), rel=1e-4)
        assert ratio.estimate == pytest.approx(math.exp(sum(logs) / 4))
        assert (ratio.launches, ratio.confidence) == (4, 0.95)


def mixed_likelihood_ratio(logs: list[float], limit: float) -> float:
    """The likelihood of the launches, mixed over normal effects of any size, over that of ``limit`` itself.

    The variance is drawn from what is known of it: the marginal of the launches is a multivariate t.
    """
    n = len(logs)
    common = [[(i == j) + 0.0 for j in range(n)] for i in range(n)]
    mixed = [[(i == j) + 1.0 / MIXTURE_SAMPLES for j in range(n)] for i in range(n)]
    likelihoods = [
        scipy.stats.multivariate_t(
            [limit] * n, [[SPREAD**2 * each for each in row] for row in shape], round(SPREAD_FREEDOM)
        )
        for shape in (mixed, common)
    ]
    over, under = (likelihood.pdf(logs) for likelihood in likelihoods)
    return float(over / under)


def test_against_a_yardstick_the_baselines_pace_counts() -> None:
    baseline = duet(3.00, 3.01, 2.99, 3.00, 3.02)
    assert decided(Gate(), 3.01, 3.00, 2.98, 3.00, baseline=baseline) == "pass"
    assert decided(Gate(), 6.02, 6.00, 5.98, baseline=baseline) == "regressed"


def test_the_baselines_own_spread_widens_the_bounds() -> None:
    now = duet(1.0, 1.01, 0.99, 1.0)
    calm = Gate().ratio(now, duet(1.0, 1.0, 1.0))
    shaky = Gate().ratio(now, duet(1.0, 1.2, 0.8))
    assert calm is not None
    assert shaky is not None
    assert shaky.upper > 1.2 > calm.upper


def test_paces_beside_different_pacemakers_do_not_compare() -> None:
    assert comparable(duet(1.0), duet(2.0))
    assert not comparable(duet(1.0), duet(1.0, digest="d2"))
    assert not comparable(duet(1.0), duet(1.0, pacemaker="baseline artefact"))
    with pytest.raises(ValueError, match="do not compare"):
        Gate().ratio(duet(1.0, 1.0), duet(1.0, 1.0, digest="d2"))


def test_wants_launches_until_decided_or_hopeless() -> None:
    gate = Gate()
    assert [gate.wants_more([launch(1.0)] * count) for count in range(4)] == [True, True, False, False]
    undecided = [launch(pace) for pace in (0.9, 1.2)] * (MOST_LAUNCHES // 2)
    assert gate.wants_more(undecided[:-1])
    assert not gate.wants_more(undecided)
    assert gate.wants_more([launch(1.0)] * 3, baseline=duet(0.9, 1.1, 1.2))


def test_wild_launches_keep_the_record_finite() -> None:
    for paces in ((1e-3, 1e3), (1.0,)):
        ratio = Gate(tests=1000).ratio(duet(*paces))
        assert ratio is not None
        assert (ratio.lower, ratio.upper) == (1e-6, 1e6)
        assert math.isfinite(ratio.smallest_caught)


def test_more_launches_shrink_with_the_square_root() -> None:
    gate = Gate(max_regression=0.05)
    ratio = gate.ratio(duet(0.95, 1.00, 1.05))
    assert ratio is not None
    more = gate.more_launches(ratio)
    assert more is not None
    margin = math.log(ratio.upper / ratio.estimate)
    assert 3 + more == math.ceil(3 * (margin / (math.log(1.05) - math.log(ratio.estimate))) ** 2)
    at_the_limit = gate.ratio(duet(1.02, 1.08, 1.05))
    assert at_the_limit is not None
    assert gate.more_launches(at_the_limit) is None


def outcomes(
    slowdown: float, sd: float, *, runs: int, direct: bool = True, gate: Gate | None = None, freedom: float = 1e6
) -> Counter[str]:
    """What the gate answers, and after how many launches, when each launch has a bias of its own.

    Biases are Student's t with this ``freedom``, scaled to the deviation ``sd``: with 3 some are far out.
    """
    rng, gate, counts = random.Random(3), gate or Gate(), Counter[str]()
    scale = sd * math.sqrt((freedom - 2) / freedom)

    def launches(pace: float) -> Callable[[], DuetLaunch]:
        def play() -> DuetLaunch:
            return launch(
                pace * math.exp(scale * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(freedom / 2, 2 / freedom)))
            )

        return play

    for _ in range(runs):
        baseline = None
        if not direct:
            stored = launches(1.0)
            baseline = Duet(pacemaker="yardstick", pacemaker_digest="d1", launches=tuple(stored() for _ in range(5)))
        taken: list[DuetLaunch] = []
        another = launches(1.0 + slowdown)
        while gate.wants_more(taken, baseline) and len(taken) < 20:  # what a minute has room for
            taken.append(another())
        found = Duet(pacemaker="yardstick", pacemaker_digest="d1", launches=tuple(taken))
        ratio = gate.ratio(found, baseline)
        assert ratio is not None
        counts[gate.decide(ratio)] += 1
        counts["launches"] += len(taken)
        counts["by 5"] += len(taken) <= 5
    return counts


def at_most(errors: int, runs: int, rate: float) -> bool:
    """Whether so many errors in so many runs agree with this rate."""
    return errors <= scipy.stats.binom.ppf(0.999, runs, rate)


def test_an_unchanged_model_usually_passes_within_five_launches() -> None:
    counts = outcomes(0.0, 0.02, runs=100)
    assert counts["regressed"] == 0
    assert counts["by 5"] >= 85


@pytest.mark.statistical
@pytest.mark.parametrize("direct", [True, False], ids=["own-artefact", "yardstick"])
@pytest.mark.parametrize("sd", [0.01, 0.02, 0.03])
def test_an_unchanged_model_passes(sd: float, direct: bool) -> None:
    counts = outcomes(0.0, sd, runs=1000, direct=direct)
    assert counts["regressed"] <= 1
    assert counts["pass"] + counts["improved"] >= (990 if direct else 800)


@pytest.mark.statistical
@pytest.mark.parametrize("freedom", [1e6, 3.0], ids=["normal", "heavy-tailed"])
@pytest.mark.parametrize("sd", [0.007, 0.015, 0.03])
@pytest.mark.parametrize("tests", [1, 20])
def test_at_exactly_the_tolerance_the_errors_hold_at_all_looks_together(sd: float, tests: int, freedom: float) -> None:
    counts = outcomes(0.025, sd, runs=2000, gate=Gate(0.025, tests=tests), freedom=freedom)
    assert at_most(counts["regressed"], 2000, 0.05 / tests)
    assert at_most(counts["pass"] + counts["improved"], 2000, 0.05)


@pytest.mark.statistical
@pytest.mark.parametrize("tests", [1, 20])
def test_of_launches_that_spread_three_times_as_wide_few_mislead(tests: int) -> None:
    counts = outcomes(0.0, 3 * SPREAD, runs=2000, gate=Gate(0.025, tests=tests))
    assert at_most(counts["regressed"], 2000, 0.02 / tests)


@pytest.mark.statistical
@pytest.mark.parametrize(("slowdown", "limit", "sd"), [(0.05, 0.025, 0.01), (0.10, 0.05, 0.02), (1.0, 0.05, 0.03)])
def test_regressions_are_found(slowdown: float, limit: float, sd: float) -> None:
    counts = outcomes(slowdown, sd, runs=1000, gate=Gate(limit))
    assert counts["regressed"] >= 990
    assert counts["launches"] / 1000 < 6


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [0.01, 0.03])
def test_the_smallest_regression_that_would_have_been_caught_is_caught_four_times_out_of_five(sd: float) -> None:
    """Whatever the launches of a passed comparison would have caught, as many launches of such a model do show."""
    rng, gate, runs = random.Random(5), Gate(0.025), 1000
    caught = 0
    for _ in range(runs):
        launches: list[DuetLaunch] = []
        while gate.wants_more(launches) and len(launches) < 20:
            launches.append(launch(math.exp(rng.gauss(0, sd))))
        ratio = gate.ratio(Duet(pacemaker="y", pacemaker_digest="", launches=tuple(launches)))
        assert ratio is not None
        slower = [launch((1 + ratio.smallest_caught) * math.exp(rng.gauss(0, sd))) for _ in launches]
        looks = (slower[: count + 1] for count in range(len(slower)))
        caught += any(decided(gate, *(math.exp(each.log_pace) for each in look)) == "regressed" for look in looks)
    assert caught / runs >= 0.8
