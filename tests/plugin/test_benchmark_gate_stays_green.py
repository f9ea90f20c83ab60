"""Each way in which ``--benchmark-compare-fail`` stays green, and what this plugin makes of the same project.

The project has one model and two tests of its latency, one for pytest-benchmark and one for this plugin. Both read a
scripted clock, so nothing here depends on the machine. It is the timer of the one, and the other has the fake device.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project, Template

pytestmark = pytest.mark.slow  # each test is two runs of pytest, with and without the plugin

WITH_BENCHMARK = """
    import itertools
    import json

    import pytest

    ticks = itertools.count()

    def clock():
        with open("model.fake.json") as model:
            return next(ticks) * json.load(model)["latency_ms"] / 1e3

    @pytest.mark.benchmark(timer=clock)
    def test_model(benchmark):
        benchmark.pedantic(lambda: None, rounds=5)
"""
WITH_ACCEL = """
    import pytest

    @pytest.mark.accelerator("fake", max_regression=0.05)
    def test_model(accel_model):
        accel_model("model.fake.json").check()
"""
#: The gate as its documentation has it, and as CI runs it: save every run, compare with the last one.
GATE = ("--benchmark-autosave", "--benchmark-compare", "--benchmark-compare-fail=mean:5%")


class TwoGates:
    """The project, to be run through either gate."""

    def __init__(self, project: Project, template: Template) -> None:
        self.project = project
        self._template = template
        project.write_model(latency_ms=1.0)
        project.pytester.makepyfile(test_benchmark=WITH_BENCHMARK, test_accel=WITH_ACCEL)

    def benchmark(self, *args: str) -> pytest.RunResult:
        return self.project.run("test_benchmark.py", *args, subprocess=True)

    def accel(self, *args: str) -> pytest.RunResult:
        return self.project.run("test_accel.py", *args, workers=True, subprocess=True)

    def save(self) -> None:
        """A baseline for both, of a model that takes 1 ms."""
        benchmark, accel = ("test_benchmark.py", "--benchmark-autosave"), ("test_accel.py", "--accel-save-baseline")
        self._template.copy_to(self.project, "saved by both gates", benchmark, accel)

    def slow_down(self, factor: float) -> None:
        self.project.write_model(latency_ms=factor)


@pytest.fixture
def gates(project: Project, template: Template) -> TwoGates:
    return TwoGates(project, template)


def test_the_second_attempt_after_a_regression(gates: TwoGates) -> None:
    gates.save()
    gates.slow_down(3)
    assert [gates.benchmark(*GATE).ret for _ in range(2)] == [1, 0], (
        "the first attempt became the baseline of the second"
    )
    assert [gates.accel("--accel-save-baseline").ret for _ in range(2)] == [1, 1]


def test_a_regression_is_a_failure_of_its_test_in_junit_xml(gates: TwoGates) -> None:
    gates.save()
    gates.slow_down(3)
    failures = {}
    for run in (gates.benchmark, gates.accel):
        run(*(GATE if run == gates.benchmark else ()), "--junit-xml=report.xml")
        (suite,) = ET.parse(gates.project.pytester.path / "report.xml").getroot()
        failures[run.__name__] = suite.get("failures")
    assert failures == {"benchmark": "0", "accel": "1"}


def test_a_regression_under_xdist(gates: TwoGates) -> None:
    gates.save()
    gates.slow_down(3)
    assert gates.benchmark("-n", "2", *GATE).ret == 0
    result = gates.accel("-n", "2")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E*regressed: model[[]fake[]] 3.000 times the baseline's time*"])


def test_a_test_that_is_not_in_the_baseline(gates: TwoGates) -> None:
    gates.save()
    accel = WITH_ACCEL.replace('accel_model("model.fake.json")', 'accel_model("model.fake.json", name="another")')
    benchmark = WITH_BENCHMARK.replace("def test_model", "def test_another")
    gates.project.pytester.makepyfile(test_benchmark=benchmark, test_accel=accel)
    gates.slow_down(3)
    assert gates.benchmark(*GATE).ret == 0
    result = gates.accel("--accel-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["E*no-baseline: another[[]fake[]] No baseline for *; --accel-save-baseline writes one.*"]
    )


def test_nothing_is_measured(gates: TwoGates) -> None:
    gates.save()
    benchmark, accel = (
        text.replace("def test_model", "@pytest.mark.skip\n    def test_model") for text in (WITH_BENCHMARK, WITH_ACCEL)
    )
    gates.project.pytester.makepyfile(test_benchmark=benchmark, test_accel=accel)
    assert gates.benchmark(*GATE).ret == 0
    result = gates.accel("--accel-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["no accelerator test ran: nothing was measured"])


def test_a_share_and_a_percentage_are_mixed_up(gates: TwoGates) -> None:
    gates.save()
    gates.slow_down(30)
    assert gates.benchmark(*GATE[:2], "--benchmark-compare-fail=mean:5").ret == 0, "5 is seconds here"
    gates.project.pytester.makepyfile(test_accel=WITH_ACCEL.replace("0.05", "5"))
    result = gates.accel()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*budget max_regression=5 is a share, so at most 1: 0.05 means 5 %"])


def test_a_share_and_a_percentage_are_mixed_up_in_the_ini_file(gates: TwoGates) -> None:
    gates.project.pytester.makeini("[pytest]\naccel_max_regression = 5")
    result = gates.accel()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*accel_*: budget max_regression=5.0 is a share, so at most 1: 0.05 means 5 %"])


def test_a_baseline_from_another_machine(gates: TwoGates) -> None:
    gates.save()
    (saved,) = gates.project.pytester.path.glob(".benchmarks/*/*.json")
    content = json.loads(saved.read_text())
    content["machine_info"]["cpu"]["brand_raw"] = "another one"
    saved.write_text(json.dumps(content))
    gates.project.on_other_hardware()
    assert gates.benchmark(*GATE).ret == 0, "it compares with whatever machine, here in our favour"
    result = gates.accel("--accel-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["E*incomparable: *No baseline for fake-device-*, only from other hardware: fake-device-*"]
    )


def test_no_baseline_at_all(gates: TwoGates) -> None:
    assert gates.benchmark("--benchmark-compare", GATE[2]).ret == pytest.ExitCode.USAGE_ERROR
    assert gates.accel().ret == 0
    assert gates.accel("--accel-strict").ret == 1
