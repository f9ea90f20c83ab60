"""``pytest-accel baseline accept`` makes what a run has measured the baseline, with the reason in its file.

Nothing is measured again. A record of a run has all that a baseline needs where its model got slower or faster.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, FOUND
from pytest_accel.facts.errors import AccelError, UsageError

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.store.baseline import Baseline


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("run", type=Path, metavar="run.json", help="the record of the run (--accel-report=run.json)")
    command.add_argument("words", nargs="*", metavar="WORD", help="only checks with all these words in their names")
    command.add_argument("--because", required=True, metavar="TEXT", help="the reason, which stands in the baseline")
    command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR")
    command.set_defaults(command=_accept)


def _accept(arguments: argparse.Namespace) -> int:
    from pytest_accel.report.record import read_record
    from pytest_accel.store.baseline import differs

    because: str = arguments.because.strip()
    if not because:
        raise UsageError("--because is empty: say why the change is accepted, for those who read the baseline later")
    run = read_record(arguments.run)
    day = datetime.datetime.fromisoformat(run.started).date()
    named = [record for record in run.tests if all(word in _words(record) for word in arguments.words)]
    chosen = named if arguments.words else [record for record in named if differs(record)]
    refused = [record for record in chosen if not _accepted(record, because, day, arguments.baseline_dir)]
    if not chosen:
        which = f" has {' and '.join(arguments.words)}" if arguments.words else " differs from its baseline"
        print(f"nothing to accept: no check in {arguments.run}{which}")
    return FOUND if refused or not chosen else DONE


def _words(record: TestRecord) -> str:
    return " ".join((record.test, record.model, record.variant.id, record.hardware.fingerprint))


def _accepted(record: TestRecord, because: str, day: datetime.date, root: Path) -> bool:
    """Accept one check, or say why not. Returns whether it was."""
    name = f"{record.model}[{record.variant.id}]"
    try:
        path = _save(record, because, day, root)
    except AccelError as error:
        print(f"not accepted: {name}: {error}")
        return False
    ratio = "" if record.ratio is None else f" ×{record.ratio.estimate:.3f}"
    print(f"accepted: {name}{ratio}, {path}")
    return True


def _save(record: TestRecord, because: str, day: datetime.date, root: Path) -> Path:
    """Write the baseline and return its path. Raises `AccelError` with the reason why it may not be written."""
    from pytest_accel.store.baseline import differs, make_baseline, why_not_saved
    from pytest_accel.store.baselines import Baselines
    from pytest_accel.store.named_baselines import anchor, folder_of

    if record.compiled_for:
        raise UsageError("it was not run; --accel-compile-only --accel-save-baseline=accept takes it over")
    if record.measurement is None or record.beside is None or not differs(record):
        raise UsageError("it does not differ from a baseline, so there is nothing to accept")
    name = record.beside.name
    if name and name == anchor(root):
        raise UsageError(
            f"{name} is the anchor, so what it has stays as it is; choose another one with baseline anchor"
        )
    baselines = Baselines(folder_of(root, name))
    kept_as = record.hardware.fingerprint, record.model, record.variant.id
    path, stored = baselines.path(*kept_as), baselines.find(*kept_as)
    _require_unchanged(record, stored, path)
    if reasons := why_not_saved(record, stored, accepting=True):
        raise UsageError(reasons)
    paces = [record.pace] if record.pace is not None else []
    baselines.save(make_baseline(record, [record.measurement], paces, today=day, because=because))
    return path


def _require_unchanged(record: TestRecord, stored: Baseline | None, path: Path) -> None:
    """Raise `UsageError` where the baseline is not the one that the run was compared with."""
    if stored is None:
        raise UsageError(f"its baseline is gone, {path}: restore it from version control")
    if record.beside is not None and stored.compared(record.beside.name) != record.beside:
        raise UsageError(f"{path} is not the baseline that this run was compared with: run the test again")
