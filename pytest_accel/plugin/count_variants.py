"""A pytest plugin for ``pytest-accel matrix`` alone: which accelerators the collected tests ask for, in a file.

It is loaded by name (``-p pytest_accel.plugin.count_variants``) into a run that only collects, so that markers,
deselection and the accelerators of a project's own conftest count as they do in the run that CI will start.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option; nobody else's help shows it."""
    parser.addoption("--accel-marked-to", metavar="FILE", required=True, help="where to write the numbers of variants")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write how many of the tests that would run each accelerator has."""
    from pytest_accel.plugin import collection

    marked = [item for item in session.items if item.get_closest_marker("accelerator")]
    variants = Counter(collection.plan_of(item).variant.accelerator for item in marked)
    Path(session.config.getoption("accel_marked_to")).write_text(json.dumps(variants), encoding="utf-8")
