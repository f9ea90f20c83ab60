"""How a check becomes a baseline, where the run asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_accel import verdict
from pytest_accel.store.baseline import why_not_replaced, why_not_saved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.settings import SaveMode
    from pytest_accel.session.session import Session
    from pytest_accel.store.baseline import AnyBaseline


def saved(
    record: TestRecord,
    session: Session,
    *,
    path: Path,
    stored: AnyBaseline | None,
    write: Callable[[SaveMode], bool],
) -> TestRecord:
    """Save a check as the baseline at ``path``, unless it may not become one; the record says which.

    ``stored`` is the one that is there. ``write`` writes the new one and returns whether it did: another process may
    have been first.
    """
    saving = session.settings.save
    if saving is None or (saving.mode == "new" and stored is not None):
        return record
    is_anchor = saving.name != "" and saving.name == session.anchor
    if is_anchor and stored is not None:
        return replace(record, baseline=f"{path} kept: {saving.name} is the anchor, so what it has stays as it is")
    kept = why_not_replaced(stored, record) if stored is not None else ""
    if reasons := why_not_saved(record, accepting=saving.mode == "accept") or kept:
        return replace(record, baseline=f"{path} not saved: {reasons}")
    if not write("new" if is_anchor else saving.mode):
        return replace(record, baseline=f"{path} kept")
    verdicts = record.verdicts
    if saving.name == session.settings.compare:
        verdicts = verdict.with_baseline(verdicts)
    if is_anchor:
        verdicts = verdict.with_anchor(verdicts)
    return replace(record, baseline=f"{path} saved", verdicts=verdicts)
