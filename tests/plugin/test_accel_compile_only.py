"""``--accel-compile-only``: a machine without the hardware compiles, judges what that tells, and runs nothing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.records import TestRecord
from pytest_accel.report.record import read_record
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from pytest_accel.worker.formats import yardstick
from tests.formats import comment
from tests.plugin.conftest import Project
from tests.standins.nvidia_host import make_nvidia_host

ABSENT = {"kind": "no-hardware", "reason": "no fake device", "action": "run where one is"}
#: Loading and calling fail, so that a model that is run fails its test.
NOT_TO_BE_RUN = {"load": {"how": "error"}, "stage": {"how": "error"}, "infer": {"how": "error"}}
REFUSING = {"compile": {"how": "refused", "message": "E17: no kernel for Foo"}}


def on_a_runner(project: Project, *, target: str = "fake-1000", **script: Any) -> None:
    """From now on the device is absent, and the compiler works for ``target`` without it."""
    project.monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"missing": ABSENT, "target": target, **script}))


def beside_the_device(project: Project, *, target: str = "fake-1000", **script: Any) -> None:
    """From now on the device is here."""
    project.monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"target": target, **script}))


def compile_only(project: Project, *args: str) -> pytest.RunResult:
    return project.run("--accel-compile-only", "--accel-report=run.json", *args)


def records(project: Project) -> tuple[TestRecord, ...]:
    return read_record(project.pytester.path / "run.json").tests


@pytest.fixture
def runner(project: Project) -> Project:
    """A project with one test, on a machine that has the compiler and no device."""
    on_a_runner(project)
    project.write_model(failures=NOT_TO_BE_RUN)
    project.write_test("p99_ms=5, max_compile_s=10")
    return project


# What it says


def test_a_model_is_compiled_and_not_run_which_is_no_pass(runner: Project) -> None:
    result = compile_only(runner)
    assert result.parseoutcomes() == {"compiled": 1}
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "accel: *; compile only; in process",
            "no-baseline  model[[]fake[]]  compiled in 2 s  * MB  not run",
            "no-baseline: No baseline for fake-1000; --accel-save-baseline writes one. *",
        ]
    )
    (record,) = records(runner)
    (answer,) = (each for each in record.verdicts if each.kind == "compiled")
    assert answer.summary.startswith("Compiled for fake-1000 in 2 s, ")
    assert answer.details == (
        "Not judged without running: p99_ms.",
        "Accuracy is not predicted: what was compiled is no file that runs here.",
    )
    assert (record.measurement, record.accuracy, record.compiled_for) == (None, None, "fake-1000")
    assert record.hardware.identity["device"] == record.hardware.identity["cpu"]
    assert record.versions["fake-sdk"] == "1.0"


def test_reports_of_it_say_so_too(runner: Project) -> None:
    compile_only(runner, "--accel-report=run.md", "--accel-report=run.html", "--junitxml=junit.xml")
    folder = runner.pytester.path
    assert comment(folder / "run.md").startswith("## Compiled and not run: none of 1 test failed")
    page = (folder / "run.html").read_text(encoding="utf-8")
    assert '<h1 class="left-out">' in page
    assert "nothing was run, so nothing is said about speed" in page
    junit = (folder / "junit.xml").read_text(encoding="utf-8")
    assert 'skipped="1"' in junit
    assert '<property name="accel.compiled_for" value="fake-1000" />' in junit
    assert '<property name="accel.compile_s" value="2.0" />' in junit


@pytest.mark.slow
def test_under_xdist_too(runner: Project) -> None:
    runner.write_test("precision=['fp32', 'fp16', 'int8'], max_compile_s=10")
    result = runner.run("--accel-compile-only", "-n", "2", workers=True, subprocess=True)
    assert result.parseoutcomes() == {"compiled": 3}
    result.stdout.fnmatch_lines(["model on fake: 3 variants of *", "* no-baseline * int8 *  2.00 * not run"])


PARTS = """
    import pytest

    @pytest.mark.accelerator("fake"{marker})
    def test_parts(accel_model):
        model = accel_model("model.fake.json")
        assert model.{part}
"""


@pytest.mark.parametrize("part", ["measure().p99_ms <= 5", "predict([[1, 2, 3, 4]]).size", "placement().on_device"])
def test_a_test_that_goes_on_to_run_the_model_ends_there_and_what_it_compiled_is_judged(
    runner: Project, part: str
) -> None:
    runner.pytester.makepyfile(test_model=PARTS.format(marker="", part=part))
    result = compile_only(runner, "-vv")
    assert result.parseoutcomes() == {"compiled": 1}
    result.stdout.fnmatch_lines(
        ["*COMPILED (compiled: nothing was run, and", "the test asks what model?fake? does when it runs)*"]
    )
    assert [record.compiled_for for record in records(runner)] == ["fake-1000"]


def test_what_it_compiled_fails_there_too(runner: Project) -> None:
    marker = ", max_compile_s=1"
    runner.pytester.makepyfile(test_model=PARTS.format(marker=marker, part="measure().p99_ms <= 5"))
    result = compile_only(runner)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*sla-breach: model?fake? Compiling (max_compile_s): 2 s > 1 s."])


# What it judges


@pytest.mark.parametrize(
    ("marker", "script", "message"),
    [
        ("max_compile_s=1", {}, "sla-breach: model?fake? Compiling (max_compile_s): 2 s > 1 s."),
        ("max_artefact_mb=0.0001", {}, "sla-breach: model?fake? The artefact's size (max_artefact_mb): * > 0.0001 MB."),
        (
            "min_on_device=0.9",
            {"compiler_tells": True, "on_device": 0.4},
            "not-measured: model?fake? Placement: 40 % of the operators are to run on the device, 90 % needed: it *",
        ),
        (
            "precision='int8'",
            {"compiler_tells": True},
            "not-measured: model?fake-int8? Placement: int8 was asked for and no operator runs in it, *",
        ),
        ("", {"failures": REFUSING}, "E17: no kernel for Foo"),
    ],
    ids=["compile time", "size", "placement", "precision", "refusal"],
)
def test_what_an_artefact_tells_fails_a_test(
    runner: Project, marker: str, script: dict[str, Any], message: str
) -> None:
    runner.write_model(**{"failures": NOT_TO_BE_RUN, **script})
    runner.write_test(marker)
    result = compile_only(runner)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*{message}"])


def test_a_failure_says_how_to_see_it_again(runner: Project) -> None:
    runner.write_test("max_compile_s=1")
    result = compile_only(runner)
    result.stdout.fnmatch_lines(
        ["E*Reproduce: pytest 'test_model.py::test_model?fake?' --acc*=fake --accel-compile-only"]
    )


def test_a_refusal_that_the_marker_allows_is_a_row_beside_those_that_were_compiled(runner: Project) -> None:
    runner.write_model(by_precision={"int8": {"failures": REFUSING}})
    runner.write_test("precision=['fp32', 'int8'], on_compile_error='record'")
    result = compile_only(runner)
    assert result.parseoutcomes() == {"compiled": 1, "refused": 1}
    assert "no variant was measured" not in result.stdout.str()


#: The file that was compiled is a model of its own, whose answers are off by noise.
PREDICTING = """
    import shutil
    from pytest_accel.worker.accelerator import Inspected, Source
    from pytest_accel.worker.accelerators.fake import FakeAccelerator

    class Predicting(FakeAccelerator):
        def compile_job(self, job):
            super().compile_job(job)
            shutil.copyfile("quantised.fake.json", job.artefact + "/quantised.fake.json")

        def inspect(self, artefact, options):
            return Inspected(model=Source("fake", artefact + "/quantised.fake.json"))
"""
LABELLED = """
    import numpy as np
    import pytest

    X = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")
    WEIGHTS = np.random.RandomState(3).normal(0.0, 1.0, (4, 3))

    @pytest.mark.accelerator("fake", max_accuracy_drop={limit})
    def test_model(accel_model):
        accel_model("model.fake.json").check((X, (X @ WEIGHTS).argmax(1)))
"""


@pytest.mark.parametrize(("limit", "kind"), [(0.9, "pass"), (0.01, "inaccurate")])
def test_accuracy_is_predicted_where_another_runtime_runs_the_file_that_was_compiled(
    project: Project, limit: float, kind: str
) -> None:
    """The runtime is here, and it is the reference's own; the device is what nobody asks."""
    beside_the_device(project)
    project.pytester.makepyfile(predicting=PREDICTING, test_model=LABELLED.format(limit=limit))
    project.pytester.makeconftest("def pytest_accel_accelerators(): return {'fake': 'predicting:Predicting'}")
    quantised = project.write_model(output_noise=2.0)
    quantised.rename(quantised.with_name("quantised.fake.json"))
    project.write_model()
    result = project.run("--accel-compile-only", "--accel-report=run.json", workers=True, subprocess=True)
    (record,) = records(project)
    answer = next(each for each in record.verdicts if each.question == "accuracy")
    assert (answer.kind, record.accuracy) == (kind, None)
    assert answer.summary.startswith("Predicted by fake: top-1 ")
    assert record.prediction is not None
    assert record.prediction.top1 is not None
    assert 0.2 < record.prediction.top1 < 0.95
    if kind == "pass":
        result.stdout.fnmatch_lines(["no-baseline  model*  compiled in 2 s * predicted top-1 * not run"])
    else:
        result.stdout.fnmatch_lines(["E*inaccurate: model?fake? Predicted by fake: top-1 *: drop *"])


# What cannot be compiled


NEEDS_DEVICE = "*fake absent: the compiler of fake needs the device: no fake device; run where one is"


@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
def test_a_compiler_that_needs_the_device_is_skipped_with_the_reason(runner: Project, strict: bool) -> None:
    on_a_runner(runner, target="")
    result = compile_only(runner, "-rs", *(["--accel-strict"] if strict else []))
    result.assert_outcomes(**({"errors": 1} if strict else {"skipped": 1}))
    result.stdout.fnmatch_lines([NEEDS_DEVICE])


def test_a_compiler_that_needs_the_device_compiles_beside_it_and_runs_nothing(runner: Project) -> None:
    beside_the_device(runner, target="")
    assert compile_only(runner).parseoutcomes() == {"compiled": 1}
    (record,) = records(runner)
    assert record.compiled_for == record.hardware.fingerprint
    assert record.compiled_for.startswith("fake-device-")


def test_an_ordinary_run_still_skips_where_the_device_is_absent(runner: Project) -> None:
    result = runner.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*fake absent: no fake device; run where one is"])


def test_nothing_is_compiled_for_what_runs_elsewhere(project: Project) -> None:
    project.pytester.makepyfile(
        "import pytest\n"
        "@pytest.mark.accelerator('sagemaker', endpoint='mine')\n"
        "@pytest.mark.accelerator('eia')\n"
        "def test_it(accel_model): accel_model('x').check()"
    )
    project.monkeypatch.setenv("ACCEL_SAGEMAKER", "allow")
    result = project.run("--accel-compile-only", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*sagemaker absent: *nothing to compile*", "*eia absent: *nothing to compile*"])


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        (f"--accel-against={sys.executable}", "a comparison runs both sides"),
        ("--accel-resume", "the compile cache has what an interrupted run has made"),
        ("--accel-selftest", "the gate is proved by running models"),
    ],
)
def test_what_has_to_run_is_a_usage_error(runner: Project, flag: str, why: str) -> None:
    result = runner.run("--accel-compile-only", flag, workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = flag.partition("=")[0]
    result.stderr.fnmatch_lines([f"ERROR: --accel-compile-only runs no model, so leave {name} out: {why}"])


# The artefact and the machine with the hardware


def carry(cache: Path, to: Path) -> None:
    """Copy a cache to another machine, as CI servers do: without the times of its files."""
    shutil.copytree(cache, to, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("in-use", "locks"))


def test_the_machine_with_the_device_finds_the_artefact_and_only_measures(runner: Project) -> None:
    runner.write_model()
    compile_only(runner)
    folder = runner.pytester.path
    carry(folder / "cache", folder / "carried")
    beside_the_device(runner, failures=REFUSING)
    result = runner.run("--accel-report=run.json", f"--accel-cache-dir={folder / 'carried'}", workers=True)
    result.assert_outcomes(passed=1)
    (record,) = records(runner)
    assert record.measurement is not None
    assert record.measurement.phases.compile_cached
    assert (record.compiled_for, record.prediction) == ("", None)
    assert record.hardware.fingerprint.startswith("fake-device-")
    shutil.rmtree(folder / "carried")
    without = runner.run(f"--accel-cache-dir={folder / 'carried'}", workers=True)
    without.stdout.fnmatch_lines(["E*E17: no kernel for Foo"])


@pytest.mark.parametrize(
    "other", [{"target": "fake-2000"}, {"versions": {"fake-sdk": "2.0"}}], ids=["kind", "compiler"]
)
def test_what_another_compiler_made_or_for_another_device_is_not_taken(runner: Project, other: dict[str, Any]) -> None:
    runner.write_model()
    compile_only(runner)
    beside_the_device(runner, **{"failures": REFUSING, **other})
    result = runner.run(workers=True)
    result.stdout.fnmatch_lines(["E*E17: no kernel for Foo"])


def test_a_second_run_compiles_nothing(runner: Project) -> None:
    compile_only(runner)
    on_a_runner(runner, failures=REFUSING)
    assert compile_only(runner).parseoutcomes() == {"compiled": 1}
    (record,) = records(runner)
    assert record.verdicts[-1].summary.startswith("Compiled for fake-1000 by an earlier run in 2 s")


# Baselines


def since_baseline(project: Project) -> str:
    (record,) = records(project)
    (answer,) = (each for each in record.verdicts if each.question == "regression")
    return f"{answer.kind}: {answer.summary}"


def test_a_baseline_holds_what_the_artefact_told_and_nothing_measured(runner: Project) -> None:
    runner.write_model(compiler_tells=True)
    result = compile_only(runner, "--accel-save-baseline")
    assert result.parseoutcomes() == {"compiled": 1}
    result.stdout.fnmatch_lines(["compiled  model*not run", "baselines/compile-only/fake-1000/model/fake.json saved"])
    stored = json.loads(runner.baseline().read_text(encoding="utf-8"))
    assert stored["artefact"]["compile_s"] == 2.0
    assert stored["placement"]["precisions"] == {"float32": 2}
    assert {"launches", "duets", "accuracy"}.isdisjoint(stored)
    again = compile_only(runner, "--accel-strict")
    assert (again.parseoutcomes(), again.ret) == ({"compiled": 1}, pytest.ExitCode.OK)
    assert since_baseline(runner).startswith("pass: The artefact is like that of the baseline of ")


LARGE = {"compiler_tells": True, "failures": NOT_TO_BE_RUN, "latency_ms": [1.0] * 40_000}
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"latency_ms": [1.0] * 80_000}, "the artefact is 2.0 times as large (0.2 -> 0.4 MB)"),
    "compile time": ({"compile_s": 20.0}, "compiling takes 10.0 times as long (2 -> 20 s)"),
    "device": ({"on_device": 0.8}, "80 % of the operators are on the device, and it was 100 %"),
    "operator": (
        {"operators": {"dense": "fake:float32", "softmax": "cpu:float32"}},
        "on another device is softmax",
    ),
    "precision": (
        {"by_precision": {"int8": {"precisions": {"int8": 1, "float32": 1}}}},
        "50 % of the operators are in int8, and it was 100 %",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_the_baseline_is_told_and_fails_a_strict_run(runner: Project, change: str) -> None:
    changed, found = CHANGES[change]
    runner.write_test("precision='int8'")
    before = {**LARGE, "by_precision": {"int8": {"precisions": {"int8": 2}}}}
    runner.write_model(**before)
    compile_only(runner, "--accel-save-baseline")
    runner.write_model(**{**before, **changed})
    result = compile_only(runner)
    assert result.parseoutcomes() == {"compiled": 1}
    result.stdout.fnmatch_lines(["changed since the baseline: * (model?fake-int8?)"])
    assert found in since_baseline(runner)
    assert since_baseline(runner).startswith("inconclusive: Since the baseline of ")
    strict = compile_only(runner, "--accel-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(["E*inconclusive: *(fails under --accel-strict)", "E*Changed since the baseline:"])


def test_a_change_is_accepted_by_saving_it(runner: Project) -> None:
    runner.write_model(**LARGE)
    compile_only(runner, "--accel-save-baseline")
    runner.write_model(**{**LARGE, "compile_s": 20.0})
    runner.write_test("")
    kept = compile_only(runner, "--accel-save-baseline=new")
    assert "saved" not in kept.stdout.str()
    saved = compile_only(runner, "--accel-save-baseline", "--accel-strict")
    assert (saved.parseoutcomes(), saved.ret) == ({"compiled": 1}, pytest.ExitCode.OK)
    saved.stdout.fnmatch_lines(["*fake.json saved"])
    assert since_baseline(runner) == "pass: This run is the baseline from now on."
    compile_only(runner, "--accel-strict")
    assert since_baseline(runner).startswith("pass: ")


def test_what_fails_is_not_saved(runner: Project) -> None:
    runner.write_test("max_compile_s=1")
    compile_only(runner, "--accel-save-baseline").stdout.fnmatch_lines(["*not saved: sla-breach: *"])
    assert not runner.baselines.exists()


def test_it_is_never_taken_for_a_measured_baseline_nor_written_over_one(runner: Project) -> None:
    runner.write_model()
    beside_the_device(runner)
    compile_only(runner, "--accel-save-baseline")
    compiled = runner.baseline()
    result = runner.run("--accel-save-baseline", workers=True)
    result.stdout.fnmatch_lines(["baselines/fake-device-*/model/fake.json saved"])
    (measured,) = {*runner.baselines.rglob("*.json")} - {compiled}
    before = measured.read_bytes(), compiled.read_bytes()
    compile_only(runner, "--accel-save-baseline")
    runner.run("--accel-strict", workers=True).assert_outcomes(passed=1)
    assert (measured.read_bytes(), compiled.read_bytes()) == before
    shutil.copyfile(compiled, measured)
    moved = runner.run(workers=True)
    moved.assert_outcomes(failed=1)
    moved.stdout.fnmatch_lines([f"E*{measured} is of compile-only, so nothing in it was measured, and its place is *"])
    measured.unlink()
    runner.run("--accel-report=run.json", workers=True).assert_outcomes(passed=1)
    assert since_baseline(runner).startswith("no-baseline: ")


def test_two_models_do_not_share_one_baseline(runner: Project) -> None:
    runner.write_model()
    shutil.copyfile(runner.write_model(compile_s=3.0), runner.pytester.path / "other.fake.json")
    runner.write_model()
    runner.pytester.makepyfile("""
        import pytest

        @pytest.mark.accelerator("fake")
        @pytest.mark.parametrize("file", ["model", "other"])
        def test_it(accel_model, file):
            accel_model(f"{file}.fake.json", name="same").check()
    """)
    result = compile_only(runner, "--accel-save-baseline")
    result.stdout.fnmatch_lines(["*baselines/compile-only/fake-1000/same/fake.json, cannot serve different models: *"])


def test_a_variant_that_the_test_chooses_itself_needs_no_device_either(runner: Project) -> None:
    runner.pytester.makepyfile(
        test_model="""
        import pytest

        @pytest.mark.accelerator("fake")
        def test_it(accel_model):
            accel_model("model.fake.json", cores=2).check()
    """
    )
    assert compile_only(runner).parseoutcomes() == {"compiled": 1}


def test_records_and_baselines_of_it_know_their_commit_and_their_test(runner: Project) -> None:
    runner.monkeypatch.setenv("GITHUB_ACTIONS", "true")
    runner.monkeypatch.setenv("GITHUB_SHA", "c0ffee")
    compile_only(runner, "--accel-save-baseline")
    assert [record.provenance.commit for record in records(runner)] == ["c0ffee"]
    (file,) = runner.pytester.path.glob("baselines/compile-only/*/*/*.json")
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert (stored["test"], stored["provenance"]["commit"]) == (records(runner)[0].function, "c0ffee")


# Real compilers


ONNX = """
    import pytest

    @pytest.mark.accelerator("gpu-ort", precision="fp16", max_artefact_mb=50)
    @pytest.mark.accelerator("cpu-ort", max_compile_s=300)
    def test_network(accel_model):
        accel_model({path!r}, name="network").check()
"""


@pytest.mark.slow
def test_onnx_runtime_converts_for_a_gpu_that_is_absent_and_the_gpu_only_measures(project: Project) -> None:
    """The GPU of the second run is a stand-in. All else is ONNX Runtime, which predicts what FP16 costs."""
    pytest.importorskip("onnxruntime")
    folder = project.pytester.path
    source = yardstick.write_onnx(str(folder))
    project.pytester.makepyfile(test_network=ONNX.format(path=source.path))
    result = project.run("--accel-compile-only", "--accel-report=run.json", workers=True, subprocess=True)
    assert result.parseoutcomes() == {"compiled": 2}
    half, single = sorted(records(project), key=lambda record: record.variant.precision)
    assert (half.compiled_for, half.variant.accelerator) == ("NVIDIA GPU", "gpu-ort")
    assert half.artefact is not None
    assert single.artefact is not None
    assert half.artefact.size_mb < 0.7 * single.artefact.size_mb
    (answer,) = (each for each in half.verdicts if each.question == "accuracy")
    assert answer.summary.startswith("Predicted by cpu-ort: Output ")
    make_nvidia_host(project.monkeypatch, project.pytester.mkdir("host"), "onnxruntime_gpu")
    run = project.run("--accel-report=run.json", "--accelerator=gpu-ort", workers=True, subprocess=True)
    run.assert_outcomes(passed=1)
    (measured,) = records(project)
    assert measured.measurement is not None
    assert measured.measurement.phases.compile_cached
