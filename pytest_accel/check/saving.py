"""How a check becomes a baseline, where the run asks for that, and which baselines are the check's own."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pytest_accel import verdict
from pytest_accel.store.baseline import AnyBaseline, why_not_saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.session.baseline_owners import BaselineOwner
    from pytest_accel.session.session import Session
    from pytest_accel.store.baselines import BaselineFolder

_Kept = TypeVar("_Kept", bound=AnyBaseline)


def claim(
    session: Session,
    owner: BaselineOwner,
    kept_as: tuple[str, str, str],
    *,
    compared: BaselineFolder[_Kept] | None,
    saved: BaselineFolder[_Kept],
) -> None:
    """Require that nobody uses the same baselines for something else, where there are or will be any.

    ``compared`` is the folder with a baseline that the check is compared with, None where there is none. ``saved`` is
    the one that the run writes to, if it does. ``kept_as`` is the place in either.
    """
    used = {folder.path(*kept_as) for folder in (compared, saved if session.settings.save else None) if folder}
    for path in sorted(used):
        session.baseline_owners.claim(session.settings.shown(path), model=kept_as[1], owner=owner)


def saved(
    record: TestRecord,
    session: Session,
    folder: BaselineFolder[_Kept],
    kept_as: tuple[str, str, str],
    *,
    compared: _Kept | None,
    make: Callable[[datetime.date, str], _Kept],
) -> TestRecord:
    """Save a check as a baseline in the folder, unless it may not become one; the record says which.

    ``compared`` is the baseline that it was compared with. ``make`` makes the new one of the day and of the reason why
    it is accepted. Another process may save one first.
    """
    settings = session.settings
    saving = settings.save
    if saving is None:
        return record
    stored = compared if settings.saves_compared else folder.find(*kept_as)
    if saving.mode == "new" and stored is not None:
        return record
    path = settings.shown(folder.path(*kept_as))
    is_anchor = saving.name != "" and saving.name == session.anchor
    if is_anchor and stored is not None:
        return replace(record, baseline=f"{path} kept: {saving.name} is the anchor, so what it has stays as it is")
    if reasons := why_not_saved(record, stored, accepting=saving.mode == "accept"):
        return replace(record, baseline=f"{path} not saved: {reasons}")
    made = make(datetime.datetime.now().date(), settings.because)
    if not folder.save(made, mode="new" if is_anchor else saving.mode):
        return replace(record, baseline=f"{path} kept")
    verdicts = record.verdicts
    if settings.saves_compared:
        verdicts = verdict.with_baseline(verdicts)
    if is_anchor:
        verdicts = verdict.with_anchor(verdicts)
    return replace(record, baseline=f"{path} saved", verdicts=verdicts)
