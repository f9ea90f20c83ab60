"""Write the report of runs to a file, in the format that the suffix says. Each format has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.store.files import write_whole

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord

#: FORMATS are the suffixes of the formats that ``--accel-report`` writes.
FORMATS = (".json", ".html", ".md")


def require_format(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Raise `UsageError` unless the path's suffix is one of ``formats`` and what it needs is installed."""
    if path.suffix not in formats:
        known = ", ".join(formats)
        raise UsageError(f"{path.name}: the suffix says the format, and only {known} are known")
    if path.suffix == ".html" and find_spec("jinja2") is None:
        raise UsageError(f"{path.name}: the page needs jinja2, which is not here: pip install 'pytest-accel[report]'")


def write(runs: Sequence[RunRecord], path: Path) -> None:
    """Write the runs to a file and make its folder. A record, ``.json``, is of a single run.

    The file appears whole or not at all, and a write that fails leaves the older report. Raises `AccelError` that names
    the path when it cannot be written.
    """
    text = _text(runs, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise AccelError(f"{path}: {error.strerror}; name a file that can be written") from error


def _text(runs: Sequence[RunRecord], suffix: str) -> str:
    if suffix == ".json":
        from pytest_accel.report.record import to_json

        (run,) = runs
        return to_json(run)
    from pytest_accel.report.overview import Overview

    overview = Overview.of(runs)
    if suffix == ".html":
        from pytest_accel.report.html import page

        return page(overview)
    from pytest_accel.report.markdown import markdown

    return markdown(overview)
