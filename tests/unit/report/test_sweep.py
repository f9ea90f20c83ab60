from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import Artefact, Ratio, TestRecord, Variant
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.sweep import WIDTH, Line, split, table, without_measurement
from tests.unit import facts
from tests.unit.report.test_terminal import accuracy


def record(
    options: dict[str, Any],
    *,
    kind: VerdictKind = "pass",
    summary: str = "A sentence.",
    accelerator: str = "cpu-ort",
    throughput: float | None = 100.0,
    **changed: Any,
) -> TestRecord:
    variant = Variant(accelerator=accelerator, options={"batch_size": 1, **options}, named=tuple(options))
    found: dict[str, Any] = {
        "test": f"test_it.py::test_it[{variant.id}]",
        "model": "digits",
        "variant": variant,
        "verdicts": (Verdict(kind=kind, question="sla", summary=summary),),
        "accuracy": None,
        "artefact": Artefact(key="k", size_mb=1.25, model_digest="d", compile_s=2.0),
        "measurement": None
        if throughput is None
        else facts.measurement(items_per_call=1, wall_s=100 / throughput, device_memory_mb=None),
    }
    return facts.record(**{**found, **changed})


def left_out(options: dict[str, Any], kind: VerdictKind, why: str) -> TestRecord:
    return record(options, kind=kind, summary=why, throughput=None, artefact=None)


def texts(*records: TestRecord) -> list[str]:
    return [line.text for line in table(records, 0.95)]


def column(lines: list[str], heading: str) -> list[str]:
    """The cells under a heading: what stands above each other up to the heading's end."""
    end = lines[1].index(heading) + len(heading)
    return [line[:end].split()[-1] for line in lines[2:] if not line.startswith(("* highest", "  none"))]


def test_a_sweep_says_which_machines_it_was_measured_on() -> None:
    here, there = record({"batch_size": 1}), record({"batch_size": 8}, host="me@gpu-box")
    assert texts(there, there)[0] == "digits on cpu-ort (me@gpu-box): 2 variants of test_it.py::test_it"
    title, headings, *rows = texts(here, there)
    assert title == "digits on cpu-ort: 2 variants of test_it.py::test_it"
    assert headings.split()[:3] == ["verdict", "variant", "machine"]
    assert ["this machine" in rows[0], "me@gpu-box" in rows[1]] == [True, True]


B1, B8 = record({"batch_size": 1}), record({"batch_size": 8})


def test_two_variants_of_one_model_in_one_test_are_a_sweep() -> None:
    assert split([B1, B8]) == ([], [[B1, B8]])


@pytest.mark.parametrize(
    "other",
    [
        record({"batch_size": 8}, model="another"),
        record({"batch_size": 8}, test="test_it.py::test_other[b8]"),
        record({"batch_size": 1}),
    ],
    ids=["model", "test", "same variant"],
)
def test_others_stand_alone_in_their_order(other: TestRecord) -> None:
    assert split([B1, other]) == ([B1, other], [])


def test_the_title_says_what_the_rows_have_in_common() -> None:
    assert texts(B8, B1)[0] == "digits on cpu-ort: 2 variants of test_it.py::test_it"
    assert column(texts(B8, B1), "variant") == ["b1", "b8"]


def test_variants_of_several_accelerators_keep_their_whole_names() -> None:
    lines = texts(B1, record({"batch_size": 1}, accelerator="cpu"))
    assert lines[0] == "digits: 2 variants of test_it.py::test_it"
    assert [line.split()[1] for line in lines[2:4]] in (["cpu-b1", "cpu-ort-b1"], ["pass", "cpu-ort-b1"])


def test_rows_go_from_wide_to_narrow_precision_and_from_small_to_large_batches() -> None:
    grid = [
        record({"precision": precision, "batch_size": batch, "threads": threads})
        for precision in ("int8", "bf16", "fp32")
        for batch in (32, 8)
        for threads in (2, 1)
    ]
    lines = texts(*grid)
    assert [line[2:].split()[1] for line in lines[2:-1]] == [
        f"{precision}-b{batch}-threads{threads}"
        for precision in ("fp32", "bf16", "int8")
        for threads in (1, 2)
        for batch in (8, 32)
    ]


def test_a_row_has_latency_with_bounds_throughput_and_costs() -> None:
    latencies_ns = [n * 1_000_000 for n in range(1, 101)]
    random.Random(1).shuffle(latencies_ns)  # slow calls in a row would be worth less, and bound nothing
    quick = facts.measurement(latencies_ns=latencies_ns, items_per_call=1, wall_s=1 / 123.45678, device_memory_mb=None)
    lines = texts(B1, record({"batch_size": 8}, measurement=quick))
    assert " ".join(lines[1].split()) == "verdict variant p50 ms ≤ p99 ms items/s compile s size MB"
    assert column(lines, "p50 ms") == ["50.0", "50.0"]
    assert lines[3].lstrip("* ").split()[3] == "59.0"
    assert column(lines, "p99 ms") == ["99.0", "99.0"]
    assert column(lines, "items/s") == ["100", "12,346"]
    assert column(lines, "size MB") == ["1.25", "1.25"]


def test_numbers_of_a_column_have_the_decimals_of_the_smallest() -> None:
    quick = facts.measurement(latencies_ns=[51_234] * 100)
    lines = texts(B1, record({"batch_size": 8}, measurement=quick))
    assert column(lines, "p50 ms") == ["50.0000", "0.0512"]


def test_accuracy_is_told_with_its_change() -> None:
    lines = texts(
        record({"batch_size": 1}, accuracy=accuracy(top1=0.755, reference_top1=0.76)),
        record({"batch_size": 8}, accuracy=accuracy(top1=0.76, reference_top1=0.76)),
    )
    assert column(lines, "top-1 %") == ["75.50", "76.00"]
    assert column(lines, "change") == ["-0.50", "+0.00"]


def test_memory_of_the_device_and_the_ratio_have_columns_where_there_are_any() -> None:
    ratio = Ratio(estimate=1.2345, lower=1.1, upper=1.4, confidence=0.95, launches=3, smallest_caught=0.1)
    measured = facts.measurement(device_memory_mb=512.0, host_memory_mb=99.0)
    lines = texts(B1, record({"batch_size": 8}, measurement=measured, ratio=ratio))
    assert column(lines, "device MB")[1] == "512"
    assert column(lines, "host MB")[1] == "99.0"
    assert "×1.234 [1.100, 1.400]" in lines[3]


def test_what_was_left_out_says_why_and_only_that_is_cut_off() -> None:
    pruned = left_out({"batch_size": 32}, "pruned", "The smaller cpu-ort-b8 has broken p99_ms=5.")
    refused = left_out({"batch_size": 64}, "refused", "No such operator. " * 20)
    lines = table([B1, pruned, refused], 0.95)
    assert lines[3] == Line("  pruned   b32      The smaller cpu-ort-b8 has broken p99_ms=5.", "yellow")
    assert lines[4].text.startswith("  refused  b64      No such operator. No")
    assert lines[4].text.endswith("…")
    assert len(lines[4].text) <= WIDTH


def test_a_sweep_of_which_nothing_was_measured_is_a_table_of_reasons() -> None:
    lines = texts(*(left_out({"batch_size": batch}, "refused", "No.") for batch in (1, 8)))
    assert lines[1:] == ["  verdict  variant", "  refused  b1       No.", "  refused  b8       No."]


@pytest.mark.parametrize(
    ("kind", "best"),
    [("no-baseline", "b8"), ("improved", "b8"), ("inconclusive", "b1"), ("sla-breach", "b1"), ("regressed", "b1")],
)
def test_the_best_has_the_highest_throughput_of_those_that_keep_their_limits(kind: VerdictKind, best: str) -> None:
    lines = texts(B1, record({"batch_size": 8}, throughput=500, kind=kind), record({"batch_size": 4}, throughput=50))
    (marked,) = (line for line in lines[2:-1] if line.startswith("* "))
    assert marked.split()[2] == best
    assert lines[-1] == "* highest throughput of those that keep all their limits, so the cheapest for each item"


def test_the_best_of_several_devices_need_not_be_the_cheapest() -> None:
    elsewhere = msgspec.structs.replace(
        B8, hardware=msgspec.structs.replace(B8.hardware, fingerprint="another-1c-1g-0")
    )
    assert texts(B1, elsewhere)[-1] == "* highest throughput of those that keep all their limits"


def test_where_none_keeps_its_limits_that_is_said() -> None:
    lines = texts(*(record({"batch_size": batch}, kind="inconclusive") for batch in (1, 8)))
    assert lines[-1] == "  none of them was shown to keep all its limits"
    assert not any(line.startswith("*") for line in lines)


def test_a_resumed_row_is_marked() -> None:
    lines = texts(B1, record({"batch_size": 8}, resumed="2026-11-23T10:00:00+00:00"))
    assert [line.endswith("  resumed") for line in lines[2:4]] == [False, True]


@pytest.mark.parametrize("kind", ["sla-breach", "no-baseline", "pass"])
def test_a_row_has_the_colour_of_its_verdict(kind: VerdictKind) -> None:
    row = table([record({"batch_size": 1}, kind=kind), B8], 0.95)[2]
    assert row.colour == {"sla-breach": "red", "no-baseline": "yellow", "pass": "green"}[kind]


def test_a_test_of_which_nothing_was_measured_is_told() -> None:
    refused, pruned = left_out({"batch_size": 1}, "refused", "No."), left_out({"batch_size": 8}, "pruned", "No.")
    assert list(without_measurement([refused, pruned, refused])) == [
        "test_it.py::test_it: no variant was measured (2 refused, 1 pruned)"
    ]
    assert list(without_measurement([refused, B8])) == []
    assert list(without_measurement([record({"batch_size": 1}, kind="not-measured", throughput=None)])) == []


def compiled(options: dict[str, Any], kind: VerdictKind = "compiled") -> TestRecord:
    return record(
        options, kind=kind, throughput=None, compiled_for="sm75", prediction=accuracy(top1=0.9, reference_top1=1.0)
    )


def test_variants_that_were_compiled_and_not_run_have_what_their_artefacts_tell() -> None:
    assert texts(compiled({"precision": "fp32"}), compiled({"precision": "int8"}, "inconclusive"))[1:] == [
        "  verdict       variant              predicted  compile s  size MB",
        "  compiled      fp32     top-1 90.00% (-10.00)       2.00     1.25  not run",
        "  inconclusive  int8     top-1 90.00% (-10.00)       2.00     1.25  not run",
    ]


def test_a_sweep_that_was_compiled_beside_what_was_left_out_misses_nothing() -> None:
    refused = left_out({"precision": "int8"}, "refused", "No.")
    assert list(without_measurement([compiled({"precision": "fp32"}), refused])) == []
    assert len(list(without_measurement([refused]))) == 1
