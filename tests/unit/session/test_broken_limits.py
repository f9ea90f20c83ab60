from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.records import Artefact, Budgets, TestRecord, Variant
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.session.broken_limits import BrokenLimits
from tests.unit import facts

TEST = "test_it.py::test_it[fake-b32]"
LIMIT = Budgets(p99_ms=5)


def variant(accelerator: str = "fake", **options: Any) -> Variant:
    return Variant(accelerator=accelerator, options={"batch_size": None, "cores": 1, **options}, named=tuple(options))


def broken(*, budget: str = "p99_ms", kind: Any = "sla-breach", more: tuple[Verdict, ...] = (), **changed: Any) -> Any:
    """A check with batches of 8 that broke ``p99_ms=5``."""
    found: dict[str, Any] = {
        "test": "test_it.py::test_it[fake-b8]",
        "variant": variant(batch_size=8),
        "budgets": LIMIT,
        "artefact": Artefact(key="k", size_mb=1, model_digest="d", compile_s=1),
        "verdicts": (Verdict(kind=kind, question="sla", summary="Slow.", budget=budget), *more),
    }
    return facts.record(**{**found, **changed})


def ruled_out(
    record: TestRecord,
    larger: Variant | None = None,
    budgets: Budgets = LIMIT,
    test: str = TEST,
    model_digest: str = "d",
) -> str | None:
    broken_limits = BrokenLimits()
    broken_limits.note(record)
    return broken_limits.ruling_out(larger or variant(batch_size=32), budgets, test=test, model_digest=model_digest)


def test_a_larger_batch_cannot_keep_a_limit_that_a_smaller_one_broke() -> None:
    assert ruled_out(broken()) == "The smaller fake-b8 has broken p99_ms=5."
    assert ruled_out(broken(variant=variant())) == "The smaller fake has broken p99_ms=5."


@pytest.mark.parametrize(
    "larger",
    [
        variant(batch_size=8),
        variant(batch_size=4),
        variant(),
        variant(batch_size=32, cores=2),
        variant("other", batch_size=32),
    ],
    ids=["same", "smaller", "default", "other options", "other accelerator"],
)
def test_nothing_follows_for_other_variants(larger: Variant) -> None:
    assert ruled_out(broken(), larger) is None


@pytest.mark.parametrize(
    ("budgets", "follows"),
    [
        (LIMIT, True),
        (Budgets(p99_ms=4), True),
        (Budgets(p99_ms=6), False),
        (Budgets(p50_ms=5), False),
        (Budgets(min_throughput=5), False),
    ],
)
def test_it_follows_for_the_same_or_a_stricter_limit(budgets: Budgets, follows: bool) -> None:
    assert (ruled_out(broken(), budgets=budgets) is not None) is follows


def test_it_follows_for_the_same_test_and_model() -> None:
    assert ruled_out(broken(), test="test_it.py::test_other[fake-b32]") is None
    assert ruled_out(broken(), model_digest="e") is None


@pytest.mark.parametrize(
    "record",
    [
        broken(kind="inconclusive"),
        broken(budget=""),
        broken(more=(Verdict(kind="not-measured", question="measurement", summary="Beyond the peak."),)),
    ],
    ids=["unsure", "throughput", "impossible"],
)
def test_only_a_latency_limit_that_is_surely_broken_proves_anything(record: TestRecord) -> None:
    assert ruled_out(record) is None


def test_an_inaccurate_model_that_is_too_slow_as_well_proves_it_too() -> None:
    inaccurate = Verdict(kind="inaccurate", question="accuracy", summary="Wrong.")
    assert ruled_out(broken(more=(inaccurate,))) is not None
