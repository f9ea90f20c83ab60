from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import Accuracy, OutputErrors, Ratio
from pytest_accel.facts.settings import Settings
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.figures import colour
from pytest_accel.report.notes import resumptions
from pytest_accel.report.terminal import header, summary
from pytest_accel.verdict.gate import WIDEST
from tests.unit import facts

RATIO = Ratio(estimate=1.2345, lower=1.1, upper=1.4, confidence=0.95, launches=3, smallest_caught=0.1)


def verdict(kind: VerdictKind, summary: str = "A sentence.") -> Verdict:
    return Verdict(kind=kind, question="sla", summary=summary)


def accuracy(**found: Any) -> Accuracy:
    return Accuracy(**{"samples": 10, "dataset_digest": "d", "labelled": True, "agreement": None, **found})


def line(**changed: Any) -> str:
    (only,) = summary([facts.record(**{"accuracy": None, **changed})], confidence=0.95)
    return only


@pytest.mark.parametrize(
    ("kind", "markup"),
    [
        ("not-measured", "red"),
        ("inaccurate", "red"),
        ("sla-breach", "red"),
        ("regressed", "red"),
        ("refused", "yellow"),
        ("pruned", "yellow"),
        ("inconclusive", "yellow"),
        ("incomparable", "yellow"),
        ("no-baseline", "yellow"),
        ("compiled", "yellow"),
        ("improved", "green"),
        ("pass", "green"),
    ],
)
def test_every_kind_of_verdict_has_its_word_and_colour(kind: VerdictKind, markup: str) -> None:
    verdicts = (verdict("pass"), verdict(kind))
    assert line(verdicts=verdicts) == f"{kind}  resnet50[gpu-trt-int8-b8]"
    assert colour(facts.record(verdicts=verdicts)) == markup


def test_a_line_says_which_machine_it_was_measured_on_where_that_is_another_one() -> None:
    here, there = summary([facts.record(accuracy=None), facts.record(accuracy=None, host="me@gpu-box")], 0.95)
    assert here == "pass  resnet50[gpu-trt-int8-b8]"
    assert there == "pass  resnet50[gpu-trt-int8-b8]  on me@gpu-box"


def test_one_that_was_never_compiled_has_the_reason_in_its_line() -> None:
    left_out = facts.record(artefact=None, accuracy=None, verdicts=(verdict("refused", "No such operator."),))
    first, _ = summary([left_out, facts.record(measurement=facts.measurement())], confidence=0.95)
    assert first == "refused  resnet50[gpu-trt-int8-b8]  No such operator."


def test_resumed_results_are_told_by_the_run_they_are_from() -> None:
    records = [facts.record(resumed=began) for began in ("10:00", "10:00", "", "11:00")]
    assert list(resumptions(records)) == [
        "resumed: 2 results are from the run of 10:00, which was interrupted",
        "resumed: 1 result is from the run of 11:00, which was interrupted",
    ]
    assert line(resumed="10:00").endswith("  (resumed)")


def test_latency_is_told_with_the_bounds_that_are_known() -> None:
    latencies_ns = [n * 1_000_000 for n in range(1, 101)]
    random.Random(1).shuffle(latencies_ns)
    text = line(measurement=facts.measurement(latencies_ns=latencies_ns, wall_s=8))
    assert text.endswith("  p50 50 ms (≤ 59)  p99 99 ms  100/s")


def test_the_ratio_is_told_with_its_interval() -> None:
    assert line(ratio=RATIO).endswith("  ×1.234 [1.100, 1.400] of baseline")
    unbounded = msgspec.structs.replace(RATIO, lower=1 / WIDEST, upper=WIDEST)
    assert line(ratio=unbounded).endswith("  ×1.234 [–, –] of baseline")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (accuracy(metric_name="f1", metric=0.81, reference_metric=0.8, top1=0.1), "f1 0.81 (+0.01)"),
        (accuracy(top1=0.755, reference_top1=0.76, agreement=0.9), "top-1 75.50% (-0.50 points)"),
        (accuracy(labelled=False, agreement=0.9975), "agreement 99.75%"),
        (
            accuracy(
                outputs=[
                    OutputErrors(name=name, max_abs=0, max_rel=0, normalised_l2=l2, cosine=1, snr_db=None)
                    for name, l2 in (("a", 0.0123), ("b", 0.001))
                ]
            ),
            "error 0.012",
        ),
    ],
)
def test_accuracy_is_told_by_the_best_there_is(found: Accuracy, text: str) -> None:
    assert line(accuracy=found).endswith(f"]  {text}")


def test_nothing_is_told_of_an_accuracy_that_could_not_be_compared() -> None:
    assert line(accuracy=accuracy(mismatches=("no output y",))).endswith("b8]")


def test_lines_stand_in_columns_and_a_column_that_nobody_fills_takes_no_room() -> None:
    records = [facts.record(model=model, accuracy=None, ratio=RATIO) for model in ("short", "rather-long")]
    first, second = summary(records, 0.95)
    assert first.index("×1.234") == second.index("×1.234") == second.index("]  ×") + 3
    assert first.index("short") == second.index("rather-long")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "accel: accelerators: all; baselines: baselines; confidence: 95%"),
        (
            {
                "accelerators": ("cpu", "gpu"),
                "strict": True,
                "in_process": True,
                "save": "new",
                "confidence": 0.9,
                "resume": True,
            },
            "accel: accelerators: cpu, gpu; baselines: baselines; confidence: 90%; strict; in process; "
            "resuming; saving baselines (new)",
        ),
        (
            {"baseline_dir": Path("/elsewhere"), "confidence": 0.995},
            "accel: accelerators: all; baselines: /elsewhere; confidence: 99.5%",
        ),
    ],
)
def test_the_header_says_what_holds_for_this_run(settings: dict[str, Any], text: str) -> None:
    assert header(Settings(**{"rootdir": Path("/p"), "baseline_dir": Path("/p/baselines"), **settings})) == text


def test_one_that_was_compiled_and_not_run_has_what_its_artefact_tells() -> None:
    (predicted,) = summary([facts.compiled()], confidence=0.95)
    assert predicted == (
        "compiled  resnet50[gpu-trt-int8-b8]  compiled in 1 min 0 s  97.8 MB  predicted agreement 100.00%  not run"
    )
    (without,) = summary([facts.compiled(prediction=None)], confidence=0.95)
    assert without == "compiled  resnet50[gpu-trt-int8-b8]  compiled in 1 min 0 s  97.8 MB  not run"


def test_the_header_says_that_nothing_is_run(tmp_path: Path) -> None:
    settings = Settings(rootdir=tmp_path, baseline_dir=tmp_path / "baselines", compile_only=True)
    assert header(settings).endswith("; compile only")
