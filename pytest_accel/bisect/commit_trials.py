"""Trials at commits: each is checked out in a folder of its own and runs beside the artefact of the good one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.bisect.bisection import NotAsNamed, described
from pytest_accel.bisect.pytest_run import UNASKED_COMPARE_S, Place, PytestRun, Terms
from pytest_accel.bisect.trial import FAULTS, Trial
from pytest_accel.facts.settings import Settings
from pytest_accel.store.files import discard

if TYPE_CHECKING:
    from pytest_accel.bisect.commits import Repository


@dataclass(frozen=True)
class CommitTrials:
    """Runs the test at commits. ``folder`` keeps the compile caches, ``scratch`` holds one checkout at a time."""

    repository: Repository
    run: PytestRun
    folder: Path
    scratch: Path

    def make_opponent(self, good: str) -> None:
        """Compile the model of the good commit, unless that is done. Raises `NotAsNamed` where the test cannot run.

        The trials begin with its cache, so that a model which has not changed is not compiled again. A compiler that
        chooses by the clock would make another artefact of it, and that would look like a change.
        """
        if self._opponent.is_dir():
            return
        being_made = self.folder / "opponent-being-made"
        discard(being_made)
        trial = self._at(good, being_made, Terms("", Settings.confidence, UNASKED_COMPARE_S))
        if not trial.verdicts or trial.answer(FAULTS["refused"]) == "bad":
            advice = "name one variant of one test that runs there, such as 'tests/test_x.py::test_y[cpu-ort-b8]'"
            raise NotAsNamed(f"GOOD cannot be judged: {described(trial)}; {advice}")
        shutil.copytree(being_made, self._cache, dirs_exist_ok=True)
        being_made.rename(self._opponent)

    def __call__(self, point: str, *, confidence: float, compare_budget_s: float) -> Trial:
        """Return what the test shows at a commit."""
        return self._at(point, self._cache, Terms(str(self._opponent), confidence, compare_budget_s))

    def in_place(self, folder: Path, confidence: float, compare_budget_s: float) -> Trial:
        """Return what the test shows in the user's own checkout, as it is."""
        terms = Terms(str(self._opponent), confidence, compare_budget_s)
        return self.run("checkout", Place(Path(sys.executable), folder, {}), self._cache, terms)

    @property
    def _opponent(self) -> Path:
        return self.folder / "opponent"

    @property
    def _cache(self) -> Path:
        return self.folder / "cache"

    def _at(self, point: str, cache: Path, terms: Terms) -> Trial:
        with self._place(point) as place:
            if not place.folder.is_dir():
                reason = f"there is no folder {self.repository.prefix}"
                return Trial(
                    point=point, confidence=terms.confidence, compare_budget_s=terms.compare_budget_s, reason=reason
                )
            return self.run(point, place, cache, terms)

    @contextmanager
    def _place(self, commit: str) -> Iterator[Place]:
        with self.repository.checkout(commit, self.scratch / "checkout") as checkout:
            paths = [*map(str, self.repository.import_paths(checkout)), *filter(None, [os.environ.get("PYTHONPATH")])]
            environ = {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
            yield Place(Path(sys.executable), checkout / self.repository.prefix, environ)
