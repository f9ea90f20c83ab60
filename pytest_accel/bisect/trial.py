"""A trial is one run of the test at one commit or version, and what that shows."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_accel.facts.fact import Fact, NotNegative, Positive
from pytest_accel.facts.records import Ratio, RunRecord, TestRecord
from pytest_accel.facts.verdicts import SEVERITY, Question, VerdictKind

#: FaultKind names what can be hunted. A failure of any other kind does not say whether a commit is good or bad.
FaultKind: TypeAlias = Literal["regressed", "inaccurate", "sla-breach", "refused"]
#: Answer is what a trial says of its commit or version.
Answer: TypeAlias = Literal["good", "bad", "undecided"]
#: _UNDECIDED are verdicts that answer their question with neither yes nor no.
_UNDECIDED = frozenset({"inconclusive", "incomparable", "no-baseline", "not-measured", "pruned"})

#: _EMPTY_RUNS says what statuses of pytest mean where it has run no test.
_EMPTY_RUNS = {4: "there is no such test, or it cannot be collected", 5: "no test was selected"}


class Fault(Fact, frozen=True, kw_only=True):
    """What is hunted: a kind of failure, and the question that it answers."""

    kind: FaultKind
    question: Question

    def __str__(self) -> str:
        return "refused by the compiler" if self.kind == "refused" else self.kind


#: FAULTS has the fault of each kind, where no trial has shown one yet.
FAULTS: dict[FaultKind, Fault] = {
    "regressed": Fault(kind="regressed", question="regression"),
    "inaccurate": Fault(kind="inaccurate", question="accuracy"),
    "sla-breach": Fault(kind="sla-breach", question="sla"),
    "refused": Fault(kind="refused", question="measurement"),
}


class Given(Fact, frozen=True, kw_only=True):
    """One verdict of a trial, without its sentences."""

    kind: VerdictKind
    question: Question


class Trial(Fact, frozen=True, kw_only=True):
    """What one run of the test has shown at ``point``, which is a commit's hash or a version.

    ``confidence`` is that of each of its decisions, and ``compare_budget_s`` the time that its comparison could take.
    ``reason`` is a sentence: what was decided, or why nothing was. ``log`` is the file with the output of pytest.
    """

    point: str
    confidence: float
    compare_budget_s: Positive
    verdicts: tuple[Given, ...] = ()
    ratio: Ratio | None = None
    reason: str = ""
    seconds: NotNegative = 0.0
    log: str = ""

    def answer(self, fault: Fault) -> Answer:
        """Say whether it has this fault. It is undecided where the question was not answered."""
        given = [verdict.kind for verdict in self.verdicts if verdict.question == fault.question]
        if fault.kind in given:
            return "bad"
        answered = given and _UNDECIDED.isdisjoint(given)
        compiled = fault.kind == "refused" and any(verdict.question != "measurement" for verdict in self.verdicts)
        return "good" if answered or compiled else "undecided"

    def faults(self) -> tuple[Fault, ...]:
        """Return the faults that it has, the most severe first."""
        found = [(given.kind, given.question) for given in self.verdicts if given.kind in FAULTS]
        ordered = sorted(dict.fromkeys(found), key=lambda fault: SEVERITY.index(fault[0]))
        return tuple(Fault(kind=kind, question=question) for kind, question in ordered if kind in FAULTS)

    @property
    def is_close(self) -> bool:
        """Whether more launches could decide what these have not."""
        return Given(kind="inconclusive", question="regression") in self.verdicts


def verdicts_of(record: TestRecord) -> tuple[Given, ...]:
    """Return the verdicts of a check. Where the compiler refused the model, there is that one alone."""
    if _is_refused(record):
        return (Given(kind="refused", question="measurement"),)
    return tuple(Given(kind=verdict.kind, question=verdict.question) for verdict in record.verdicts)


def _is_refused(record: TestRecord) -> bool:
    """Return whether the check ended at the compiler, which leaves neither an artefact nor a measurement behind."""
    nothing = record.artefact is None and record.measurement is None
    return nothing and record.kind in ("refused", "not-measured")


def why_unusable(run: RunRecord | None, status: int) -> str:
    """Return why a run that ended with ``status`` is no trial of one variant of one test; empty where it is one."""
    if run is None:
        return f"pytest ended with status {status} before it could write a record"
    if len(run.tests) > 1:
        return f"{len(run.tests)} checks were selected: {', '.join(record.test for record in run.tests)}"
    if not run.tests and run.failures:
        return _first_line(run.failures[0].message)
    if not run.tests and run.absent:
        return "; ".join(f"{name} absent: {why}" for name, why in run.absent.items())
    if not run.tests:
        return _EMPTY_RUNS.get(status, f"no check of a model was made; pytest ended with status {status}")
    return ""


def reason_of(record: TestRecord) -> str:
    """Return the sentence of the verdict that matters most."""
    worst = min(record.verdicts, key=lambda verdict: SEVERITY.index(verdict.kind), default=None)
    return f"{worst.kind}: {_first_line(worst.summary)}" if worst is not None else "not judged"


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
