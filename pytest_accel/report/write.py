"""Write the report of runs to a file, in the format that the suffix says. Each format has a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.report_formats import PAGE, RECORD, suffix_of
from pytest_accel.report.bencher import bencher
from pytest_accel.report.github_benchmark import github_benchmark
from pytest_accel.report.html import page
from pytest_accel.report.markdown import comment
from pytest_accel.report.openmetrics import openmetrics
from pytest_accel.report.overview import Overview
from pytest_accel.report.record import to_json
from pytest_accel.store.files import write_whole

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord
    from pytest_accel.store.history_entry import HistoryEntry

    _Format: TypeAlias = Callable[[Sequence[RunRecord], Sequence[HistoryEntry]], str]


def _record(runs: Sequence[RunRecord], _: Sequence[HistoryEntry]) -> str:
    (run,) = runs
    return to_json(run)


def _overview_in(format_: Callable[[Overview], str]) -> _Format:
    """Return what writes the overview of some runs in this format."""
    return lambda runs, history: format_(Overview.of(runs, history))


#: FORMATS are the formats that ``--accel-report`` writes, by their suffixes.
FORMATS: Mapping[str, _Format] = {
    RECORD: _record,
    PAGE: _overview_in(page),
    ".md": _overview_in(comment),
    ".prom": _overview_in(openmetrics),
    ".bmf.json": _overview_in(bencher),
    ".gab.json": _overview_in(github_benchmark),
}
#: OF_SEVERAL_RUNS are the suffixes of the formats that take the runs of several machines.
OF_SEVERAL_RUNS = tuple(suffix for suffix in FORMATS if suffix != RECORD)


def require_format(path: Path, formats: Collection[str] = FORMATS) -> None:
    """Raise `UsageError` unless the path's suffix is one of ``formats`` and what it needs is installed."""
    suffix = suffix_of(path)
    if suffix not in formats:
        known = ", ".join(formats)
        raise UsageError(f"{path.name}: the suffix says the format, and only {known} are known")
    if suffix == PAGE and find_spec("jinja2") is None:
        raise UsageError(f"{path.name}: the page needs jinja2, which is not here: pip install 'pytest-accel[report]'")


def write(runs: Sequence[RunRecord], path: Path, history: Sequence[HistoryEntry] = ()) -> None:
    """Write the runs to a file and make its folder. A record, ``.json``, is of a single run.

    A page draws what the ``history`` has about them.

    The file appears whole or not at all, and a write that fails leaves the older report. Raises `AccelError` that names
    the path when it cannot be written.
    """
    text = FORMATS[suffix_of(path)](runs, history)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise AccelError(f"{path}: {error.strerror}; name a file that can be written") from error
