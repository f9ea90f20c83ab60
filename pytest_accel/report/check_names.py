"""Name checks for programs that follow them from run to run. No two checks of one file share a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord


def labels(records: Sequence[TestRecord]) -> Iterator[dict[str, str]]:
    """Give the labels of each check. The second check of one model and variant in a test has its number, too."""
    found = [
        {
            "model": record.model,
            "variant": record.variant.id,
            "accelerator": record.variant.accelerator,
            "fingerprint": record.hardware.fingerprint,
            "test": record.test,
        }
        for record in records
    ]
    for number, of_check in zip(_numbers(tuple(each.values()) for each in found), found, strict=True):
        yield {**of_check, "check": str(number)} if number > 1 else of_check


def names(records: Sequence[TestRecord]) -> Iterator[str]:
    """Give each check the name of its model and test, which tells the variant. Several machines are named, too."""
    several = len({record.hardware.fingerprint for record in records}) > 1
    found = [
        f"{record.model} {record.test}{f' on {record.hardware.fingerprint}' if several else ''}" for record in records
    ]
    for number, name in zip(_numbers(found), found, strict=True):
        yield f"{name} ({number})" if number > 1 else name


def _numbers(keys: Iterable[Hashable]) -> Iterator[int]:
    """Count how often each key came so far."""
    seen: Counter[Hashable] = Counter()
    for key in keys:
        seen[key] += 1
        yield seen[key]
