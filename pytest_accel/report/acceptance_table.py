"""The table of accelerators that were accepted, one row for each accelerator and kind of hardware."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from pytest_accel.facts.acceptance import Outcome

if TYPE_CHECKING:
    from pytest_accel.facts.acceptance import Acceptance

HEADS = ("accelerator", "hardware", "versions", "date", "accepted")
#: BEGIN and END enclose the table on a page.
BEGIN, END = "<!-- the table of acceptances begins -->", "<!-- the table of acceptances ends -->"
#: _OF_THE_WORKER are versions that say nothing about the accelerator.
_OF_THE_WORKER = ("numpy",)


def row(acceptance: Acceptance) -> str:
    """Return one row of the table, in Markdown."""
    device = acceptance.hardware.identity.get("device", "") if acceptance.hardware else ""
    versions = [f"{name} {text}" for name, text in acceptance.versions.items() if name not in _OF_THE_WORKER]
    return _line(
        [f"`{acceptance.accelerator}`", str(device), ", ".join(versions), acceptance.date, _outcome(acceptance)]
    )


def table(acceptances: Sequence[Acceptance], accelerators: Iterable[str]) -> str:
    """Return the whole table. An accelerator without an acceptance has a row that says so."""
    return "\n".join([_line(HEADS), _line(["---"] * len(HEADS)), *_rows(acceptances, accelerators)])


def page_with(page: str, made: str) -> str:
    """Return a page with the table in place of the one that it has. Raises `ValueError` where it has none."""
    before, begins, rest = page.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _rows(acceptances: Sequence[Acceptance], accelerators: Iterable[str]) -> Iterator[str]:
    newest = _newest(acceptances)
    for name in accelerators:
        own = [acceptance for (accelerator, _), acceptance in sorted(newest.items()) if accelerator == name]
        yield from (row(acceptance) for acceptance in own)
        if not own:
            yield _line([f"`{name}`", "", "", "", "not yet"])


def _newest(acceptances: Sequence[Acceptance]) -> dict[tuple[str, str], Acceptance]:
    """Return the last acceptance of each accelerator and kind of hardware; absence is none."""
    newest: dict[tuple[str, str], Acceptance] = {}
    for acceptance in sorted(acceptances, key=lambda each: each.date):
        if acceptance.hardware is not None:
            newest[acceptance.accelerator, acceptance.hardware.fingerprint] = acceptance
    return newest


def _outcome(acceptance: Acceptance) -> str:
    if acceptance.absent:
        return f"absent: {acceptance.absent}"
    counts = [f"{count} {outcome}" for outcome in get_args(Outcome) if (count := acceptance.count(outcome))]
    missing = acceptance.checks - len(acceptance.results)
    counts += [f"{missing} not made"] if missing else []
    return f"{acceptance.standing}: {', '.join(counts)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
