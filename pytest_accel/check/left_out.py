"""Variants of a sweep that nobody measured, and why: the compiler refused one, or another has shown that it is no use.

Both are rows of the run's record like any other, so that a sweep has no holes. Whether such a test passes is not
decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_accel.facts.records import TestRecord, Variant, Verdict, function_of
from pytest_accel.inputs.variants import with_defaults
from pytest_accel.machine.hardware import controller_versions

if TYPE_CHECKING:
    from pytest_accel.facts.errors import CompileFailed
    from pytest_accel.facts.records import Budgets
    from pytest_accel.inputs.models import Model
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.session.session import Session


class Breaches:
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
        """Why the variant cannot keep ``budgets``, or None. Only the same test and model speak for it."""
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
        yield from (each for each in record.verdicts if each.kind == "sla-breach" and each.budget)


def _smaller_batch(smaller: Variant, larger: Variant) -> bool:
    """Whether two variants differ in the batch alone, and how."""
    others = [{**variant.options, "batch_size": None} for variant in (smaller, larger)]
    sizes = [int(variant.options["batch_size"] or 1) for variant in (smaller, larger)]
    return smaller.accelerator == larger.accelerator and others[0] == others[1] and sizes[0] < sizes[1]


def pruned(session: Session, model: Model, plan: Plan, test: str, why: str) -> TestRecord:
    """The record of a variant that is not measured because of `Breaches`."""
    return _record(session, model, plan, test, Verdict(kind="pruned", question="measurement", summary=why))


def refused(session: Session, model: Model, plan: Plan, test: str, error: CompileFailed) -> TestRecord:
    """The record of a variant that its compiler refused, in the vendor's words.

    It is "refused" where the marker allows for that, else "not-measured".
    """
    first, *more = str(error).strip().splitlines() or ["no reason given"]
    verdict = Verdict(kind="refused", question="measurement", summary=first, details=tuple(more))
    if plan.on_compile_error == "fail":
        verdict = replace(verdict, kind="not-measured", summary=f"The compiler refused it: {first}")
    return _record(session, model, plan, test, verdict)


def _record(session: Session, model: Model, plan: Plan, test: str, verdict: Verdict) -> TestRecord:
    accelerator = plan.variant.accelerator
    return TestRecord(
        test=test,
        model=model.name,
        variant=plan.variant,
        budgets=with_defaults(plan.budgets, session.settings.budgets),
        hardware=session.hardware(accelerator),
        versions={**session.versions(accelerator), **controller_versions()},
        verdicts=(verdict,),
    )
