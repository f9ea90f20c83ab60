"""What the installed plugin costs an unrelated pytest run, beside what pytest-benchmark costs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.benchmarks import child
from tests.benchmarks.rounds import Costs, Limit, Rounds, in_turn, until_decided

pytestmark = pytest.mark.benchmark_suite

#: What we may add, in units of what pytest-benchmark adds: three times a third is as much as it does.
MOST_OF_THEIRS = Limit.cost(1 / 3)
LOOKS = (10, 20, 40)


def unrelated_run(folder: Path, plugin: str | None) -> float:
    """CPU seconds of a run of one empty test with no plugin, or this one, installed."""
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

    most_of_theirs = (MOST_OF_THEIRS.tripled() if in_ci else MOST_OF_THEIRS).highest

    def beyond_ms(costs: Costs) -> float:
        """How much more we add than we may; a difference, because a ratio of small differences has no mean."""
        return 1e3 * (costs["accel"] - costs["none"] - most_of_theirs * (costs["benchmark"] - costs["none"]))

    installed = {"none": None, "accel": "accel", "benchmark": "benchmark"}
    found = until_decided(
        Rounds(in_turn({name: partial(unrelated_run, tmp_path, plugin) for name, plugin in installed.items()})),
        beyond_ms,
        limit=Limit.cost(0.0),
        looks=LOOKS,
        in_ci=in_ci,
    )
    ours, theirs = (1e3 * (found.typical(name) - found.typical("none")) for name in ("accel", "benchmark"))
    tell(
        f"start-up: {ours:.1f} ms beside pytest-benchmark's {theirs:.1f} ms; {found.estimate:+.1f} ms "
        f"[{found.lower:+.1f}, {found.upper:+.1f}] from {most_of_theirs:.2f} of theirs; {found.judged}"
    )
    assert not found.beyond
