"""Was everything judged that was marked, and did everything fail that has to? A strict run is green only then.

What one test can know of itself is asked in `pytest_accel.check.accel_model`, where the message can say more. Here is
what only the whole run knows: tests that were skipped or never came to run, and failures that no report shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel import verdict
from pytest_accel.facts.verdicts import FAILING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_accel.facts.records import TestRecord

#: MOST_NAMES is the highest number of tests that a sentence names.
MOST_NAMES = 5


def unjudged(marked: Collection[str], records: Sequence[TestRecord]) -> Iterator[str]:
    """Say which marked tests did not fail and have no verdict either."""
    missing = sorted(set(marked) - {record.test for record in records})
    if missing:
        yield f"--accel-strict: {_count(missing)} marked accelerator, and not judged: {_listed(missing)}"


def swallowed(records: Sequence[TestRecord], *, failed: Collection[str], rerun: Collection[str]) -> Iterator[str]:
    """Say which tests have a verdict that fails, and did not fail themselves.

    To run a test again is no way out of a verdict that was decided; one that was not may be decided the next time.
    """
    missing = sorted({record.test for record in records if record.test not in failed and _has_to_fail(record, rerun)})
    if missing:
        yield f"--accel-strict: a check failed, and its test did not: {_listed(missing)}"


def _has_to_fail(record: TestRecord, rerun: Collection[str]) -> bool:
    return record.kind in FAILING or (record.test not in rerun and verdict.fails(record.kind, strict=True))


def _count(tests: Sequence[str]) -> str:
    return f"{len(tests)} tests are" if len(tests) > 1 else "1 test is"


def _listed(tests: Sequence[str]) -> str:
    more = len(tests) - MOST_NAMES
    return ", ".join(tests[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
