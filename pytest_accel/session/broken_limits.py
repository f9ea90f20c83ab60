"""The latency limits that a run has seen broken beyond doubt, and what follows for larger batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel.facts.records import TestRecord, Variant, function_of

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets
    from pytest_accel.facts.verdicts import Verdict


class BrokenLimits:
    """The latency limits that this process has seen broken beyond doubt, and what follows for larger batches.

    What follows is that a call with more items takes no less time, all other options being the same. A process of
    xdist's knows its own tests only, and so leaves out fewer variants.
    """

    def __init__(self) -> None:
        self._records: list[TestRecord] = []

    def note(self, record: TestRecord) -> None:
        """Remember the limits that a check has broken."""
        if any(_broken(record)):
            self._records.append(record)

    def ruling_out(self, variant: Variant, budgets: Budgets, *, test: str, model_digest: str) -> str | None:
        """Return why the variant cannot keep ``budgets``, or None. Only the same test and model speak for it."""
        for record in self._records:
            same = record.artefact is not None and record.artefact.model_digest == model_digest
            if not (same and record.function == function_of(test) and _smaller_batch(record.variant, variant)):
                continue
            for verdict in _broken(record):
                limit, broken = getattr(budgets, verdict.budget), getattr(record.budgets, verdict.budget)
                if limit is not None and limit <= broken:
                    return f"The smaller {record.variant.id} has broken {verdict.budget}={broken:g}."
        return None


def _broken(record: TestRecord) -> Iterator[Verdict]:
    if record.kind != "not-measured":  # what cannot be true proves nothing
        yield from (verdict for verdict in record.verdicts if verdict.kind == "sla-breach" and verdict.budget)


def _smaller_batch(smaller: Variant, larger: Variant) -> bool:
    """Return whether two variants differ in the batch alone, and the first has the smaller one."""
    others = [{**variant.options, "batch_size": None} for variant in (smaller, larger)]
    same = smaller.accelerator == larger.accelerator and others[0] == others[1]
    return same and smaller.batch_size < larger.batch_size
