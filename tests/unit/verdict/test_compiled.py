from __future__ import annotations

from typing import Any

import pytest

from pytest_accel import verdict
from pytest_accel.facts.records import Accuracy, Artefact, Budgets, Placement
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.verdict import Compiled
from pytest_accel.verdict.compiled import LARGER, LEAST_GROWTH_MB, LEAST_GROWTH_S, LONGER, MOVED


def artefact(size_mb: float = 10.0, compile_s: float = 60.0) -> Artefact:
    return Artefact(key="k", size_mb=size_mb, model_digest="m", compile_s=compile_s)


def placed(on_device: float | None = 1.0, **precisions: int) -> Placement:
    return Placement(on_device=on_device, precisions=precisions)


PREDICTED = Accuracy(samples=4, dataset_digest="d", labelled=True, agreement=1.0)
ALL = Budgets(
    p99_ms=7, min_throughput=9, max_memory_mb=1, max_artefact_mb=2, max_compile_s=3, min_on_device=0.9, min_accuracy=0.8
)


def since(before: Compiled, after: Compiled, *, other_machine: bool = False) -> Verdict:
    return verdict.judge_since(before, after, saved="2026-11-23", other_machine=other_machine)


@pytest.mark.parametrize(
    ("compiled", "judged"),
    [
        (Compiled(artefact()), {"max_artefact_mb", "max_compile_s"}),
        (Compiled(artefact(), placed(None)), {"max_artefact_mb", "max_compile_s"}),
        (Compiled(artefact(), placed()), {"max_artefact_mb", "max_compile_s", "min_on_device"}),
        (Compiled(artefact(), prediction=PREDICTED), {"max_artefact_mb", "max_compile_s", "min_accuracy"}),
    ],
    ids=["artefact", "no share", "placement", "prediction"],
)
def test_what_an_artefact_tells_decides_which_budgets_are_judged(compiled: Compiled, judged: set[str]) -> None:
    budgets = verdict.judged_without_running(ALL, compiled)
    assert {name for name in Budgets.__struct_fields__ if getattr(budgets, name) is not None} == judged


def test_nothing_was_run_names_the_budgets_that_wait() -> None:
    compiled = Compiled(artefact(), placed())
    answer = verdict.not_run(compiled, ALL, compiled_for="sm75", cached=False, unpredicted="there is no file")
    assert (answer.kind, answer.question) == ("compiled", "measurement")
    assert answer.summary == ("Compiled for sm75 in 60 s, 10 MB; nothing was run, so nothing is said about speed.")
    assert answer.details == (
        "Not judged without running: p99_ms, min_throughput, min_accuracy, max_memory_mb.",
        "Accuracy is not predicted: there is no file.",
    )


def test_nothing_was_run_says_who_compiled_it_and_no_more_than_there_is() -> None:
    answer = verdict.not_run(Compiled(artefact()), Budgets(), compiled_for="sm75", cached=True, unpredicted="")
    assert answer.summary.startswith("Compiled for sm75 by an earlier run in 60 s, 10 MB; ")
    assert answer.details == ()


def test_a_prediction_says_whose_it_is_and_keeps_its_answer() -> None:
    (answer,) = verdict.as_prediction(
        [Verdict(kind="inaccurate", question="accuracy", summary="It dropped.")], "cpu-ort"
    )
    assert (answer.kind, answer.summary) == ("inaccurate", "Predicted by cpu-ort: It dropped.")


def test_an_artefact_that_is_like_the_baselines_is_fine() -> None:
    before = Compiled(artefact(), placed(int8=3, float32=1), PREDICTED)
    answer = since(before, Compiled(artefact(14.9, 299.0), placed(int8=3, float32=1), PREDICTED))
    assert (answer.kind, answer.question) == ("pass", "regression")
    assert answer.summary.startswith("The artefact is like that of the baseline of 2026-11-23")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (artefact(10.0), artefact(10.0 * LARGER), "the artefact is 1.5 times as large (10 -> 15 MB)"),
        (artefact(0.0), artefact(1.0), "the artefact is many times as large (0 -> 1 MB)"),
        (
            artefact(compile_s=60.0),
            artefact(compile_s=60.0 * LONGER),
            "compiling takes 5.0 times as long (60 -> 300 s)",
        ),
    ],
    ids=["larger", "from nothing", "longer"],
)
def test_an_artefact_that_has_grown_is_undecided(before: Artefact, after: Artefact, found: str) -> None:
    answer = since(Compiled(before), Compiled(after))
    assert answer.kind == "inconclusive"
    assert answer.summary == f"Since the baseline of 2026-11-23: {found}. What that costs only the device can tell."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (artefact(10.0), artefact(9.99 * LARGER)),
        (artefact(0.01), artefact(0.01 + 0.9 * LEAST_GROWTH_MB)),
        (artefact(compile_s=60.0), artefact(compile_s=59.0 * LONGER)),
        (artefact(compile_s=0.1), artefact(compile_s=0.1 + 0.9 * LEAST_GROWTH_S)),
        (artefact(10.0, 60.0), artefact(1.0, 1.0)),
    ],
    ids=["nearly larger", "tiny", "nearly longer", "at once", "shrunk"],
)
def test_what_a_machine_or_a_tiny_model_does_by_itself_is_no_change(before: Artefact, after: Artefact) -> None:
    assert since(Compiled(before), Compiled(after)).kind == "pass"


def test_another_machine_that_compiled_is_named() -> None:
    answer = since(Compiled(artefact(compile_s=1.0)), Compiled(artefact(compile_s=9.0)), other_machine=True)
    assert "9.0 times as long on another machine (1 -> 9 s)" in answer.summary


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (placed(1.0), placed(0.98 - MOVED), "97 % of the operators are on the device, and it was 100 %"),
        (placed(1.0), placed(None), "0 % of the operators are on the device, and it was 100 %"),
        (placed(int8=4), placed(int8=2, float32=2), "50 % of the operators are in int8, and it was 100 %"),
        (placed(float16=1, float32=1), placed(float32=9), "0 % of the operators are in fp16, and it was 50 %"),
        (placed(), None, "the compiler no longer tells where operators run"),
    ],
    ids=["left", "untold", "lost its ranges", "lost its precision", "no placement"],
)
def test_operators_that_are_not_where_they_were_are_undecided(
    before: Placement, after: Placement | None, found: str
) -> None:
    answer = since(Compiled(artefact(), before), Compiled(artefact(), after))
    assert (answer.kind, found in answer.summary) == ("inconclusive", True), answer.summary


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, placed()),
        (placed(0.5), placed(1.0)),
        (placed(0.5, int8=100), placed(0.5 - MOVED / 2, int8=100)),
        (placed(float32=4), placed(int8=4)),
        (placed(uint8=4), placed(float32=4)),
    ],
    ids=["newly answer", "came", "by rounding", "newly narrow", "no precision"],
)
def test_what_is_no_loss_is_no_change(before: Placement | None, after: Placement) -> None:
    assert since(Compiled(artefact(), before), Compiled(artefact(), after)).kind == "pass"


@pytest.mark.parametrize(
    ("moved", "named"), [("b", "on another device is b."), ("abcde", "on another device is a, b, c and 2 more.")]
)
def test_operators_that_moved_are_named(moved: str, named: str) -> None:
    def at(device: str) -> Any:
        return Placement(on_device=None, precisions={}, operators=dict.fromkeys(moved, f"{device}:float32"))

    assert named in since(Compiled(artefact(), at("gpu")), Compiled(artefact(), at("cpu"))).summary


def test_a_prediction_that_is_gone_is_undecided() -> None:
    answer = since(Compiled(artefact(), prediction=PREDICTED), Compiled(artefact()))
    assert "its accuracy can no longer be predicted" in answer.summary
