"""Where a search works: the folder that is kept, a temporary one that is not, and the line that shows progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_accel.bisect.kept_trials import LOGS, KeptTrials, folder_of, forget_old, held
from pytest_accel.bisect.pytest_run import PytestRun
from pytest_accel.report.progress import ProgressLine
from pytest_accel.store.files import discard
from pytest_accel.store.scratch import Scratch


@dataclass(frozen=True)
class Workplace:
    """What one search works with. ``scratch`` is removed at its end; ``kept.folder`` stays."""

    kept: KeptTrials
    run: PytestRun
    scratch: Path
    tell: ProgressLine


@contextmanager
def workplace(cache: Path, question: Sequence[str], selection: Sequence[str], *, reset: bool) -> Iterator[Workplace]:
    """Give the place for a question about a test, which is what ``selection`` tells pytest.

    With ``reset`` nothing is left of what was measured before. Raises `UsageError` where another search is there.
    """
    folder = folder_of(cache, [*question, *selection])
    forget_old(folder.parent)
    with held(folder):
        if reset:
            discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tell = ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), rewrites=sys.stderr.isatty())
        scratch = Scratch()
        try:
            yield Workplace(KeptTrials(folder), PytestRun(selection, folder / LOGS, tell), scratch.path, tell)
        finally:
            tell.clear()
            scratch.close()
