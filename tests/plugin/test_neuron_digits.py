"""The Neuron family from end to end on a model that reads digits, against the stand-in and each of its bad habits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project, kinds_of_verdict
from tests.plugin.forked_tensorflow import FEWEST_CALLS
from tests.standins import neuron_host

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from tests.models.zoo import Examples, Zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_tensorflow")]

STANDINS = Path(neuron_host.__file__).parent
TEST = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator({chip!r}, batch_size={batch_size}{marker})
    @pytest.mark.parametrize("habit", {habits!r})
    def test_digits(accel_model, habit, monkeypatch):
        compiled = accel_model({model!r})
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)  # of the worker that measures, which is started now
        {do}
"""
CHECK = 'compiled.check("digits.npz")'
#: Calls without a warm-up and a judgement, which take their time, and then where they ran.
CALLS = "[compiled.predict(np.ones((32, 8, 8, 1), np.float32)) for _ in range(30)] and compiled.placement()"
#: The same of a driver that counts at once, which the worker itself has asked.
AT_ONCE = (
    "NotExecuted: the driver counted 0 inferences, and 30 calls are 30 at least, so the outputs came from elsewhere"
)
#: What the user is told of each way in which the runtime does wrong.
TOLD = {
    "nan": "NaN",
    "returns-early": "CheckFailed: not-measured: digits_cnn*what was timed is not what was checked: output 'output_0'",
    "casts": "CheckFailed: inaccurate: digits_cnn*: drop * points, default max_accuracy_drop 1.00 points",
    "falls-back": "NotExecuted: the device counted 0 executions and 30 at least were asked of it, so",
    "lost-device": "DeviceFailed: the Neuron runtime failed: the device is lost: look in dmesg and neuron-ls",
    "out-of-memory": "DeviceFailed: the Neuron runtime failed: memory of the device does not suffice: ask for",
    "no-cores": "DeviceFailed: the Neuron runtime failed: no NeuronCore could be had: end the process that neuron-ls",
}


@pytest.fixture
def chip() -> str:
    """The accelerator of the machine."""
    return "inf1"


@pytest.fixture
def driver(chip: str) -> str:
    """The driver of the machine: the one that counts when a process ends on Inferentia, where there is no other."""
    return neuron_host.DRIVER if chip == "inf1" else neuron_host.LIVE_DRIVER


@pytest.fixture
def neuron(project: Project, digits_val: Examples, chip: str, driver: str) -> Project:
    """A project on a machine with one chip, and the digits."""
    images, labels = digits_val
    np.savez(project.pytester.path / "digits.npz", image=images, labels=labels)
    root = neuron_host.make(project.pytester.path / "machine", chip, driver=driver)
    project.monkeypatch.setenv("ACCEL_HOST_ROOT", str(root))
    project.monkeypatch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
    return project


def run(
    project: Project,
    model: Path,
    *habits: str,
    marker: str = "",
    do: str = CHECK,
    chip: str = "inf1",
    batch_size: int = 32,
    options: Sequence[str] = (),
) -> pytest.RunResult:
    """Compile the model and use it once with each habit of the runtime; a run with none has the habit ""."""
    test = TEST.format(
        habits=list(habits) or [""], model=str(model), marker=marker, do=do, chip=chip, batch_size=batch_size
    )
    project.pytester.makepyfile(test_digits=test)
    return project.run("--accel-report=run.json", f"--accelerator={chip}", *options, workers=True)


def records(project: Project) -> list[TestRecord]:
    return list(read_record(project.pytester.path / "run.json").tests)


def test_a_model_passes_and_tells_where_it_ran(neuron: Project, digits_cnn: Path) -> None:
    run(neuron, digits_cnn).assert_outcomes(passed=1)
    (record,) = records(neuron)
    assert kinds_of_verdict(record) == {"pass", "no-baseline"}
    assert record.hardware.identity["device"] == "AWS Inferentia"
    assert record.hardware.identity["instance_type"] == "inf1.xlarge"
    assert record.placement is not None
    assert record.placement.on_device == 1.0
    assert record.placement.precisions.keys() == {"bfloat16"}
    assert record.versions["tensorflow-neuron"].startswith("2.")
    assert record.measurement is not None
    assert record.measurement.conditions.device_state == {"neuroncores": 1, "copies": 1}
    assert neuron_host.inferences(neuron.pytester.path / "machine") > len(record.measurement.latencies_ns)


def test_without_a_device_it_is_skipped_with_the_reason(neuron: Project, digits_cnn: Path) -> None:
    neuron.monkeypatch.setenv("ACCEL_HOST_ROOT", str(neuron.pytester.path / "nowhere"))
    result = run(neuron, digits_cnn)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*inf1 absent: no inf1 device: no /dev/neuron0 and none on the PCI bus; run on an instance with inf1*"]
    )


def test_a_runtime_that_fails_is_told_with_what_to_do(neuron: Project, digits_cnn: Path) -> None:
    habits = ("falls-back", "lost-device", "out-of-memory", "no-cores")
    result = run(neuron, digits_cnn, *habits, do=CALLS)
    result.assert_outcomes(failed=len(habits))
    result.stdout.fnmatch_lines_random([f"*{TOLD[habit]}*" for habit in habits])


@pytest.mark.parametrize("chip", ["inf2"])
def test_a_driver_that_counts_at_once_is_asked_at_once(neuron: Project, digits_cnn: Path, chip: str) -> None:
    result = run(neuron, digits_cnn, "", "falls-back", do=CALLS, chip=chip)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"*{AT_ONCE}*"])


@pytest.mark.parametrize(("chip", "driver"), [("inf2", "2.31.0.0")])
def test_a_driver_that_counts_nothing_proves_nothing(neuron: Project, digits_cnn: Path, chip: str) -> None:
    """It has moved its counters elsewhere."""
    for counter in neuron_host.counters(neuron.pytester.path / "machine"):
        counter.unlink()
    result = run(neuron, digits_cnn, do=CALLS, chip=chip)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["inf2: that the calls ran on the device is not proven, because the device does not *"])


@pytest.mark.parametrize("chip", ["inf2", "trn1"])
def test_the_younger_chips_are_told_on_in_the_same_ways(neuron: Project, digits_cnn: Path, chip: str) -> None:
    habits = ("falls-back", "lost-device", "out-of-memory", "no-cores")
    result = run(neuron, digits_cnn, *habits, do=CALLS, chip=chip)
    result.assert_outcomes(failed=len(habits))
    result.stdout.fnmatch_lines_random([f"*{told}*" for told in (AT_ONCE, *(TOLD[habit] for habit in habits[1:]))])


@pytest.mark.parametrize("chip", ["inf1", "inf2", "trn1"])
def test_a_runtime_that_computes_something_else_is_found_out(neuron: Project, digits_cnn: Path, chip: str) -> None:
    wrong = ("nan", "casts", "returns-early")
    result = run(neuron, digits_cnn, *wrong, chip=chip)
    result.assert_outcomes(failed=len(wrong))
    result.stdout.fnmatch_lines_random([f"*{TOLD[habit]}*" for habit in wrong])
    assert [record.kind for record in records(neuron)] == ["inaccurate", "inaccurate", "not-measured"]


def test_a_graph_that_comes_back_uncompiled_is_a_failure(neuron: Project, digits_cnn: Path) -> None:
    neuron.monkeypatch.setenv("STANDIN_MISBEHAVES", "no-compiler")
    result = run(neuron, digits_cnn)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*CompileFailed: nothing was compiled*: the compiler is not installed: install it *neuron-cc is not found*"]
    )
    (record,) = records(neuron)
    assert (record.kind, record.measurement) == ("not-measured", None)


def test_what_is_left_to_the_host_is_named_and_judged(neuron: Project, digits_cnn: Path) -> None:
    neuron.monkeypatch.setenv("STANDIN_MISBEHAVES", "refuses-operator")
    result = run(neuron, digits_cnn, "refuses-operator", marker=", min_on_device=0.95")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Placement: * % of the operators run on the device, 95 % needed: what was timed*"])
    (record,) = records(neuron)
    assert record.kind == "not-measured"
    assert record.placement is not None
    (on_host,) = [name for name, place in record.placement.operators.items() if place.startswith("cpu:")]
    assert on_host.endswith("Softmax")


def test_a_compiler_that_takes_minutes_is_stopped(neuron: Project, digits_cnn: Path) -> None:
    neuron.monkeypatch.setenv("STANDIN_MISBEHAVES", "slow-compile")
    neuron.pytester.makeini("[pytest]\naccel_compile_timeout = 3")
    result = run(neuron, digits_cnn)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*inf1: compile was still running after 3 s and was killed; --accel-compile-timeout*"])


def test_a_sweep_of_batch_and_cores_has_a_row_for_what_is_refused(neuron: Project, digits_cnn: Path) -> None:
    neuron.monkeypatch.setenv("STANDIN_MISBEHAVES", "refuses-combinations")
    neuron.pytester.makepyfile(
        f"""
        import numpy as np
        import pytest

        @pytest.mark.accelerator("inf1", batch_size=[2, 3], neuroncores=[1, 4], on_compile_error="record")
        def test_sweep(accel_model):
            batch = np.ones((accel_model.variant.options["batch_size"], 8, 8, 1), np.float32)
            assert accel_model({str(digits_cnn)!r}).predict(batch).shape == (len(batch), 10)
        """
    )
    result = neuron.run("--accel-report=run.json", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 passed, 3 refused*"])
    refused = {record.variant.id: record.verdicts[0].summary for record in records(neuron)}
    assert refused.keys() == {"inf1-b2-neuroncores1", "inf1-b3-neuroncores1", "inf1-b3-neuroncores4"}
    assert "no schedule for batch 2 on 1 NeuronCores" in refused["inf1-b2-neuroncores1"]


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    ("chip", "marker"), [("inf2", ", core_group=1"), ("trn1", ", core_group=1"), ("inf1", ", neuroncores=4")]
)
def test_the_smallest_instances_save_and_compare(
    neuron: Project, digits_cnn: Path, zoo: Zoo, chip: str, marker: str
) -> None:
    """Two cores or four: a comparison needs no more of them than a measurement, and it leaves none behind."""
    # Fewer calls take the same cores.
    neuron.monkeypatch.setattr("pytest_accel.measuring.latency.FEWEST_CALLS", FEWEST_CALLS)
    machine, model = neuron.pytester.path / "machine", neuron.pytester.path / "digits_cnn"
    shutil.copytree(digits_cnn, model)
    asked = {"marker": f"{marker}, max_regression=0.5", "chip": chip}
    run(neuron, model, **asked, batch_size=75, options=("--accel-save-baseline",)).assert_outcomes(passed=1)
    assert neuron.baseline().exists()
    run(neuron, model, **asked, batch_size=75).assert_outcomes(passed=1)
    (record,) = records(neuron)
    assert record.ratio is not None
    shutil.rmtree(model)
    shutil.copytree(zoo.saved_model("digits_cnn_slower"), model)
    result = run(neuron, model, **asked, batch_size=75)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*regressed: digits_cnn[[]*"])
    assert neuron_host.held_cores(machine) == []


def test_a_machine_without_the_chip_compiles_and_the_chip_only_measures(neuron: Project, digits_cnn: Path) -> None:
    machine = neuron.pytester.path / "machine"
    neuron.monkeypatch.setenv("ACCEL_HOST_ROOT", str(neuron.pytester.path / "nowhere"))
    asked = {"marker": ", min_on_device=0.9", "do": CHECK, "chip": "inf1", "batch_size": 1}
    test = TEST.format(habits=[""], model=str(digits_cnn), **asked)
    neuron.pytester.makepyfile(test_digits=test)
    result = neuron.run("--accel-compile-only", "--accel-report=run.json", workers=True)
    assert result.parseoutcomes() == {"compiled": 1}
    (compiled,) = records(neuron)
    assert compiled.compiled_for == "AWS Inferentia"
    assert compiled.placement is not None
    assert compiled.placement.on_device == 1.0
    assert compiled.placement.precisions.keys() == {"bfloat16"}
    assert "neuron-driver" not in compiled.versions
    neuron.monkeypatch.setenv("ACCEL_HOST_ROOT", str(machine))
    neuron.monkeypatch.setenv("STANDIN_MISBEHAVES", "no-compiler")  # so that compiling would fail
    neuron.run("--accel-report=run.json", workers=True).assert_outcomes(passed=1)
    (measured,) = records(neuron)
    assert measured.measurement is not None
    assert measured.measurement.phases.compile_cached
    assert measured.placement == compiled.placement
    assert "neuron-driver" in measured.versions
