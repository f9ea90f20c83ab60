"""Write the report of runs as Markdown, for a comment on a pull request or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_accel.report.model_table import WORD_COLUMNS, Row, Table
from pytest_accel.report.sweep import BEST

if TYPE_CHECKING:
    from pytest_accel.report.overview import Overview

#: _SPECIAL matches the characters which Markdown or HTML would not show as they are.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#+|~&])")


def markdown(overview: Overview) -> str:
    """Write the runs as GitHub's Markdown. All text from a record is escaped."""
    return "\n".join(_lines(overview)) + "\n"


def head(overview: Overview) -> Iterator[str]:
    """Give the first lines, which say whether everything passed and which runs these are."""
    yield f"## {escape(overview.headline)}"
    yield ""
    yield escape(", ".join(f"{count} {kind}" for kind, count in overview.counts.items()))
    yield ""
    for facts in overview.facts:
        yield f"- {escape('; '.join(f'{name} {fact}' for name, fact in facts.items()))}"


def _lines(overview: Overview) -> Iterator[str]:
    yield from head(overview)
    for table in overview.tables:
        yield from _model(table)
    if overview.failures:
        yield from ("", "### Failures")
    for failure in overview.failures:
        yield from ("", f"**{escape(failure.test)}** {escape(f'{failure.file}:{failure.line}')}", "")
        yield from _block(failure.message)
        if failure.details:
            yield from ("", "<details><summary>accelerator's worker</summary>", "")
            yield from _block(failure.details)
            yield from ("", "</details>")
    yield from _list("Notes", overview.notes)
    yield from _list("Absent accelerators", overview.absences)
    versions = [
        f"{accelerator} on {machine}: {', '.join(f'{name} {version}' for name, version in components.items())}"
        for (accelerator, machine), components in overview.versions.items()
    ]
    yield from _list("Versions", versions)


def _model(table: Table) -> Iterator[str]:
    yield from ("", f"### {escape(table.model)}", "", escape(", ".join(table.functions)), "")
    yield _row(("verdict", "variant", *table.headings))
    rules = ["---" if name in WORD_COLUMNS else "---:" for name in table.headings]
    yield _row(["---", "---", *rules])
    yield from (_row(_cells(row)) for row in table.rows)
    if table.best:
        yield from ("", f"{escape(BEST)} {table.best}")


def _cells(row: Row) -> Sequence[str]:
    name = f"{row.record.variant.id}{f' {BEST}' if row.best else ''}"
    cells = list(row.cells)
    if row.reason:
        name += f": {row.reason}"
    return (f"{row.sign} {row.record.kind}", name, *cells)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escape, cells))} |"


def _list(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield from ("", f"### {title}", "")
        yield from (f"- {escape(text)}" for text in texts)


def escape(text: str) -> str:
    """Escape text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _block(text: str) -> Iterator[str]:
    """Give a fenced block. Its fence is longer than any fence within the text."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence + "text", *text.splitlines(), fence)
