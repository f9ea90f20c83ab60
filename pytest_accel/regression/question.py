"""Slower than what? How a candidate stands beside its baseline, or beside what ``--accel-against`` names instead.

Where a limit of creep is given, the same is asked about the anchor: many changes that pass one by one may add up.
Here is measured what is missing and asked for the verdict. Launches beside a baseline are played in `pacemaker`, an
opponent is found in `opponent`; `pytest_accel.verdict.gate` decides and `pytest_accel.verdict.regression` says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_accel import verdict
from pytest_accel.regression.operators import with_operators
from pytest_accel.regression.opponent import against_opponent
from pytest_accel.regression.pacemaker import OWN_ARTEFACT, Compared, against_baseline
from pytest_accel.store.changes import version_changes
from pytest_accel.verdict.gate import DEFAULT_MAX_REGRESSION, Gate

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Measurement
    from pytest_accel.facts.settings import Opponent
    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.worker.accelerator import Arrays


@dataclass(frozen=True)
class Standing:
    """The answer and what it rests on. ``opponent`` is empty for the baseline, whose changes a record has anyway.

    ``crept`` is what the launches beside the anchor gave.
    """

    verdicts: list[Verdict]
    compared: Compared | None = None
    opponent: str = ""
    differences: tuple[str, ...] = ()
    crept: Compared | None = None


@dataclass(frozen=True)
class Anchor:
    """The named baselines that creep is judged by. ``baseline`` is None where they lack the variant."""

    name: str
    baseline: Baseline | None = None


@dataclass(frozen=True)
class Contest:
    """What is compared: a candidate on these batches."""

    candidate: Candidate
    batches: Sequence[Arrays]
    measurement: Measurement
    budgets: Budgets

    def stand(self, baseline: Baseline | None, anchor: Anchor) -> Standing:
        """Return the candidate beside the opponent of this run, else beside its baseline and the anchor."""
        opponent = self.candidate.session.settings.against
        if opponent is not None:
            return self._beside(opponent)
        standing, max_creep = self._beside_baseline(baseline), self.budgets.max_creep
        return standing if max_creep is None else self._with_creep(standing, anchor, max_creep)

    @property
    def _gate(self) -> Gate:
        limit = self.budgets.max_regression
        return self._gate_at(DEFAULT_MAX_REGRESSION if limit is None else limit)

    def _gate_at(self, limit: float) -> Gate:
        session = self.candidate.session
        # Creep is a second decision about this test, so each of the two has half of the test's share of the error.
        decisions = 1 if self.budgets.max_creep is None else 2
        return Gate(max_regression=limit, confidence=session.settings.confidence, tests=decisions * session.comparisons)

    def _beside(self, opponent: Opponent) -> Standing:
        compared, differences = against_opponent(self.candidate, self.batches, opponent, self._gate)
        verdicts = verdict.judge_regression(
            compared.ratio,
            self._gate,
            opponent=opponent.text,
            disturbed=verdict.disturbances(self.measurement),
            left_out=verdict.left_out(compared.duet, None),
        )
        return Standing(with_operators(verdicts, compared, opponent.text), compared, opponent.text, differences)

    def _beside_baseline(self, baseline: Baseline | None) -> Standing:
        candidate = self.candidate
        if baseline is None:
            fingerprint = candidate.hardware.fingerprint
            elsewhere = candidate.session.baselines.elsewhere(candidate.model.name, candidate.variant.id)
            return Standing(verdict.no_baseline(fingerprint, elsewhere))
        compared = against_baseline(candidate, self.batches, baseline, self._gate)
        if compared is None:
            return Standing(verdict.no_pacemaker(baseline.saved))
        verdicts = verdict.judge_regression(
            compared.ratio,
            self._gate,
            attribution=self._attribution(compared, baseline),
            disturbed=self._disturbed(compared),
            left_out=_left_out(compared),
        )
        return Standing(with_operators(verdicts, compared), compared)

    def _with_creep(self, standing: Standing, anchor: Anchor, limit: float) -> Standing:
        """Add what the anchor says. Launches beside what is the baseline's artefact as well are played once."""
        baseline = anchor.baseline
        if baseline is None:
            missing = verdict.no_anchor(anchor.name, self.candidate.hardware.fingerprint)
            return replace(standing, verdicts=[*standing.verdicts, *missing])
        name, gate = f"the anchor {anchor.name}", self._gate_at(limit)
        crept = against_baseline(self.candidate, self.batches, baseline, gate, name=name, earlier=standing.compared)
        if crept is None:
            return replace(standing, verdicts=[*standing.verdicts, *verdict.no_pacemaker(baseline.saved, anchor.name)])
        verdicts = verdict.judge_creep(
            crept.ratio,
            gate,
            anchor=baseline.compared(anchor.name),
            took_turns=crept.duet.pacemaker == OWN_ARTEFACT,
            disturbed=self._disturbed(crept),
            left_out=_left_out(crept),
        )
        if not _names_operators_of(crept, standing):
            verdicts = with_operators(verdicts, crept, name)
        return replace(standing, verdicts=[*standing.verdicts, *verdicts], crept=crept)

    def _disturbed(self, compared: Compared) -> tuple[str, ...]:
        """Return why launches cannot show a regression, a sentence each."""
        uneven = verdict.uneven_load(compared.foreign_load_cores)
        return (*verdict.disturbances(self.measurement), *uneven)

    def _attribution(self, compared: Compared, baseline: Baseline) -> str:
        """Return what slowed down, where the baseline can tell what both sides took when it was saved."""
        baseline_duet = compared.baseline_duet or next(iter(baseline.duets), None)
        if baseline_duet is None:
            return ""
        return verdict.attribution(
            compared.duet,
            baseline_duet,
            version_changes=version_changes(baseline.versions, self.candidate.versions),
            pacemaker_is_baseline=compared.baseline_duet is None,
        )


def _names_operators_of(crept: Compared, standing: Standing) -> bool:
    """Return whether the answer about the baseline has named the operators, where that is the anchor's artefact too."""
    compared = standing.compared
    is_same = compared is not None and compared.duet.pacemaker_digest == crept.duet.pacemaker_digest
    return is_same and any(answer.kind == "regressed" for answer in standing.verdicts)


def _left_out(compared: Compared) -> tuple[str, ...]:
    """Return sentences about the launches and the artefact that did not count."""
    return (
        *verdict.other_pacemaker(compared.no_artefact),
        *verdict.left_out(compared.duet, compared.baseline_duet),
    )
