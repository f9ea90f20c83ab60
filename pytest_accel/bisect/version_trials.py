"""Trials at versions of a package: pytest runs in an environment of each, beside the environment of the good one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.bisect.environments import NotInstalled
from pytest_accel.bisect.pytest_run import Place, PytestRun, Terms
from pytest_accel.bisect.trial import Trial

if TYPE_CHECKING:
    from pytest_accel.bisect.environments import Environments


@dataclass(frozen=True)
class VersionTrials:
    """Runs the test in ``folder``, the user's own checkout, with one version after the other.

    ``opponent`` is the interpreter of the good version. ``cache`` is the compile cache of all trials; an artefact knows
    the versions that it was compiled with.
    """

    environments: Environments
    run: PytestRun
    folder: Path
    cache: Path
    opponent: Path

    def __call__(self, point: str, *, confidence: float, compare_budget_s: float) -> Trial:
        """Return what the test shows with a version. One that cannot be installed shows nothing."""
        terms = Terms(f"popen//python={self.opponent}", confidence, compare_budget_s)
        try:
            python = self.environments.python(point)
        except NotInstalled as error:
            return Trial(point=point, confidence=confidence, compare_budget_s=compare_budget_s, reason=str(error))
        return self.run(point, Place(python, self.folder, {}), self.cache, terms)
