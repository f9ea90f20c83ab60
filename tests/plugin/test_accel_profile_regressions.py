"""``accel_profile_regressions``: which operator a failure names, by the runtime's own profiler."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from pytest_accel.report.record import read_record
from pytest_accel.testing import fake_model
from tests.models.slower_network import write_network

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

DOUBLED = """
    import pytest

    @pytest.mark.accelerator("cpu-ort", max_regression=0.05)
    def test_network(accel_model):
        accel_model("network.onnx").check()
"""


@pytest.mark.slow
def test_a_layer_that_was_doubled_is_named_first(project: Project) -> None:
    if not any(distributions(name="onnxruntime")):
        pytest.skip("needs onnxruntime: pip install 'pytest-accel[cpu-ort]'")
    folder = project.pytester.path
    write_network(folder / "older.onnx", wider=4)  # so much work that its double is soon seen
    write_network(folder / "network.onnx", wider=4, doubled=4)
    project.pytester.makepyfile(test_network=DOUBLED)
    project.pytester.makeini("[pytest]\naccel_compare_budget = 60")
    result = project.run("--accel-against=older.onnx", "--accel-report=run.json", workers=True)
    (test,) = read_record(folder / "run.json").tests
    if test.kind == "inconclusive":  # a machine that is too busy to decide is no fault of the product
        pytest.skip(next(answer.summary for answer in test.verdicts if answer.kind == test.kind))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: network[[]cpu-ort[]] *",
            "E*All operators together: * -> * ms, by the runtime's own profiler in a launch that is not judged. *",
            "E * conv_4_again (Conv), in this model alone: 0.* ms (+* % of the slowdown)",
            "E*Operators without a partner * of older.onnx, 0.* ms of this model.",
        ]
    )


def test_a_profiler_that_takes_its_process_along_changes_no_verdict(project: Project) -> None:
    operators = {"conv": ["Conv", 0.8]}
    fake_model(project.pytester.path / "older.fake.json", latency_ms=0.8, operator_ms=operators)
    project.write_model(operator_ms=operators, failures={"profile": {"how": "sigkill"}})
    project.write_test("max_regression=0.05")
    result = project.run("--accel-against=older.fake.json", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: model[[]fake[]] 1.250 times the time of older.fake.json *",
            "E*Which operators got slower is not known: the launch with the profiler failed (*SIGKILL*).",
        ]
    )


@pytest.mark.parametrize("switch", ["true", "false"])
def test_the_ini_file_switches_it_off(project: Project, switch: str) -> None:
    project.pytester.makeini(f"[pytest]\naccel_profile_regressions = {switch}")
    operators = {"conv": ["Conv", 0.6], "relu": ["Relu", 0.2]}
    older = {**operators, "conv": ["Conv", 0.4]}
    fake_model(project.pytester.path / "older.fake.json", latency_ms=0.8, operator_ms=older)
    project.write_model(operator_ms=operators)
    project.write_test("max_regression=0.05")
    result = project.run("--accel-against=older.fake.json", workers=True)
    result.assert_outcomes(failed=1)
    named = "conv (Conv): 0.400 -> 0.600 ms (+0.200 ms, 100 % of the slowdown)"
    assert any(line.endswith(named) for line in result.outlines) == (switch == "true")
