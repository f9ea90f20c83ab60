"""Variants of a sweep that nobody measured, and why: the compiler refused one, or another has shown that it is no use.

Both are rows of the run's record like any other, so that a sweep has no holes. Whether such a test passes is not
decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_accel.facts.records import TestRecord
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.inputs.variants import with_defaults
from pytest_accel.session.compile_target import under_test

if TYPE_CHECKING:
    from pytest_accel.facts.errors import CompileFailed
    from pytest_accel.inputs.models import Model
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.session.session import Session


@dataclass(frozen=True)
class Unmeasured:
    """A model and a plan of a test that may come to nothing: what its record says if so."""

    session: Session
    model: Model
    plan: Plan
    test: str

    def pruned(self, reason: str) -> TestRecord:
        """Return the record of a variant that is not measured, because a smaller batch has broken its limit."""
        return self._record(Verdict(kind="pruned", question="measurement", summary=reason))

    def refused(self, error: CompileFailed) -> TestRecord:
        """Return the record of a variant that its compiler refused, in the vendor's words.

        It is "refused" where the marker allows for that, else "not-measured".
        """
        first, *more = str(error).strip().splitlines() or ["no reason given"]
        verdict = Verdict(kind="refused", question="measurement", summary=first, details=tuple(more))
        if self.plan.on_compile_error == "fail":
            verdict = replace(verdict, kind="not-measured", summary=f"The compiler refused it: {first}")
        return self._record(verdict)

    def _record(self, verdict: Verdict) -> TestRecord:
        session = self.session
        hardware, versions = under_test(session, self.plan.variant)
        return TestRecord(
            test=self.test,
            model=self.model.name,
            variant=self.plan.variant,
            budgets=with_defaults(self.plan.budgets, session.settings.budgets),
            hardware=hardware,
            versions={**versions, **session.versions_around(self.plan.variant.accelerator)},
            verdicts=(verdict,),
            provenance=session.provenance,
            host=session.settings.host_name(self.plan.variant.accelerator),
        )
