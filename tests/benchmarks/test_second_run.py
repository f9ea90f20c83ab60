"""The second run of the suite's models beside the first one: it compiles nothing, and is faster for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.cache import Cache
from pytest_accel.report.record import read_record
from tests.benchmarks import child
from tests.benchmarks.rounds import Costs, until_decided
from tests.models.zoo import ROOT

if TYPE_CHECKING:
    from pytest_accel.records import RunRecord
    from tests.models.zoo import Zoo

pytestmark = pytest.mark.benchmark_suite

LOOKS = (1,)


def run_models(folder: Path) -> tuple[float, RunRecord]:
    """CPU seconds and record of one run of ``tests/models`` with the caches of ``folder`` and without baselines."""
    where = [f"--accel-{name}={folder / name.replace('-', '_')}" for name in ("cache-dir", "baseline-dir")]
    report = folder / "run.json"
    command = [sys.executable, "-m", "pytest", "tests/models/test_models.py", "-q", "-p", "no:cacheprovider"]
    ended = child.run([*command, "--accelerator=cpu", f"--accel-report={report}", *where], cwd=ROOT)
    run = read_record(report)
    # A busy machine may breach a limit of these tests; what counts here is that each of them was measured.
    assert len(run.tests) == 3, ended.output
    return ended.cpu_s, run


def compiled(run: RunRecord) -> list[str]:
    """The tests whose model this run compiled."""
    return [test.test for test in run.tests if test.measurement and not test.measurement.phases.compile_cached]


def test_the_second_run_compiles_nothing_and_is_faster(zoo: Zoo, tmp_path: Path, tell: Callable[[str], None]) -> None:
    for recipe in ("digits_cnn", "resnet50"):
        zoo.saved_model(recipe)
    numbers = count()

    def first_and_second() -> Costs:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        first_s, first = run_models(folder)
        cache = Cache(folder / "cache_dir", limit_mb=1e6)
        made = {entry.key for entry in cache.entries()}
        second_s, second = run_models(folder)
        assert compiled(first)
        assert not compiled(second)
        assert {entry.key for entry in cache.entries()} == made
        return {"first": first_s, "second": second_s}

    found = until_decided(first_and_second, lambda costs: costs["second"] / costs["first"], highest=1.0, looks=LOOKS)
    tell(
        f"tests/models: the second run takes {found.estimate:.2f} times the CPU time of the first, "
        f"{found.typical('second'):.1f} s instead of {found.typical('first'):.1f} s, and compiles nothing"
    )
    assert not found.beyond
