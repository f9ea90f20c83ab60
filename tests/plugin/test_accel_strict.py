"""The table of verdicts: what each situation means by default and under ``--accel-strict``.

Each row has a test for both columns. A strict run is what CI uses, so whatever was not decided fails it.
"""

from __future__ import annotations

import json

import pytest

from tests.formats import comment
from tests.plugin.conftest import ONE_TEST, Project, Template

STRICT = pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])


def flags(strict: bool) -> list[str]:
    return ["--accel-strict"] if strict else []


@STRICT
def test_absent_hardware(project: Project, strict: bool) -> None:
    project.pytester.makepyfile(
        "import pytest\n@pytest.mark.accelerator('gpu-trt')\ndef test_it(accel_model): accel_model('x').check()"
    )
    result = project.run("--accelerator=gpu-trt", "-ra", *flags(strict))
    result.assert_outcomes(**({"errors": 1} if strict else {"skipped": 1}))
    result.stdout.fnmatch_lines(["*gpu-trt absent: no NVIDIA GPU: no /dev/nvidia0 and none on the PCI bus; *"])
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)


@STRICT
def test_no_baseline_for_this_hardware(project: Project, strict: bool) -> None:
    project.write_test("p99_ms=5")
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    result.stdout.fnmatch_lines(["*no-baseline: *No baseline for fake-device-*; --accel-save-baseline writes one.*"])


@STRICT
def test_a_baseline_from_other_hardware_only(project: Project, strict: bool) -> None:
    project.write_test("p99_ms=5")
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    project.on_other_hardware()
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    result.stdout.fnmatch_lines(["*incomparable: *only from other hardware: fake-device-*"])


@STRICT
def test_an_inconclusive_sla(project: Project, strict: bool) -> None:
    # Every 73rd call is slow: too often for a p99 of 5 ms to be sure, too rarely for it to be broken.
    project.write_model(latency_ms=[1.0] * 72 + [9.0])
    project.write_test("p99_ms=5")
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    result.stdout.fnmatch_lines(["*inconclusive: *p99 <= 9 ms with 95 % confidence *"])


@STRICT
def test_no_accelerator_test_ran(project: Project, strict: bool) -> None:
    project.write_test()
    result = project.run("--accelerator=inf2", *flags(strict))
    result.assert_outcomes(deselected=1)
    result.stdout.fnmatch_lines(["no accelerator test ran: nothing was measured"])
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.NO_TESTS_COLLECTED)


PARTS = """
    import pytest

    @pytest.mark.accelerator("fake")
    def test_parts(accel_model):
        model = accel_model("model.fake.json")
        {use}
"""


@STRICT
@pytest.mark.parametrize("use", ["assert model.measure().p99_ms <= 5", "pass"], ids=["measured", "nothing"])
def test_a_part_that_was_measured_is_an_accelerator_test_that_ran_but_no_judgement(
    project: Project, use: str, strict: bool
) -> None:
    project.pytester.makepyfile(test_parts=PARTS.format(use=use))
    result = project.run(*flags(strict), workers=True)
    measured = use != "pass"
    passes = measured and not strict
    assert result.ret == (pytest.ExitCode.OK if passes else pytest.ExitCode.TESTS_FAILED)
    assert ("no accelerator test ran: nothing was measured" in result.outlines) == (strict and not measured)
    assert ("was compiled and never judged" in result.stdout.str()) == (measured and strict)


@STRICT
def test_nothing_of_a_sweep_was_measured(project: Project, strict: bool) -> None:
    project.write_model(failures={"compile": {"how": "refused"}})
    project.write_test("precision=['fp32', 'int8'], on_compile_error='record'")
    result = project.run(*flags(strict))
    result.assert_outcomes()
    result.stdout.fnmatch_lines(["test_model.py::test_model: no variant was measured (2 refused)", "*2 refused*"])
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)


@STRICT
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("sigkill", "the worker was killed by SIGKILL*"),
        ("sigsegv", "the worker was killed by SIGSEGV*"),
        ("memory", "*MemoryError*"),
    ],
)
def test_a_worker_that_crashed_or_ran_out_of_memory(project: Project, strict: bool, how: str, reason: str) -> None:
    project.write_model(failures={"infer": {"how": how}})
    project.write_test()
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*{reason}"])


@STRICT
def test_a_tracer_in_the_worker(project: Project, strict: bool) -> None:
    project.write_test("p99_ms=5")
    result = project.run(*flags(strict))  # in this process, which is what a debugger or coverage would do
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    result.stdout.fnmatch_lines(["*inconclusive: *The measurement decides nothing about speed: *"])


def test_strict_by_ini(project: Project) -> None:
    project.pytester.makeini("[pytest]\naccel_strict = true")
    project.write_test("p99_ms=5")
    project.run(workers=True).assert_outcomes(failed=1)


def test_a_strict_run_passes_when_everything_was_measured_and_decided(project: Project) -> None:
    project.write_test("p99_ms=5, max_regression=0.05")
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    result = project.run("--accel-strict", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass * model[[]fake[]] * ×1.000 [[]*[]] of baseline *"])


SWALLOWED = {
    "caught": "try: model.check(p50_ms=0.1)\n    except AssertionError: pass",
    "in a thread": "thread = Thread(target=quiet, args=(model,))\n    thread.start()\n    thread.join()",
    "skipped after it": "try: model.check(p50_ms=0.1)\n    except AssertionError: pytest.skip('not today')",
}


@STRICT
@pytest.mark.parametrize("how", SWALLOWED.values(), ids=SWALLOWED)
def test_a_failing_check_that_the_test_swallows(project: Project, strict: bool, how: str) -> None:
    project.pytester.makepyfile(f"""
import pytest
from threading import Thread

def quiet(model):
    try: model.check(p50_ms=0.1)
    except AssertionError: pass

@pytest.mark.accelerator("fake")
def test_it(accel_model):
    model = accel_model("model.fake.json")
    {how}
""")
    result = project.run(*flags(strict), workers=True)
    lenient = {"skipped": 1} if "skip" in how else {"passed": 1}
    result.assert_outcomes(**({"failed": 1} if strict else lenient))
    if strict:
        result.stdout.fnmatch_lines(["*a check of model?fake? failed (sla-breach) and the test went on, *"])


@STRICT
def test_a_second_model_that_is_never_judged(project: Project, strict: bool) -> None:
    project.pytester.makepyfile("""
import pytest

@pytest.mark.accelerator("fake")
def test_it(accel_model):
    accel_model("model.fake.json").check()
    assert accel_model("model.fake.json", precision="int8").placement()
""")
    project.run("--accel-save-baseline", workers=True)
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    if strict:
        result.stdout.fnmatch_lines(["*model?fake-int8? was compiled and never judged, which --accel-strict *"])


def test_a_model_that_is_compiled_twice_is_judged_once(project: Project) -> None:
    project.pytester.makepyfile("""
import pytest

@pytest.mark.accelerator("fake")
def test_it(accel_model):
    assert accel_model("model.fake.json").placement()
    accel_model("model.fake.json").check()
""")
    project.run("--accel-save-baseline", workers=True)
    project.run("--accel-strict", workers=True).assert_outcomes(passed=1)


BESIDE_A_JUDGED_ONE = """
import pytest

@pytest.mark.accelerator("fake")
def test_judged(accel_model):
    accel_model("model.fake.json").check()

{mark}
@pytest.mark.accelerator("fake")
def test_it(accel_model):
    {body}
"""
CHECK = "accel_model('model.fake.json', name='other').check({})"
OWN_CALL = 'accel_model("model.fake.json").check()'
NOT_JUDGED = "--accel-strict: 1 test is marked accelerator, and not judged: test_it.py::test_it?fake?"
SWALLOWED_BY_PYTEST = "--accel-strict: a check failed, and its test did not: test_it.py::test_it?fake?"


@STRICT
@pytest.mark.parametrize(
    ("mark", "body", "told"),
    [
        ("@pytest.mark.skip", CHECK, NOT_JUDGED),
        ("@pytest.mark.xfail(run=False)", CHECK, NOT_JUDGED),
        ("", "pytest.skip('no data')", NOT_JUDGED),
        ("", "pytest.exit('enough', returncode=0)", NOT_JUDGED),
    ],
    ids=["skipped", "not run", "skipped inside", "ended"],
)
def test_a_marked_test_without_a_verdict(project: Project, strict: bool, mark: str, body: str, told: str) -> None:
    assert_strict_alone(project, strict, mark, body, told)


@STRICT
def test_a_failure_that_a_mark_hides(project: Project, strict: bool) -> None:
    assert_strict_alone(project, strict, "@pytest.mark.xfail", CHECK.format("p50_ms=0.1"), SWALLOWED_BY_PYTEST)


def assert_strict_alone(project: Project, strict: bool, mark: str, body: str, told: str) -> None:
    """Assert that a run with such a test passes, but not a strict one, which says why."""
    project.pytester.makepyfile(test_it=BESIDE_A_JUDGED_ONE.format(mark=mark, body=body))
    result = project.run("--accel-save-baseline", "--accel-report=run.md", *flags(strict), workers=True)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)
    if strict:
        result.stdout.fnmatch_lines([told])
    report = comment(project.pytester.path / "run.md")
    broken_off = "## Failed: the run was interrupted" if "pytest.exit" in body else ""
    by_default = broken_off or "## Passed: none of "
    assert report.startswith((broken_off or "## Failed: --accel-strict: ") if strict else by_default)


@STRICT
@pytest.mark.parametrize(
    ("marker", "call", "told"),
    [
        ("batch_size=4", "accel_model('model.fake.json', batch_size=2).check()", "*the marked variant fake-b4 was *"),
        ("p99_ms=5", "accel_model('model.fake.json').check(p99_ms=None)", "*the budget p99_ms was given and taken*"),
    ],
    ids=["variant", "budget"],
)
def test_what_the_marker_names_is_not_what_is_judged(
    project: Project, strict: bool, marker: str, call: str, told: str
) -> None:
    project.pytester.makepyfile(ONE_TEST.format(marker=f", {marker}", check="").replace(OWN_CALL, call))
    result = project.run("--accel-save-baseline", *flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    if strict:
        result.stdout.fnmatch_lines([told])


@STRICT
@pytest.mark.parametrize("asked", ["nothing", "other data"])
def test_a_baseline_that_answered_other_questions(
    project: Project, template: Template, strict: bool, asked: str
) -> None:
    project.write_test()
    template.copy_to(project, "without a budget", ("--accel-save-baseline",))
    stored = json.loads(project.baseline().read_text())
    accuracy = {**stored["accuracy"], "dataset_digest": "0" * 64} if asked == "other data" else None
    project.baseline().write_text(json.dumps({**stored, "accuracy": accuracy}))
    result = project.run(*flags(strict), workers=True)
    result.assert_outcomes(**({"failed": 1} if strict else {"passed": 1}))
    said = "is from another dataset: not compared" if asked == "other data" else "holds no accuracy to compare with"
    result.stdout.fnmatch_lines([f"*incomparable: *The baseline*{said}.*"])


@pytest.mark.parametrize("kind", ["sla-breach", "no-baseline"])
def test_a_verdict_is_no_better_for_running_its_test_again_unless_it_was_undecided(project: Project, kind: str) -> None:
    """As plugins do that run a failing test again: its first report is neither passed nor failed."""
    project.pytester.makeconftest("""
import pytest
from pytest_accel.testing import FAKE

def pytest_accel_accelerators(): return {'fake': FAKE}

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.outcome = "rerun"
    return report
""")
    project.write_test("p50_ms=0.1" if kind == "sla-breach" else "")
    result = project.run("--accel-strict", workers=True)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if kind == "sla-breach" else pytest.ExitCode.OK)


@pytest.mark.slow
def test_skipped_tests_are_missed_under_xdist_too(project: Project) -> None:
    project.pytester.makepyfile(test_it=BESIDE_A_JUDGED_ONE.format(mark="@pytest.mark.skip", body=CHECK))
    result = project.run("-n", "2", "--accel-save-baseline", "--accel-strict", workers=True, subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([NOT_JUDGED])
