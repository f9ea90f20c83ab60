"""Show a run in GitHub Actions: in the job's step summary, and beside the lines of failing tests.

The formats are those of GitHub's workflow commands. Outside GitHub Actions nothing of this is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import AccelError
from pytest_accel.report.markdown import markdown
from pytest_accel.report.overview import Overview

if TYPE_CHECKING:
    from pytest_accel.facts.records import Failure, RunRecord

#: MOST_BYTES is the size of the largest summary of a step that GitHub accepts, in bytes.
MOST_BYTES = 1024 * 1024


def is_here(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether this is a job of GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"


def summarise(run: RunRecord, environ: Mapping[str, str] = os.environ) -> None:
    """Add the run to the step's summary, if the job has one. Raises `AccelError` when it cannot be written."""
    if not environ.get("GITHUB_STEP_SUMMARY"):
        return
    path, overview = Path(environ["GITHUB_STEP_SUMMARY"]), Overview.of([run])
    try:
        size = path.stat().st_size if path.exists() else 0
        _append(path, markdown(overview, MOST_BYTES - size).encode(), size)
    except OSError as error:
        raise AccelError(f"GITHUB_STEP_SUMMARY={path}: {error.strerror}") from error


def _append(path: Path, text: bytes, size: int) -> None:
    """Add the text to a file of this size. On a full disk, none of it stays."""
    try:
        with path.open("ab") as summary:
            summary.write(text)
    except OSError:
        if path.is_file():
            os.truncate(path, size)
        raise


def errors(failures: Iterable[Failure], rootdir: Path, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Give an annotation for the line of each failing test. GitHub wants the file relative to the checkout."""
    checkout = environ.get("GITHUB_WORKSPACE") or rootdir
    for failure in failures:
        file = os.path.relpath(rootdir / failure.file, checkout)
        place = f"file={_property(file)},line={failure.line},title={_property(failure.test)}"
        yield f"::error {place}::{_message(failure.message)}"


def warnings(notes: Iterable[str]) -> Iterator[str]:
    """Give an annotation for each note on a run."""
    return (f"::warning title=accelerators::{_message(note)}" for note in notes)


def _message(text: str) -> str:
    """Escape what a workflow command cannot hold: it is one line, and a percent sign begins an escape."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
