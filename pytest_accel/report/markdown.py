"""Write the report of runs as Markdown, for a comment on a pull request or the summary of a CI job.

Both have a largest size. What is least needed to know what happened is left out first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report.model_table import WORD_COLUMNS, Row, Table
from pytest_accel.report.sweep import BEST

if TYPE_CHECKING:
    from pytest_accel.facts.records import Failure
    from pytest_accel.report.overview import Overview

#: _SPECIAL matches the characters which Markdown or HTML would not show as they are.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#+|~&])")


#: MARKER is the first line of a comment. It is not shown, and tells the next run which comment to replace.
MARKER = "<!-- pytest-accel -->"
#: MOST_BYTES_OF_COMMENT is the size of the largest comment: GitHub takes as many characters, and GitLab more.
MOST_BYTES_OF_COMMENT = 65_536
#: MOST_BYTES_OF_NOTE is kept free for the sentence about what was left out.
MOST_BYTES_OF_NOTE = 300


class _Part(NamedTuple):
    """Lines that are shown together or not at all. Those of importance 0 are always shown."""

    title: str
    importance: int
    lines: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes of the lines."""
        return sum(len(line.encode()) + 1 for line in self.lines)


def comment(overview: Overview) -> str:
    """Write the runs as a comment, which a later one replaces. It is short enough for GitHub and GitLab."""
    return f"{MARKER}\n{markdown(overview, MOST_BYTES_OF_COMMENT - len(MARKER) - 1)}"


def markdown(overview: Overview, most_bytes: float = float("inf")) -> str:
    """Write the runs as GitHub's Markdown. All text from a record is escaped.

    With more than ``most_bytes``, the parts that matter least are left out, and that is told. The head is always there.
    """
    parts = list(_parts(overview))
    shown = _shown(parts, most_bytes)
    lines = [line for at, part in enumerate(parts) if at in shown for line in part.lines]
    left_out = Counter(part.title for at, part in enumerate(parts) if at not in shown)
    if left_out:
        names = ", ".join(f"{title} ({count})" for title, count in left_out.items())
        lines += ["", f"Left out, because more is not shown here: {names}. `--accel-report=report.html` writes it all."]
    return "\n".join(lines) + "\n"


def _shown(parts: Sequence[_Part], most_bytes: float) -> set[int]:
    """Choose the parts that fit, by their places: the most important first, and of those the first ones."""
    if sum(part.size for part in parts) <= most_bytes:
        return set(range(len(parts)))
    shown, room = set(), most_bytes - MOST_BYTES_OF_NOTE
    for at, part in sorted(enumerate(parts), key=lambda place: place[1].importance):
        if not part.importance or part.size <= room:
            shown.add(at)
            room -= part.size
    return shown


def head(overview: Overview) -> Iterator[str]:
    """Give the first lines, which say whether everything passed and which runs these are."""
    yield f"## {escape(overview.headline)}"
    yield ""
    yield escape(", ".join(f"{count} {kind}" for kind, count in overview.counts.items()))
    yield ""
    for facts in overview.facts:
        yield f"- {escape('; '.join(f'{name} {fact}' for name, fact in facts.items()))}"


def _parts(overview: Overview) -> Iterator[_Part]:
    """Give all that there is to show, in the order in which to read it."""
    yield _Part("head", 0, tuple(head(overview)))
    for table in overview.tables:
        yield _Part("tables", 1, tuple(_model(table)))
    if overview.failures:
        yield _Part("head", 0, ("", "### Failures"))
    for failure in overview.failures:
        yield _Part("failures", 2, tuple(_failure(failure)))
        if failure.details:
            yield _Part("workers' last words", 5, tuple(_details(failure)))
    yield from _list("Notes", 3, overview.notes)
    yield from _list("Absent accelerators", 4, overview.absences)
    versions = [
        f"{accelerator} on {machine.name}: {', '.join(f'{name} {version}' for name, version in components.items())}"
        for machine in overview.machines
        for accelerator, components in machine.versions.items()
    ]
    yield from _list("Versions", 6, versions)


def _failure(failure: Failure) -> Iterator[str]:
    yield from ("", f"**{escape(failure.test)}** {escape(f'{failure.file}:{failure.line}')}", "")
    yield from _block(failure.message)


def _details(failure: Failure) -> Iterator[str]:
    yield from ("", "<details><summary>accelerator's worker</summary>", "")
    yield from _block(failure.details)
    yield from ("", "</details>")


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


def _list(title: str, importance: int, texts: Sequence[str]) -> Iterator[_Part]:
    if texts:
        lines = ("", f"### {title}", "", *(f"- {escape(text)}" for text in texts))
        yield _Part(title.lower(), importance, lines)


def escape(text: str) -> str:
    """Escape text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _block(text: str) -> Iterator[str]:
    """Give a fenced block. Its fence is longer than any fence within the text."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence + "text", *text.splitlines(), fence)
