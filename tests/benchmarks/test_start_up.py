"""The installed plugin costs an unrelated pytest run at most a third of what pytest-benchmark costs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pytest_accel.acceptance.rounds import Costs, Limit, Rounds
from tests.benchmarks import child
from tests.benchmarks.rounds import in_turn, until_decided

pytestmark = pytest.mark.benchmark_suite

#: HIGHEST_SHARE is the largest start-up cost of this plugin, as a share of pytest-benchmark's.
HIGHEST_SHARE = Limit.cost(1 / 3)
#: LOOKS are the numbers of rounds after which the result is judged.
LOOKS = (10, 20, 40)


def unrelated_run(folder: Path, plugin: str | None) -> float:
    """Return the CPU seconds of a run of one empty test, with one plugin or none installed."""
    unwanted = sorted({entry.name for entry in entry_points(group="pytest11")} - {plugin})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    unwanted_options = [f"-pno:{name}" for name in unwanted]
    ended = child.run([*command, *unwanted_options], cwd=folder, environ=child.byte_code_in(folder))
    assert "1 passed" in ended.output, ended.output
    return ended.cpu_s


def test_the_plugin_starts_in_a_third_of_the_time_of_pytest_benchmark(
    tmp_path: Path, tell: Callable[[str], None], in_ci: bool
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
    for plugin in ("accel", "benchmark"):
        unrelated_run(tmp_path, plugin)  # writes the byte code

    share = (HIGHEST_SHARE.tripled() if in_ci else HIGHEST_SHARE).highest

    def beyond_ms(costs: Costs) -> float:
        """Return the cost beyond that share. It is a difference, because a ratio of small differences has no mean."""
        return 1e3 * (costs["accel"] - costs["none"] - share * (costs["benchmark"] - costs["none"]))

    installed = {"none": None, "accel": "accel", "benchmark": "benchmark"}
    found = until_decided(
        Rounds(in_turn({name: partial(unrelated_run, tmp_path, plugin) for name, plugin in installed.items()})),
        beyond_ms,
        limit=Limit.cost(0.0),
        looks=LOOKS,
        in_ci=in_ci,
    )
    accel_ms, benchmark_ms = (1e3 * (found.typical(name) - found.typical("none")) for name in ("accel", "benchmark"))
    tell(
        f"start-up: {accel_ms:.1f} ms beside pytest-benchmark's {benchmark_ms:.1f} ms; {found.estimate:+.1f} ms "
        f"[{found.lower:+.1f}, {found.upper:+.1f}] from {share:.2f} of that; {found.judged}"
    )
    assert not found.beyond
