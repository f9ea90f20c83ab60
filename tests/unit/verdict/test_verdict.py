from __future__ import annotations

import math
import random
from functools import partial
from typing import Any, get_args

import msgspec
import pytest

from pytest_accel import verdict
from pytest_accel.facts import verdicts
from pytest_accel.facts.records import (
    Accuracy,
    Artefact,
    Budgets,
    ComparedBaseline,
    Conditions,
    Duet,
    DuetLaunch,
    Measurement,
    OutputErrors,
    Phases,
    Placement,
    Ratio,
)
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.verdict.gate import Gate
from tests.unit.facts import record

PHASES = Phases(
    compile_s=12.0,
    compile_cached=False,
    load_s=1.5,
    first_inference_ms=80.0,
    warm_up_calls=20,
    warm_up_s=1.0,
    steady=True,
)

judge_accuracy = partial(verdict.judge_accuracy, confidence=0.95)
judge_sla = partial(verdict.judge_sla, confidence=0.95)
further_calls = partial(verdict.further_calls, confidence=0.95)


def measured(latencies_ms: list[float], **changes: Any) -> Measurement:
    latencies_ns = [round(latency * 1e6) for latency in latencies_ms]
    plain = Measurement(
        load_shape="single_stream",
        latencies_ns=latencies_ns,
        items_per_call=1,
        wall_s=sum(latencies_ns) / 1e9 or 1.0,
        phases=PHASES,
        lag1_autocorrelation=0.0,
        outputs_checked=3,
    )
    return msgspec.structs.replace(plain, **changes)


def spread_out(n: int, over: int, *, usual: float = 4.0, slow: float = 6.0) -> list[float]:
    """``n`` latencies of which ``over`` are slow, far apart from each other."""
    latencies = [usual] * n
    for i in range(over):
        latencies[5 + i * n // over] = slow
    return latencies


def only(verdicts: list[Verdict]) -> Verdict:
    assert len(verdicts) == 1
    return verdicts[0]


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_most_severe_verdict_counts() -> None:
    verdicts = tuple(Verdict(kind=kind, question="sla", summary="") for kind in ("pass", "regressed", "inconclusive"))
    assert record(verdicts=verdicts).kind == "regressed"
    assert record(verdicts=verdicts[:1]).kind == "pass"


def test_nothing_judged_is_no_pass() -> None:
    assert record(verdicts=()).kind == "not-measured"


@pytest.mark.parametrize(
    ("kinds", "by_default", "strict"),
    [
        (("not-measured", "inaccurate", "sla-breach", "regressed"), True, True),
        (("inconclusive", "incomparable", "no-baseline"), False, True),
        (("compiled", "improved", "pass"), False, False),
    ],
)
def test_what_fails(kinds: tuple[VerdictKind, ...], by_default: bool, strict: bool) -> None:
    assert {(verdict.fails(kind, False), verdict.fails(kind, True)) for kind in kinds} == {(by_default, strict)}


def test_every_kind_of_verdict_has_a_place() -> None:
    assert set(get_args(VerdictKind)) == {
        *(*verdicts.FAILING, *verdicts.NOT_RUN, *verdicts.UNDECIDED, "improved", "pass")
    }


# --- measurement ------------------------------------------------------------------------------------------------------


def test_each_trace_of_an_impossible_measurement_refuses_it_alone() -> None:
    steady = measured([5.0] * 100)
    cases = {
        "beyond the device's peak": msgspec.structs.replace(steady, flops_per_item=5.1e9),
        "scatter by": measured([1.0, 6.0] * 50),
        "account for 30%": msgspec.structs.replace(steady, wall_s=0.5 / 0.3),
        "add up to 2.00 times": msgspec.structs.replace(steady, wall_s=0.25),
        "clock did not advance": measured([5.0] * 99 + [0.0]),
    }
    for says, measurement in cases.items():
        answer = only(verdict.judge_measurement(measurement, peak_flops=1e12))
        assert (answer.kind, says in answer.summary) == ("not-measured", True), answer.summary
    at_the_peak = msgspec.structs.replace(steady, flops_per_item=4.9e9)
    assert only(verdict.judge_measurement(at_the_peak, peak_flops=1e12)).kind == "pass"


def test_calls_that_were_each_too_short_are_beyond_the_peak_however_long_the_pauses_were() -> None:
    paused = msgspec.structs.replace(measured([5.0] * 100), wall_s=1.0, flops_per_item=5.1e9)
    assert "1.02 TFLOP/s is beyond" in only(verdict.judge_measurement(paused, peak_flops=1e12)).summary
    lanes = msgspec.structs.replace(paused, load_shape="multi_stream", concurrency=4, wall_s=0.125, flops_per_item=1e9)
    assert only(verdict.judge_measurement(lanes, peak_flops=1e12)).kind == "pass", "lanes that idle add up to no rate"


@pytest.mark.parametrize(
    ("observed", "asked", "peak"),
    [
        ({"float32": 3}, "fp32", 8.0),
        ({"float32": 3, "float16": 1}, "fp16", 65.0),
        ({"Half": 2}, "fp32", 65.0),  # which the placement refuses, and the peak need not
        ({"float32": 1}, "fp16", 65.0),  # FP16 may be inside of a merged layer
        ({"float32": 3, "unknown": 1}, "fp32", 130.0),
        ({"float64": 3}, "fp32", 130.0),
        ({}, "fp32", 130.0),
    ],
)
def test_the_peak_is_that_of_the_fastest_precision_in_use(observed: dict[str, int], asked: str, peak: float) -> None:
    by_precision = {"fp32": 8.0, "fp16": 65.0, "int8": 130.0}
    assert verdict.peak_flops(130.0, by_precision, observed, asked=asked) == peak
    assert verdict.peak_flops(None, {}, observed, asked=asked) is None


def test_the_state_of_the_device_is_told_beside_every_measurement() -> None:
    state = Conditions(device_state={"sm_clock_mhz": 1590, "p_state": "P0"})
    answer = only(verdict.judge_measurement(measured([5.0] * 100, conditions=state)))
    assert "At the end of the calls the device told: sm_clock_mhz 1590, p_state P0." in answer.details


def test_a_call_that_the_timing_loop_outweighs_is_plausible() -> None:
    tiny = msgspec.structs.replace(measured([0.0007] * 100), wall_s=100 * 1.9e-6)
    assert only(verdict.judge_measurement(tiny)).kind == "pass"


def test_slow_outliers_are_plausible() -> None:
    assert only(verdict.judge_measurement(measured([5.0] * 95 + [80.0] * 5))).kind == "pass"


def test_calls_of_the_offline_shape_may_overlap() -> None:
    overlapping = measured([5.0] * 100, load_shape="offline", wall_s=0.2)
    assert only(verdict.judge_measurement(overlapping)).kind == "pass"


@pytest.mark.parametrize("measurement", [None, measured([])])
def test_no_calls_are_no_measurement(measurement: Measurement | None) -> None:
    assert only(verdict.judge_measurement(measurement)).kind == "not-measured"


def test_timed_outputs_that_differ_are_no_measurement() -> None:
    answer = only(verdict.judge_measurement(measured([5.0] * 10), difference="output 'y' is off by 0.5"))
    assert answer.kind == "not-measured"
    assert "what was timed is not what was checked: output 'y' is off by 0.5" in answer.summary


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"phases": msgspec.structs.replace(PHASES, steady=False)}, "no steady state within 20 warm-up calls"),
        ({"conditions": Conditions(tracing="coverage")}, "coverage was tracing"),
        ({"conditions": Conditions(in_process=True)}, "--accel-in-process"),
        ({"conditions": Conditions(throttled="SW power cap")}, "throttled: SW power cap"),
    ],
)
def test_disturbed_measurements_decide_nothing(changes: dict[str, Any], says: str) -> None:
    disturbed = measured([5.0] * 500, **changes)
    answer = only(verdict.judge_measurement(disturbed))
    assert answer.kind == "inconclusive"
    assert says in answer.summary
    breach = only(judge_sla(disturbed, Budgets(p50_ms=1.0)))
    assert breach.kind == "inconclusive"
    assert says in breach.summary.partition(" Not decided, because ")[2]


@pytest.mark.parametrize(("foreign_load_cores", "kind"), [(0.4, "not-measured"), (1.7, "inconclusive")])
def test_time_that_calls_do_not_account_for_beside_busy_processes_is_put_down_to_them(
    foreign_load_cores: float, kind: str
) -> None:
    """Short calls: between two of them another process has the core for much longer than a call takes."""
    conditions = Conditions(foreign_load_cores=foreign_load_cores)
    answer = only(verdict.judge_measurement(measured([0.015] * 100, wall_s=0.075, conditions=conditions)))
    assert (answer.kind, "the calls account for 2% of the wall clock" in answer.summary) == (kind, True)


@pytest.mark.parametrize(("foreign_load_cores", "kind"), [(0.4, "not-measured"), (1.7, "inconclusive")])
def test_rates_that_scatter_beside_busy_processes_are_put_down_to_them(foreign_load_cores: float, kind: str) -> None:
    conditions = Conditions(foreign_load_cores=foreign_load_cores)
    answer = only(verdict.judge_measurement(measured([1.0, 6.0] * 50, conditions=conditions)))
    assert answer.kind == kind
    assert ("while other processes used 1.7 cores" in answer.summary) == (kind == "inconclusive")


def test_circumstances_are_told() -> None:
    answer = only(
        verdict.judge_measurement(
            measured(
                [5.0] * 10,
                outputs_checked=0,
                parts_ms={"serialising": 1.5, "parsing": 0.25},
                conditions=Conditions(cpu_quota_cores=1.5, foreign_load_cores=1.2),
            )
        )
    )
    assert "No output" in answer.details[0]
    assert "1.5 cores" in answer.details[1]
    assert "1.2 cores" in answer.details[2]
    assert answer.details[3] == "Of a typical call was no computing: serialising 1.5 ms, parsing 0.25 ms."


# --- SLA --------------------------------------------------------------------------------------------------------------


def test_an_undecided_limit_says_how_many_more_calls_would_pass() -> None:
    answer = only(judge_sla(measured(spread_out(500, 4)), Budgets(p99_ms=5.0)))
    assert answer.kind == "inconclusive"
    assert answer.summary == (
        "p99 <= 6 ms with 95 % confidence (500 calls); limit 5 ms: 4 calls over, pass needs <= 1, fail needs >= 10. "
        "If no further call is over, 413 more would pass."
    )


def test_a_breach_names_the_bound() -> None:
    answer = only(judge_sla(measured(spread_out(500, 10)), Budgets(p99_ms=5.0)))
    assert answer.kind == "sla-breach"
    assert answer.summary.startswith("p99 >= 6 ms with 95 % confidence (500 calls); limit 5 ms: 10 calls over")


def test_a_limit_that_is_kept_passes() -> None:
    answer = only(judge_sla(measured(spread_out(500, 1)), Budgets(p99_ms=5.0)))
    assert (answer.kind, answer.summary[:11]) == ("pass", "p99 <= 4 ms")


def test_too_few_calls_cannot_pass_and_say_so() -> None:
    answer = only(judge_sla(measured([4.0] * 100), Budgets(p99_ms=5.0)))
    assert answer.kind == "inconclusive"
    assert "p99 has no upper bound yet: 100 calls, at least 299 needed" in answer.summary
    assert "pass needs more calls" in answer.summary
    assert "199 more would pass" in answer.summary


def test_a_second_look_needs_more_certainty() -> None:
    few = measured([4.0] * 320)
    assert only(judge_sla(few, Budgets(p99_ms=5.0), looks=1)).kind == "pass"
    assert only(judge_sla(few, Budgets(p99_ms=5.0), looks=2)).kind == "inconclusive"
    assert further_calls(few, Budgets(p99_ms=5.0), looks=2) == 368 - 320


def test_further_calls_are_for_undecided_limits_only() -> None:
    assert further_calls(measured(spread_out(500, 4)), Budgets(p99_ms=5.0, p50_ms=5.0)) == 413
    assert further_calls(measured(spread_out(500, 10)), Budgets(p99_ms=5.0)) == 0
    assert further_calls(measured([1.0]), Budgets()) == 0


def test_clustered_slow_calls_count_for_less() -> None:
    scattered = only(judge_sla(measured(spread_out(500, 16)), Budgets(p95_ms=5.0)))
    bunched = only(judge_sla(measured([4.0] * 484 + [6.0] * 16), Budgets(p95_ms=5.0)))
    assert (scattered.kind, bunched.kind) == ("pass", "inconclusive")
    assert "came in clusters" in bunched.details[0]
    assert scattered.details == ()


def drifting(to: float, n: int = 1000) -> list[float]:
    """Calls of 4 ms that end ``to`` times as slow."""
    rng = random.Random(2)
    return [4.0 * (1.0 + (to - 1.0) * at / n) * rng.uniform(0.98, 1.02) for at in range(n)]


@pytest.mark.parametrize(
    ("to", "limit_ms", "kind"),
    [
        pytest.param(1.05, 4.6, "pass", id="wanders"),
        pytest.param(1.3, 5.5, "inconclusive", id="passed as long as it lasted"),
        pytest.param(1.3, 8.0, "pass", id="far below the limit"),
        pytest.param(1.3, 4.7, "inconclusive", id="failed at the end"),
        pytest.param(1.3, 2.0, "sla-breach", id="far beyond the limit"),
        pytest.param(0.7, 4.5, "inconclusive", id="got faster and may come back"),
    ],
)
def test_a_latency_that_drifts_is_decided_only_far_from_the_limit(to: float, limit_ms: float, kind: str) -> None:
    answer = only(judge_sla(measured(drifting(to)), Budgets(p90_ms=limit_ms)))
    assert answer.kind == kind
    assert ("let the machine settle" in answer.summary.lower()) == (kind == "inconclusive")


def test_calls_that_come_in_long_runs_alike_are_decided_only_far_from_the_limit() -> None:
    runs = ([4.0] * 100 + [6.0] * 100) * 3
    for limit_ms, kind in ((6.5, "inconclusive"), (12.0, "pass"), (3.5, "inconclusive"), (2.0, "sla-breach")):
        answer = only(judge_sla(measured(runs), Budgets(p50_ms=limit_ms)))
        assert answer.kind == kind, answer
        assert ("Not decided: Calls came in long runs alike" in answer.summary) == (kind == "inconclusive")


def test_a_drift_counts_for_throughput_too() -> None:
    for to, least, kind in ((1.3, 215.0, "inconclusive"), (1.3, 120.0, "pass"), (1.3, 400.0, "sla-breach")):
        answer = only(judge_sla(measured(drifting(to)), Budgets(min_throughput=least)))
        assert answer.kind == kind, answer


def test_each_limit_has_a_verdict() -> None:
    answers = judge_sla(measured([4.0] * 500), Budgets(p50_ms=3.0, p99_ms=5.0, min_throughput=100.0), confidence=0.95)
    assert [answer.kind for answer in answers] == ["sla-breach", "pass", "pass"]
    assert judge_sla(measured([4.0]), Budgets()) == []


def noisy(n: int) -> list[float]:
    rng = random.Random(1)
    return [4.0 + rng.uniform(-1, 1) for _ in range(n)]


@pytest.mark.parametrize(("least", "kind"), [(240, "pass"), (260, "sla-breach"), (250, "inconclusive")])
def test_throughput_is_bounded(least: float, kind: str) -> None:
    answer = only(judge_sla(measured(noisy(2000)), Budgets(min_throughput=least)))
    assert answer.kind == kind
    assert f"needed {least}" in answer.summary


def test_throughput_counts_the_time_between_calls() -> None:
    idle = measured([4.0] * 100, wall_s=0.8)
    assert only(judge_sla(idle, Budgets(min_throughput=200.0))).kind == "sla-breach"
    assert only(judge_sla(idle, Budgets(min_throughput=125.0))).kind == "pass"


def test_throughput_needs_enough_calls() -> None:
    answer = only(judge_sla(measured([4.0] * 19), Budgets(min_throughput=1.0)))
    assert answer.kind == "inconclusive"
    assert "at least 20 needed" in answer.summary


# --- accuracy ---------------------------------------------------------------------------------------------------------


def labelled(top1: float, reference: float = 0.9, **changes: Any) -> Accuracy:
    lost = round(1000 * max(0.0, reference - top1))
    plain = Accuracy(
        samples=1000,
        dataset_digest="d1",
        labelled=True,
        agreement=1.0 - lost / 1000,
        top1=top1,
        reference_top1=reference,
        flips_lost=lost,
        drop_interval=(0.001, 0.02),
    )
    return msgspec.structs.replace(plain, **changes)


def unlabelled(distance: float, **changes: Any) -> Accuracy:
    errors = OutputErrors(name="y", max_abs=0.1, max_rel=0.2, normalised_l2=distance, cosine=0.99, snr_db=40.0)
    plain = Accuracy(samples=100, dataset_digest="d1", labelled=False, agreement=0.98, flips_lost=2, outputs=(errors,))
    return msgspec.structs.replace(plain, **changes)


def kinds(verdicts: list[Verdict]) -> list[str]:
    assert {answer.question for answer in verdicts} <= {"accuracy"}
    return [answer.kind for answer in verdicts]


def test_a_drop_beyond_the_limit_is_inaccurate() -> None:
    answer = only(judge_accuracy(labelled(0.88), Budgets(max_accuracy_drop=0.01)))
    assert answer.kind == "inaccurate"
    assert answer.summary == ("top-1 88.00 %, reference 90.00 %: drop 2.00 points, max_accuracy_drop 1.00 points.")
    assert "On unseen data top-1 drops by 0.10 to 2.00 points" in answer.details[0]


def test_a_drop_of_exactly_the_limit_passes() -> None:
    assert kinds(judge_accuracy(labelled(0.89), Budgets(max_accuracy_drop=0.01))) == ["pass"]


def test_labels_without_a_budget_are_judged_by_the_default() -> None:
    answer = only(judge_accuracy(labelled(0.888), Budgets()))
    assert answer.kind == "inaccurate"
    assert "default max_accuracy_drop 1.00 points" in answer.summary


def test_a_metric_counts_before_top1() -> None:
    accuracy = labelled(0.5, metric_name="f1", metric=0.80, reference_metric=0.81)
    answer = only(judge_accuracy(accuracy, Budgets(max_accuracy_drop=0.02)))
    assert (answer.kind, answer.summary[:7]) == ("pass", "f1 0.8,")


def test_the_baselines_accuracy_is_judged_on_the_same_dataset_only() -> None:
    better = labelled(0.95, 0.95, right="gA==")
    budgets = Budgets(max_accuracy_drop=0.02)
    assert kinds(judge_accuracy(labelled(0.9), budgets, baseline=better)) == [
        "pass",
        "inaccurate",
    ]
    other = msgspec.structs.replace(better, dataset_digest="d2")
    answers = judge_accuracy(labelled(0.9), budgets, baseline=other)
    assert kinds(answers) == ["pass", "incomparable"]
    assert "another dataset" in answers[1].summary
    assert kinds(judge_accuracy(labelled(0.9), budgets, baseline=unlabelled(0.0)))[1] == "incomparable"


def test_labels_that_are_gone_since_the_baseline_are_missed() -> None:
    distance, gone = judge_accuracy(unlabelled(0.0), Budgets(), baseline=labelled(0.95))
    assert (distance.kind, gone.kind) == ("pass", "incomparable")
    assert gone.summary == ("The baseline has top-1 95.00 %, and this run has no labels or metric to compare with it.")
    assert kinds(judge_accuracy(unlabelled(0.0), Budgets(), baseline=unlabelled(0.0))) == ["pass"]


def test_a_baseline_that_answered_other_questions_is_incomparable_without_labels_too() -> None:
    other = msgspec.structs.replace(unlabelled(0.0), dataset_digest="d2")
    assert kinds(judge_accuracy(unlabelled(0.0), Budgets(), baseline=other)) == ["pass", "incomparable"]


@pytest.mark.parametrize("accuracy", [labelled(0.95), unlabelled(0.0)], ids=["labelled", "unlabelled"])
def test_a_baseline_without_any_accuracy_is_incomparable(accuracy: Accuracy) -> None:
    found = judge_accuracy(accuracy, Budgets(), baseline=None, has_baseline=True)
    assert kinds(found) == ["pass", "incomparable"]
    assert found[1].summary == "The baseline holds no accuracy to compare with."


def test_the_interval_for_unseen_data_is_told_with_its_confidence() -> None:
    answer = verdict.judge_accuracy(labelled(0.9), Budgets(), confidence=0.8)[0]
    assert any("(80 % confidence)" in detail for detail in answer.details)


def test_a_baseline_of_another_metric_is_incomparable() -> None:
    now, then = (labelled(0.9, metric_name=name, metric=0.8, reference_metric=0.8) for name in ("f1", "recall"))
    answer = judge_accuracy(now, Budgets(), baseline=then)[1]
    assert (answer.kind, answer.summary) == ("incomparable", "The baseline holds no f1 to compare with.")


def test_flips_since_the_baseline_are_told_in_both_directions() -> None:
    then = labelled(0.5, 0.5, samples=4, right="wA==")  # 1100
    now = labelled(0.5, 0.5, samples=4, right="YA==")  # 0110
    answer = judge_accuracy(now, Budgets(), baseline=then)[1]
    assert answer.details == ("Of 4 answers 1 went from right to wrong and 1 from wrong to right.",)


@pytest.mark.parametrize(("least", "kind"), [(0.89, "pass"), (0.9, "pass"), (0.91, "inaccurate")])
def test_min_accuracy(least: float, kind: str) -> None:
    assert kinds(judge_accuracy(labelled(0.9), Budgets(min_accuracy=least))) == ["pass", kind]


@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        (5, "pass"),
        (4, "inaccurate"),
        (0, "inaccurate"),
        (0.005, "pass"),
        (0.004, "inaccurate"),
        (5.0, "pass"),
        (4.0, "inaccurate"),
    ],
)
def test_max_flips_is_a_number_or_a_share(limit: float, kind: str) -> None:
    accuracy = labelled(0.895)
    assert kinds(judge_accuracy(accuracy, Budgets(max_flips=limit))) == ["pass", kind]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"non_finite": {"y": 3}}, "NaN or infinite on one side alone, here or in the reference: 3 in output 'y'"),
        ({"mismatches": ("output 'y' is int64, the reference's float32",)}, "output 'y' is int64"),
    ],
)
def test_broken_outputs_are_inaccurate_whatever_the_score(changes: dict[str, Any], says: str) -> None:
    answer = only(judge_accuracy(labelled(0.9, **changes), Budgets(min_accuracy=0.1)))
    assert answer.kind == "inaccurate"
    assert says in answer.summary


@pytest.mark.parametrize(
    ("distance", "precisions", "kind"),
    [
        (9e-4, {}, "pass"),
        (2e-3, {}, "inaccurate"),
        (2e-3, {"float32": 3, "float16": 40}, "pass"),
        (0.03, {"float32": 40, "bfloat16": 1}, "inaccurate"),
        (0.03, {"int8": 40}, "pass"),
        (0.3, {"int8": 40}, "inaccurate"),
        (2e-3, {"float32": 3, "int64": 40}, "inaccurate"),
    ],
)
def test_without_labels_the_distance_counts_by_the_precision_observed(
    distance: float, precisions: dict[str, int], kind: str
) -> None:
    answer = only(judge_accuracy(unlabelled(distance), Budgets(), precisions=precisions))
    assert answer.kind == kind
    assert "default limit for" in answer.summary
    assert answer.details == (
        f"Output 'y': normalised L2 {distance:.2g}, cosine 0.990000, SNR 40.0 dB, largest error 0.1 absolute, "
        "0.2 relative.",
        "2 of 100 answers changed; of unseen samples like these 0.55 to 7.00 % do (95 % confidence).",
    )


@pytest.mark.parametrize(("in_framework", "kind"), [(0.0, "inaccurate"), (0.019, "inaccurate"), (0.021, "pass")])
def test_a_distance_that_the_precision_costs_in_the_framework_too_is_allowed(in_framework: float, kind: str) -> None:
    control = unlabelled(in_framework).outputs
    accuracy = unlabelled(0.04, control=control)
    answer = only(judge_accuracy(accuracy, Budgets(), precisions={"bfloat16": 40}))
    assert answer.kind == kind
    told = f"In the model's own framework the same precision puts output 'y' {in_framework:.2g} away."
    assert told in answer.details
    learnt = msgspec.structs.replace(accuracy, calibration_samples=300)
    assert only(judge_accuracy(learnt, Budgets(), precisions={"bfloat16": 40})).kind == "inaccurate"


def test_every_output_is_told_and_the_worst_one_judged() -> None:
    near, far = (*unlabelled(1e-4).outputs, *unlabelled(2e-3).outputs)
    outputs = (msgspec.structs.replace(near, name="boxes", snr_db=None), msgspec.structs.replace(far, name="scores"))
    for accuracy in (unlabelled(0.0, outputs=outputs), labelled(0.88, outputs=outputs)):
        answer = only(judge_accuracy(accuracy, Budgets()))
        boxes, scores = (detail for detail in answer.details if detail.startswith("Output "))
        assert boxes.startswith("Output 'boxes': normalised L2 0.0001, cosine 0.990000, largest error")
        assert scores.startswith("Output 'scores': normalised L2 0.002, cosine 0.990000, SNR 40.0 dB")


def test_without_labels_a_drop_is_bounded_by_the_changed_answers() -> None:
    assert kinds(judge_accuracy(unlabelled(0.0), Budgets(max_accuracy_drop=0.02)))[1] == "pass"
    assert kinds(judge_accuracy(unlabelled(0.0), Budgets(max_accuracy_drop=0.015)))[1] == "inaccurate"


def test_budgets_that_cannot_be_judged_are_inconclusive() -> None:
    budgets = Budgets(max_accuracy_drop=0.01, min_accuracy=0.5, max_flips=3)
    regression = unlabelled(0.0, agreement=None)
    answers = judge_accuracy(regression, budgets)
    assert kinds(answers) == ["pass", "inconclusive", "inconclusive", "inconclusive"]
    assert all("is not judged" in answer.summary for answer in answers[1:])
    assert kinds(judge_accuracy(unlabelled(0.0, outputs=()), Budgets())) == ["inconclusive"]


# --- placement --------------------------------------------------------------------------------------------------------


def placed(on_device: float | None, **precisions: int) -> Placement:
    return Placement(on_device=on_device, precisions=precisions)


@pytest.mark.parametrize(
    ("placement", "asked", "budgets", "kind"),
    [
        (placed(1.0, float32=50), "fp32", Budgets(), "pass"),
        (placed(0.4, float32=50), "fp32", Budgets(), "not-measured"),
        (placed(0.4, float32=50), "fp32", Budgets(min_on_device=0.3), "pass"),
        (placed(0.9, float32=50), "fp32", Budgets(min_on_device=0.95), "not-measured"),
        (placed(1.0, float32=49, bf16=1), "fp32", Budgets(), "not-measured"),
        (placed(1.0, tf32=50), "fp32", Budgets(), "not-measured"),
        (placed(1.0, float32=50), "fp16", Budgets(), "not-measured"),
        (placed(1.0, float32=5, float16=45), "fp16", Budgets(), "pass"),
        (placed(1.0, bfloat16=45), "fp16", Budgets(), "not-measured"),
        (placed(1.0, float32=20, int8=30), "int8", Budgets(), "pass"),
        (placed(1.0, float32=50), "int8", Budgets(), "not-measured"),
        (placed(1.0, float32=50, int64=7, uint8=1, bool=2), "fp32", Budgets(), "pass"),
        (placed(1.0), "fp32", Budgets(), "pass"),
        (placed(None, float32=50), "fp32", Budgets(), "pass"),
        (placed(None), "fp32", Budgets(min_on_device=0.5), "inconclusive"),
        (None, "fp32", Budgets(min_on_device=0.5), "inconclusive"),
    ],
)
def test_a_silent_fallback_is_not_what_was_asked_for(
    placement: Placement | None, asked: str, budgets: Budgets, kind: str
) -> None:
    answer = only(verdict.judge_placement(placement, budgets, precision=asked))
    assert (answer.kind, answer.question) == (kind, "placement")


def test_a_fallback_is_told_in_full() -> None:
    answer = only(verdict.judge_placement(placed(0.12, float32=50), Budgets(), precision="fp16"))
    assert answer.summary == (
        "Placement: 12 % of the operators run on the device, 50 % needed: what was timed is largely the host; "
        "fp16 was asked for and no operator runs in it, but in fp32 (50 operators)."
    )


@pytest.mark.parametrize(
    ("observed", "asked", "source", "kind"),
    [
        ({"float32": 1, "int8": 3}, "fp32", ["float32", "int8"], "pass"),
        ({"int8": 3}, "fp32", ["int8"], "pass"),
        ({"float32": 3}, "fp32", ["int8"], "pass"),  # a runtime may compute more finely than the source
        ({"float16": 3}, "fp32", ["float16"], "pass"),
        ({"bf16": 3}, "fp32", ["float16"], "pass"),
        ({"float64": 3}, "fp32", ["float64"], "pass"),
        ({"float64": 3}, "fp32", ["float32"], "not-measured"),
        ({"int8": 3}, "fp32", ["float16"], "not-measured"),
        ({"float32": 2, "int8": 3}, "fp32", ["float16", "float32"], "not-measured"),
        ({"float16": 3}, "fp32", ["float32"], "not-measured"),
        ({"float16": 3}, "fp32", [], "not-measured"),
        ({"float32": 3}, "bf16", ["float32"], "not-measured"),  # a default that casts
        ({"float32": 1, "bf16": 3}, "bf16", ["float32"], "pass"),
    ],
)
def test_the_precision_of_the_model_itself_will_do_where_none_is_named(
    observed: dict[str, int], asked: str, source: list[str], kind: str
) -> None:
    placement = placed(1.0, **observed)
    answer = only(verdict.judge_placement(placement, Budgets(), precision=asked, source=source, named=False))
    assert answer.kind == kind


def test_it_is_told_that_the_model_itself_has_a_precision() -> None:
    placement, own = placed(1.0, float32=1, int8=3), ["float32", "int8"]
    by_default = only(verdict.judge_placement(placement, Budgets(), precision="fp32", source=own, named=False))
    assert by_default.summary.endswith("in int8 (3 operators), fp32 (1 operator), as the model itself is.")
    named = only(verdict.judge_placement(placement, Budgets(), precision="fp32", source=own))
    assert named.kind == "not-measured"
    assert named.summary == (
        "Placement: fp32 was asked for and int8 (3 operators) is coarser; the model itself is in fp32, int8, which it "
        "is held to without precision='fp32'."
    )
    plain = only(verdict.judge_placement(placed(1.0, float32=1), Budgets(), precision="fp32", source=own, named=False))
    assert "as the model itself" not in plain.summary


@pytest.mark.parametrize(("before", "kind"), [("float32", "not-measured"), ("int8", "pass")])
def test_a_model_that_has_lost_precision_since_the_baseline_is_no_excuse_for_itself(
    before: str, kind: VerdictKind
) -> None:
    answer = only(
        verdict.judge_placement(
            placed(1.0, float32=1, int8=3),
            Budgets(),
            precision="fp32",
            source=["float32", "int8"],
            named=False,
            baseline=placed(1.0, **{before: 4}),
        )
    )
    assert answer.kind == kind
    assert (
        "is coarser; the model itself is in int8 since the baseline, which --accel-save-baseline acc" in answer.summary
    ) is (kind == "not-measured")


def test_a_runtime_that_tells_nothing_is_not_judged() -> None:
    assert verdict.judge_placement(placed(None), Budgets(), precision="fp32") == []
    assert verdict.judge_placement(None, Budgets(), precision="fp32") == []


# --- resources --------------------------------------------------------------------------------------------------------

ARTEFACT = Artefact(key="k", size_mb=100.0, model_digest="m", compile_s=34.0)


@pytest.mark.parametrize(
    ("budgets", "kind"),
    [
        (Budgets(max_memory_mb=512.0), "pass"),
        (Budgets(max_memory_mb=511.0), "sla-breach"),
        (Budgets(max_artefact_mb=100.0), "pass"),
        (Budgets(max_artefact_mb=99.0), "sla-breach"),
        (Budgets(max_compile_s=34.0), "pass"),
        (Budgets(max_compile_s=33.0), "sla-breach"),
        (Budgets(max_load_s=1.5), "pass"),
        (Budgets(max_load_s=1.4), "sla-breach"),
    ],
)
def test_resources(budgets: Budgets, kind: str) -> None:
    measurement = measured([4.0], host_memory_mb=512.0)
    answer = only(verdict.judge_resources(budgets, measurement=measurement, artefact=ARTEFACT))
    assert (answer.kind, answer.question) == (kind, "resources")


def test_device_memory_counts_where_there_is_some() -> None:
    measurement = measured([4.0], host_memory_mb=4000.0, device_memory_mb=300.0)
    answer = only(verdict.judge_resources(Budgets(max_memory_mb=512.0), measurement=measurement, artefact=None))
    assert answer.summary == "Peak device memory (max_memory_mb): 300 MB <= 512 MB."


@pytest.mark.parametrize(("limit_s", "kind"), [(34.0, "pass"), (33.0, "sla-breach")])
def test_compiling_is_judged_whether_the_artefact_is_from_the_cache_or_not(limit_s: float, kind: str) -> None:
    cached = measured([4.0], phases=msgspec.structs.replace(PHASES, compile_cached=True))
    answer = only(verdict.judge_resources(Budgets(max_compile_s=limit_s), measurement=cached, artefact=ARTEFACT))
    assert answer.kind == kind
    assert answer.summary.startswith("Compiling in an earlier run (max_compile_s): 34 s ")


def test_unknown_resources_are_inconclusive() -> None:
    budgets = Budgets(max_memory_mb=1.0, max_artefact_mb=1.0, max_compile_s=1.0, max_load_s=1.0)
    answers = verdict.judge_resources(budgets, measurement=None, artefact=None)
    assert [answer.kind for answer in answers] == ["inconclusive"] * 4
    assert verdict.judge_resources(Budgets(), measurement=None, artefact=None) == []


# --- regression -------------------------------------------------------------------------------------------------------


def ratio(estimate: float, lower: float, upper: float, launches: int = 5) -> Ratio:
    return Ratio(estimate=estimate, lower=lower, upper=upper, confidence=0.95, launches=launches, smallest_caught=0.083)


def test_a_regression_tells_ratio_interval_and_what_it_could_have_missed() -> None:
    answer = only(verdict.judge_regression(ratio(1.98, 1.9, 2.06), Gate(), attribution="It is the machine."))
    assert answer.kind == "regressed"
    assert answer.summary == (
        "1.980 times the baseline's time [1.900, 2.060] with 95 % confidence (5 launches); > 1.05."
    )
    assert answer.details == ("A regression of 8.3% would have been caught.", "It is the machine.")


def test_an_improvement_suggests_saving() -> None:
    answer = only(verdict.judge_regression(ratio(0.9, 0.88, 0.92), Gate()))
    assert answer.kind == "improved"
    assert "--accel-save-baseline" in answer.details[1]


def test_an_undecided_regression_says_how_many_more_launches() -> None:
    answer = only(verdict.judge_regression(ratio(1.02, 0.96, 1.08, launches=8), Gate()))
    assert answer.kind == "inconclusive"
    assert answer.details[1] == "About 24 more launches would decide."
    too_close = only(verdict.judge_regression(ratio(1.05, 0.96, 1.14, launches=8), Gate()))
    assert "too close" in too_close.details[1]


def test_bounds_that_the_launches_were_too_few_for_are_told_as_none() -> None:
    gate = Gate(tests=100)
    three = duet(10.0, 10.0)
    one = msgspec.structs.replace(three, launches=three.launches[:1])
    answer = only(verdict.judge_regression(gate.ratio(one), gate))
    assert answer.kind == "inconclusive"
    assert "[–, –] with 95 % confidence (1 launches)" in answer.summary
    assert answer.details[0] == "So few launches would have caught no regression."


def test_a_disturbed_launch_cannot_regress() -> None:
    slow = ratio(1.98, 1.9, 2.06)
    answer = only(verdict.judge_regression(slow, Gate(), disturbed=["coverage was tracing the worker"]))
    assert answer.kind == "inconclusive"
    assert answer.summary.endswith("; > 1.05. Not decided, because coverage was tracing the worker.")


def test_an_unknown_ratio_is_inconclusive_and_says_what_is_missing() -> None:
    answer = only(verdict.judge_regression(None, Gate(), left_out=["Others had the cores."]))
    assert answer.kind == "inconclusive"
    assert answer.summary.startswith("The ratio to the baseline is not known")
    assert answer.details == ("Others had the cores.",)


def test_launches_that_do_not_count_are_told() -> None:
    quiet = duet(20.0, 10.0)
    spoilt = msgspec.structs.replace(quiet.launches[0], disturbed=True)
    now = msgspec.structs.replace(quiet, launches=(*quiet.launches, spoilt))
    then = msgspec.structs.replace(quiet, launches=(spoilt,))
    assert verdict.left_out(quiet, None) == verdict.left_out(quiet, now) == ()
    (about_now,) = verdict.left_out(now, quiet)
    assert about_now == "Other processes had this model's cores during 1 of 4 launches, which do not count."
    hot = msgspec.structs.replace(now, launches=(msgspec.structs.replace(spoilt, throttled="heat for 2 s"),))
    assert verdict.left_out(hot, None) == (
        "The device was held back during 1 of 1 launches, which do not count: heat for 2 s.",
    )
    (about_then,) = verdict.left_out(quiet, then)
    assert "during all of its launches; --accel-save-baseline on a quieter machine renews it." in about_then
    answer = only(verdict.judge_regression(ratio(1.02, 0.96, 1.08), Gate(), left_out=[about_now]))
    assert about_now in answer.details


def duet(candidate_ms: float, pacemaker_ms: float) -> Duet:
    launch = DuetLaunch(
        candidate_p50_ms=candidate_ms,
        pacemaker_p50_ms=pacemaker_ms,
        log_pace=math.log(candidate_ms / pacemaker_ms),
        pairs=40,
        started_first="pacemaker",
    )
    return Duet(pacemaker="yardstick", pacemaker_digest="d1", launches=(launch,) * 3)


@pytest.mark.parametrize(
    ("now", "versions", "says"),
    [
        (duet(20.0, 10.0), (), "2.00 and 2.00 times the baseline's time, both are slower: no version changed"),
        (duet(20.0, 10.0), ("tensorflow 2.19 -> 2.20",), "it is the SDK (tensorflow 2.19 -> 2.20)"),
        (duet(20.0, 5.0), ("tensorflow 2.19 -> 2.20",), "it is the model"),
        (duet(10.0, 10.0), (), "only the pacemaker is slower"),
        (duet(14.0, 5.4), (), "1.40 and 1.08 times the baseline's time. What both share is the machine, as no version"),
        (
            duet(14.0, 5.4),
            ("tensorflow 2.19 -> 2.20",),
            "share is the SDK (tensorflow 2.19 -> 2.20); the rest is the model",
        ),
    ],
)
def test_what_slowed_down_is_told(now: Duet, versions: tuple[str, ...], says: str) -> None:
    assert says in verdict.attribution(now, duet(10.0, 5.0), version_changes=versions)


def test_nothing_is_attributed_where_nothing_slowed_down() -> None:
    assert verdict.attribution(duet(10.2, 5.1), duet(10.0, 5.0), version_changes=()) == ""


def test_the_baselines_own_artefact_is_compared_with_its_own_time() -> None:
    told = verdict.attribution(duet(20.0, 10.0), duet(10.0, 5.0), version_changes=(), pacemaker_is_baseline=True)
    assert "2.00 and 1.00 times the baseline's time: it is the model" in told


def test_without_a_baseline_the_next_step_is_named() -> None:
    answer = only(verdict.no_baseline("epyc-2c", []))
    assert answer.kind == "no-baseline"
    assert answer.summary == "No baseline for epyc-2c; --accel-save-baseline writes one."


def test_baselines_of_other_hardware_are_listed() -> None:
    answer = only(verdict.no_baseline("epyc-2c", ["xeon-8c", "t4"]))
    assert answer.kind == "incomparable"
    assert "only from other hardware: t4, xeon-8c" in answer.summary


def test_a_baseline_that_nothing_here_can_be_paced_with_is_incomparable() -> None:
    answer = only(verdict.no_pacemaker("2026-01-31"))
    assert answer.kind == "incomparable"
    assert "The baseline of 2026-01-31 has no pace beside the yardstick" in answer.summary


def test_a_run_that_became_the_baseline_misses_none() -> None:
    slow = Verdict(kind="pass", question="sla", summary="p99 <= 1 ms")
    after = verdict.with_baseline([slow, *verdict.no_baseline("epyc-2c", [])])
    assert after[0] is slow
    assert (after[1].kind, after[1].question) == ("pass", "regression")


# --- creep ------------------------------------------------------------------------------------------------------------

ANCHOR = ComparedBaseline(saved="2026-03-01", artefact_key="a" * 32, commit="0123456789abcdef", name="v1.4")


def crept(estimate: float, lower: float, upper: float, *, took_turns: bool = True) -> Verdict:
    gate = Gate(max_regression=0.1)
    return only(verdict.judge_creep(ratio(estimate, lower, upper), gate, anchor=ANCHOR, took_turns=took_turns))


def test_creep_names_the_anchor_with_its_day_and_commit_and_how_to_accept_it() -> None:
    answer = crept(1.15, 1.12, 1.18)
    assert (answer.kind, answer.question, answer.since_baseline) == ("regressed", "creep", False)
    assert answer.summary.startswith(
        "1.150 times the time of the anchor v1.4 of 2026-03-01, commit 0123456789 [1.120, 1.180] with 95 %"
    )
    assert answer.details[1:] == (
        "Both sides took turns on this device, so it is what differs between them, not the machine.",
        "It has added up since then: each change alone may have kept max_regression.",
        "To accept it, move the anchor: pytest-accel baseline anchor NAME.",
    )


def test_beside_the_yardstick_nobody_took_turns_with_the_anchor() -> None:
    assert not any("took turns" in detail for detail in crept(1.15, 1.12, 1.18, took_turns=False).details)


@pytest.mark.parametrize(("estimate", "kind"), [(0.5, "pass"), (1.0, "pass"), (1.1, "inconclusive")])
def test_an_anchor_moves_for_no_gain(estimate: float, kind: VerdictKind) -> None:
    answer = crept(estimate, estimate - 0.02, estimate + 0.02)
    assert (answer.kind, answer.question) == (kind, "creep")
    assert "--accel-save-baseline" not in " ".join((answer.summary, *answer.details))


def test_without_an_anchor_creep_is_not_judged_and_says_what_to_do() -> None:
    nowhere, elsewhere = only(verdict.no_anchor("", "t4")), only(verdict.no_anchor("v1.4", "t4"))
    assert (nowhere.kind, nowhere.question) == (elsewhere.kind, elsewhere.question) == ("no-baseline", "creep")
    assert "pytest-accel baseline anchor NAME chooses one" in nowhere.summary
    assert "the anchor v1.4 has no baseline for t4; --accel-save-baseline=v1.4 adds it" in elsewhere.summary


def test_a_new_baseline_says_nothing_of_the_anchor_nor_the_other_way_round() -> None:
    both = (*verdict.no_baseline("t4", []), *verdict.no_anchor("", "t4"))
    assert [each.kind for each in verdict.with_baseline(both)] == ["pass", "no-baseline"]
    assert [each.kind for each in verdict.with_anchor(both)] == ["no-baseline", "pass"]


def test_an_anchor_that_nothing_here_can_be_paced_with_is_incomparable() -> None:
    answer = only(verdict.no_pacemaker("2026-03-01", "v1.4"))
    assert (answer.kind, answer.question) == ("incomparable", "creep")
    assert "The anchor v1.4 has no pace beside the yardstick" in answer.summary


def test_the_slack_of_an_old_baseline_is_told() -> None:
    answer = only(verdict.judge_regression(ratio(0.5, 0.49, 0.52), Gate()))
    assert answer.summary.endswith("Until it is renewed, a model 102% slower than this one would pass.")


@pytest.mark.parametrize(("opponent", "since"), [("", True), ("../main", False)])
def test_only_what_a_baseline_shows_can_be_accepted(opponent: str, since: bool) -> None:
    for given in (ratio(1.3, 1.2, 1.4), None):
        assert only(verdict.judge_regression(given, Gate(), opponent=opponent)).since_baseline is since
