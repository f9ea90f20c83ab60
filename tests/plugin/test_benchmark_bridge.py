"""Measurements in pytest-benchmark's table and JSON, and the ways in which that plugin can be away or in the way."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.plugin.conftest import Project


def exported(project: Project, *args: str) -> list[dict[str, Any]]:
    result = project.run("--benchmark-json=bench.json", *args)
    result.assert_outcomes(passed=1)
    benchmarks: list[dict[str, Any]] = json.loads((project.pytester.path / "bench.json").read_text())["benchmarks"]
    return benchmarks


def test_every_latency_of_a_check_is_a_round(project: Project) -> None:
    project.write_model(latency_ms=[1.0, 1.1, 1.2, 1.3])
    project.write_test()
    (benchmark,) = exported(project)
    assert benchmark["stats"]["rounds"] == 100
    assert benchmark["stats"]["mean"] == pytest.approx(0.00115)
    assert benchmark["stats"]["max"] == pytest.approx(0.0013)
    assert benchmark["extra_info"]["accelerator"] == "fake"
    assert benchmark["options"]["timer"] == "accel_device_clock"


def test_its_own_command_compares_two_runs(project: Project) -> None:
    project.write_test()
    for name, latency_ms in (("before", 1.0), ("after", 3.0)):
        project.write_model(latency_ms=latency_ms)
        project.run(f"--benchmark-json={name}.json").assert_outcomes(passed=1)
    compared = project.pytester.run(sys.executable, "-m", "pytest_benchmark", "compare", "before.json", "after.json")
    assert compared.ret == 0
    compared.stdout.fnmatch_lines_random(
        ["*test_model[[]fake[]] (*before)*1,000.0000 (1.0)*", "*test_model[[]fake[]] (*after)*3,000.0000 (3.00)*"]
    )


def test_the_table_shows_it(project: Project) -> None:
    project.write_test()
    project.run().stdout.fnmatch_lines(["*benchmark: 1 tests*", "test_model[[]fake[]]*1,000.0000*"])


def test_the_users_own_marker_keywords_are_kept(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.benchmark(group="serving")
        @pytest.mark.accelerator("fake")
        def test_model(accel_model):
            accel_model("model.fake.json").check()
        """
    )
    (benchmark,) = exported(project)
    assert benchmark["group"] == "serving"


def test_only_the_first_measurement_of_a_test_goes_there(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.accelerator("fake")
        def test_model(accel_model):
            model = accel_model("model.fake.json")
            model.measure(calls=50)
            model.measure(calls=70)
        """
    )
    (benchmark,) = exported(project)
    assert benchmark["stats"]["rounds"] == 50


def test_a_test_that_asks_for_benchmark_keeps_it_to_itself(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.accelerator("fake")
        def test_model(accel_model, benchmark):
            accel_model("model.fake.json").check()
            benchmark.pedantic(lambda: None, rounds=3)
        """
    )
    (benchmark,) = exported(project)
    assert benchmark["stats"]["rounds"] == 3
    assert benchmark["options"]["timer"] == "perf_counter"


@pytest.mark.parametrize("option", [["--benchmark-disable"], ["-p", "no:benchmark"], ["-p", "no:cacheprovider"]])
def test_it_makes_no_difference_to_a_check_when_it_is_away(project: Project, option: list[str]) -> None:
    project.write_test("p99_ms=5")
    project.run(*option).assert_outcomes(passed=1)


def test_a_test_without_a_measurement_leaves_no_warning(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.accelerator("fake")
        def test_model(accel_model):
            assert accel_model("model.fake.json").placement().on_device == 1.0
        """
    )
    result = project.run("-W", "error")
    result.assert_outcomes(passed=1)
