"""Slower than what? How a candidate stands beside its baseline, or beside what ``--accel-against`` names instead.

Here is measured what is missing and asked for the verdict. Launches beside a baseline are played in `pacemaker`, an
opponent is found in `opponent`; `pytest_accel.verdict.gate` decides and `pytest_accel.verdict.regression` says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_accel import verdict
from pytest_accel.regression.opponent import against_opponent
from pytest_accel.regression.pacemaker import Compared, against_baseline
from pytest_accel.store.changes import version_changes
from pytest_accel.verdict.gate import DEFAULT_MAX_REGRESSION, Gate

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement
    from pytest_accel.facts.settings import Opponent
    from pytest_accel.facts.verdicts import Verdict
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.worker.accelerator import Arrays


@dataclass(frozen=True)
class Standing:
    """The answer and what it rests on. ``opponent`` is empty for the baseline, whose changes a record has anyway."""

    verdicts: list[Verdict]
    compared: Compared | None = None
    opponent: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contest:
    """What is compared: a candidate on these batches. ``max_regression`` is None where nobody set a limit."""

    candidate: Candidate
    batches: Sequence[Arrays]
    measurement: Measurement
    max_regression: float | None

    def stand(self, baseline: Baseline | None) -> Standing:
        """Return the candidate beside the opponent of this run, else beside its baseline."""
        opponent = self.candidate.session.settings.against
        return self._beside_baseline(baseline) if opponent is None else self._beside(opponent)

    @property
    def _gate(self) -> Gate:
        return Gate(
            max_regression=DEFAULT_MAX_REGRESSION if self.max_regression is None else self.max_regression,
            confidence=self.candidate.session.settings.confidence,
            tests=self.candidate.session.comparisons,
        )

    def _beside(self, opponent: Opponent) -> Standing:
        compared, differences = against_opponent(self.candidate, self.batches, opponent, self._gate)
        verdicts = verdict.judge_regression(
            compared.ratio,
            self._gate,
            opponent=opponent.text,
            disturbed=verdict.disturbances(self.measurement),
            left_out=verdict.left_out(compared.duet, None),
        )
        return Standing(verdicts, compared, opponent.text, differences)

    def _beside_baseline(self, baseline: Baseline | None) -> Standing:
        candidate = self.candidate
        if baseline is None:
            fingerprint = candidate.hardware.fingerprint
            elsewhere = candidate.session.baselines.elsewhere(candidate.model.name, candidate.variant.id)
            return Standing(verdict.no_baseline(fingerprint, elsewhere))
        compared = against_baseline(candidate, self.batches, baseline, self._gate)
        if compared is None:
            return Standing(verdict.no_pacemaker(baseline.saved))
        uneven = verdict.uneven_load(compared.foreign_load_cores or 0.0)
        verdicts = verdict.judge_regression(
            compared.ratio,
            self._gate,
            attribution=self._attribution(compared, baseline),
            disturbed=(*verdict.disturbances(self.measurement), *uneven),
            left_out=(
                *verdict.other_pacemaker(compared.no_artefact),
                *verdict.left_out(compared.duet, compared.baseline_duet),
            ),
        )
        return Standing(verdicts, compared)

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
