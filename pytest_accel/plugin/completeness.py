"""Was everything judged that was marked, and did everything fail that has to? A strict run is green only then.

What one test can know of itself is asked in `pytest_accel.check.accel_model`, where the message can say more. Here is
what only the whole run knows: tests that were skipped or never came to run, failures that no report shows, and
baselines that nobody uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel import verdict
from pytest_accel.facts.errors import BaselineError
from pytest_accel.facts.verdicts import FAILING
from pytest_accel.store.baselines import read

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pytest

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.store.baselines import Baselines

#: _SELECTING names pytest's options that leave tests out.
_SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
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


def is_full(config: pytest.Config) -> bool:
    """Say whether the command line and the ini file leave no test of the project out."""
    somewhere = config.args_source is config.ArgsSource.ARGS or config.invocation_params.dir != config.rootpath
    return not somewhere and not any(getattr(config.option, name, None) for name in _SELECTING)


def unused(baselines: Baselines, records: Sequence[TestRecord], absent: Collection[str]) -> Iterator[str]:
    """Say which baselines of the hardware of a full run none of its tests has used.

    Nobody knows that of an accelerator that is ``absent``, nor of other hardware.
    """
    used = {baselines.path(record.hardware.fingerprint, record.model, record.variant.id) for record in records}
    here = {path.parent.parent for path in used}
    others = (path for path in baselines.paths() if path not in used and path.parent.parent in here)
    missing = [str(path.relative_to(baselines.root)) for path in others if _accelerator_of(path) not in absent]
    if missing:
        yield (
            f"no test of this full run has used {len(missing)} of the baselines in {baselines.root.name}: "
            f"{_listed(missing)}; remove them, or bring the tests back"
        )


def _accelerator_of(path: Path) -> str:
    """Return the accelerator of a baseline, from its name where it cannot be read."""
    try:
        return read(path).variant.accelerator
    except BaselineError:
        return path.stem


def _has_to_fail(record: TestRecord, rerun: Collection[str]) -> bool:
    return record.kind in FAILING or (record.test not in rerun and verdict.fails(record.kind, strict=True))


def _count(tests: Sequence[str]) -> str:
    return f"{len(tests)} tests are" if len(tests) > 1 else "1 test is"


def _listed(tests: Sequence[str]) -> str:
    more = len(tests) - MOST_NAMES
    return ", ".join(tests[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
