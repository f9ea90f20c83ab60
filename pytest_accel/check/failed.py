"""How a check fails: the error, and its message with what failed, why, and how to see it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pytest_accel import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.verdicts import Verdict


class CheckFailed(AssertionError):
    """A check did not pass. The message says what failed, why, and how to see it again."""

    def __init__(self, record: TestRecord, message: str) -> None:
        super().__init__(message)
        self.record = record


def require_passed(record: TestRecord, *, strict: bool) -> None:
    """Raise `CheckFailed` where a verdict of the record fails, or where there is none."""
    failing = [answer for answer in record.verdicts if verdict.fails(answer.kind, strict)]
    if failing or not record.verdicts:
        raise CheckFailed(record, failure_message(record, failing, strict=strict))


def failure_message(record: TestRecord, failing: Sequence[Verdict], *, strict: bool) -> str:
    """Say what failed, why, and how to see it again."""
    lines = []
    for answer in failing:
        only_strict = strict and not verdict.fails(answer.kind, strict=False)
        reason = " (fails under --accel-strict)" if only_strict else ""
        lines.append(f"{answer.kind}: {record.model}[{record.variant.id}] {answer.summary}{reason}")
        lines += [f"  {detail}" for detail in answer.details]
    if record.host:
        lines.append(f"Measured on {record.host}.")
    if record.resumed:
        lines.append(f"Measured by the run of {record.resumed}; without --accel-resume it is measured again.")
    if record.changes:
        lines.append(f"Changed from {record.opponent}:" if record.opponent else "Changed since the baseline:")
        lines += [f"  {change}" for change in record.changes]
    elif record.opponent:
        lines.append(f"Nothing that is recorded differs from {record.opponent}.")
    elif record.ratio is not None:
        lines.append("Nothing that is recorded has changed since the baseline.")
    lines += _changes_since_anchor(record, failing)
    more = f" --accel-compare={record.beside.name}" if record.beside is not None and record.beside.name else ""
    more += f" --accel-against={shlex.quote(record.opponent)}" if record.opponent else ""
    more += " --accel-compile-only" if record.compiled_for else ""
    lines.append(f"Reproduce: pytest '{record.test}' --accelerator={record.variant.accelerator}{more}")
    return "\n".join(lines)


def _changes_since_anchor(record: TestRecord, failing: Sequence[Verdict]) -> list[str]:
    """Say what has changed since the anchor, where creep is what fails."""
    if record.creep is None or not any(answer.question == "creep" for answer in failing):
        return []
    if not record.creep.changes:
        return ["Nothing that is recorded has changed since the anchor."]
    return ["Changed since the anchor:", *(f"  {change}" for change in record.creep.changes)]
