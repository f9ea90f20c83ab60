"""What an acceptance found out: each check of an accelerator on the machine that has the hardware, with its result."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pytest_accel.facts.fact import Count, Fact, NotNegative
from pytest_accel.facts.records import Hardware

#: Outcome names how a check can end. Of ``refused`` the vendor's words are the reason.
Outcome: TypeAlias = Literal["held", "refused", "not-applicable", "inconclusive", "failed"]
#: Standing names what an acceptance amounts to.
Standing: TypeAlias = Literal["accepted", "undecided", "partial", "failed", "absent"]


class CheckResult(Fact, frozen=True, kw_only=True):
    """How one check ended. ``reason`` is a sentence; ``numbers`` are what it measured, with units in their names."""

    check: str
    outcome: Outcome
    reason: str
    seconds: NotNegative
    numbers: dict[str, float] = msgspec.field(default_factory=dict)


class Acceptance(Fact, frozen=True, kw_only=True):
    """All checks of one accelerator on one machine.

    ``date`` is that of its beginning, as ``2026-11-29``. ``checks`` counts all that belong to an acceptance; there are
    fewer results where it was interrupted, or where only some were asked for. ``absent`` says why there are none.
    ``raw_answers`` names the files with the vendor's own answers.
    """

    accelerator: str
    date: str
    checks: Count
    results: tuple[CheckResult, ...] = ()
    absent: str = ""
    hardware: Hardware | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    raw_answers: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """Return how many checks ended like this."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def standing(self) -> Standing:
        """What it amounts to: ``accepted`` where every check was made and none failed or stayed open."""
        if self.absent:
            return "absent"
        if self.count("failed"):
            return "failed"
        if len(self.results) < self.checks or not self.count("held"):
            return "partial"
        return "undecided" if self.count("inconclusive") else "accepted"


class AcceptanceRecord(Fact, frozen=True, kw_only=True):
    """What ``pytest-accel accept -o accept.json`` writes; ``version`` is that of the package."""

    schema: int
    version: str
    acceptances: tuple[Acceptance, ...]
