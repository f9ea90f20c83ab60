"""How a check becomes a baseline, where the run asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_accel import verdict
from pytest_accel.store.baseline import why_not_saved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.settings import SaveMode


def saved(
    record: TestRecord,
    mode: SaveMode | None,
    *,
    path: Path,
    has_one: bool,
    write: Callable[[SaveMode], bool],
    kept_for: str = "",
) -> TestRecord:
    """Save a check as the baseline at ``path``, unless it may not become one; the record says which.

    ``kept_for`` says why the one that is there has to stay, empty where it need not. ``write`` writes the new one and
    returns whether it did: another process may have been first.
    """
    if mode is None or (mode == "new" and has_one):
        return record
    if reasons := why_not_saved(record) or kept_for:
        return replace(record, baseline=f"{path} not saved: {reasons}")
    if not write(mode):
        return replace(record, baseline=f"{path} kept")
    return replace(record, baseline=f"{path} saved", verdicts=verdict.with_baseline(record.verdicts))
