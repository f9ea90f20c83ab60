"""This pytest plugin serves ``pytest-accel matrix`` alone: it counts the variants that each accelerator has.

The command loads it by name (``-p pytest_accel.plugin.count_variants``) into a run that only collects. So markers,
deselection and accelerators of the project's conftest count as in the run that CI will start.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option. No help shows it, because no other run loads this plugin."""
    parser.addoption(
        "--accel-marked-to",
        metavar="FILE",
        required=True,
        help="the JSON file that the numbers of variants are written to",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write how many of the collected tests each accelerator has."""
    from pytest_accel.plugin import collection

    plans = filter(None, map(collection.plan_of, session.items))
    variants = Counter(plan.variant.accelerator for plan in plans)
    Path(session.config.getoption("accel_marked_to")).write_text(json.dumps(variants), encoding="utf-8")
