"""Verdicts: the answers that can be given to a question, and which of them fail."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pytest_accel.facts.fact import Fact

#: VerdictKind names the answers that a verdict can give, from the one that matters most to the one that matters least.
VerdictKind: TypeAlias = Literal[
    "not-measured",
    "inaccurate",
    "sla-breach",
    "regressed",
    "refused",
    "pruned",
    "inconclusive",
    "incomparable",
    "no-baseline",
    "compiled",
    "improved",
    "pass",
]
#: SEVERITY lists the kinds of verdicts, the most severe first.
SEVERITY: tuple[VerdictKind, ...] = get_args(VerdictKind)
#: FAILING are verdicts that fail a test.
FAILING: frozenset[VerdictKind] = frozenset({"not-measured", "inaccurate", "sla-breach", "regressed"})
#: UNDECIDED are verdicts that pass by default and fail under ``--accel-strict``.
UNDECIDED: frozenset[VerdictKind] = frozenset({"inconclusive", "incomparable", "no-baseline"})
#: LEFT_OUT are verdicts of variants that a sweep leaves out, as its marker allows: they neither pass nor fail.
LEFT_OUT: frozenset[VerdictKind] = frozenset({"refused", "pruned"})
#: NOT_RUN are verdicts of variants that were not run, as the marker or the run asks for: they neither pass nor fail.
NOT_RUN: frozenset[VerdictKind] = LEFT_OUT | {"compiled"}
#: ACCEPT_COMMAND makes what a run has measured the new baseline.
ACCEPT_COMMAND = "pytest-accel baseline accept run.json --because TEXT"
#: Question names the questions that a verdict can answer.
Question: TypeAlias = Literal["accuracy", "sla", "regression", "creep", "placement", "resources", "measurement"]


class Verdict(Fact, frozen=True, kw_only=True):
    """One answer to one question, as a sentence a user can act on; ``details`` are the lines below it.

    ``budget`` names the latency limit that was judged, such as ``p99_ms``; it is empty for other answers.
    ``since_baseline`` says that the answer is about a difference from the baseline, which a new one would settle.
    """

    kind: VerdictKind
    question: Question
    summary: str
    details: tuple[str, ...] = ()
    budget: str = ""
    since_baseline: bool = False
