"""Workers that crash, hang or flood, and users who press Ctrl-C: one test fails and says why, and nothing is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import psutil
import pytest

from pytest_accel.testing import fake_model
from tests.drills.drill import TAIL_TESTS

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

#: A call in the middle of the timed ones: two warm-ups of 0.2 s, 1 ms a call, and a few dozen others come before it.
MEASURED = 600
#: What the accelerator is asked for in each phase, and which time it fails.
PHASES = {
    "compile": ("compile", 1),
    "load": ("load", 1),
    "measure": ("infer", MEASURED),
}


@pytest.fixture
def quick_workers() -> None:
    """Start workers as users do, since their ends are tested here."""


@pytest.fixture
def broken(project: Project) -> Iterator[Project]:
    """A project whose first test has a broken model and whose second is sound; afterwards nothing may be left."""
    project.pytester.makepyfile(test_models=TAIL_TESTS)
    before = set(psutil.Process().children(recursive=True))  # other tests of this process may have workers of their own
    yield project
    assert set(psutil.Process().children(recursive=True)) <= before
    assert_nothing_locked(project.pytester.path / "cache")
    assert_tidy(project.pytester.path / "cache")


def break_model(project: Project, failures: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the first test a model with these failures."""
    fake_model(project.pytester.path / "broken.fake.json", failures=failures)


def assert_nothing_locked(cache: Path) -> None:
    """Assert that nobody holds a lock, neither of an entry nor of a device."""
    locks = [path for path in cache.rglob("*.lock") if path.is_file()]
    assert locks, "there should be some to look at"
    for path in locks:
        with filelock.FileLock(path, timeout=0):
            pass


def assert_tidy(cache: Path) -> None:
    """Assert that no entry is half-written or still marked as used."""
    assert list((cache / "building").iterdir()) == []
    assert list((cache / "in-use").iterdir()) == []
    for entry in (cache / "entries").iterdir():
        assert (entry / "manifest.json").is_file()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["sigkill", "sigsegv"])
def test_a_crash_fails_its_test_with_signal_phase_and_stack(broken: Project, phase: str, how: str) -> None:
    operation, at_call = PHASES[phase]
    break_model(broken, {operation: {"how": how, "at_call": at_call}})
    result = broken.run(workers=True)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [f"E*WorkerCrashed: fake: the worker was killed by {how.upper()}* during {phase}; --accel-in-process *"]
    )
    if how == "sigsegv":  # SIGKILL leaves no time for last words
        result.stdout.fnmatch_lines(["*accelerator's worker*", "stacks:", "Fatal Python error: Segmentation fault"])
        result.stdout.fnmatch_lines(["*in _fail"])
    result.stdout.fnmatch_lines(["no-baseline * model[[]fake[]] *"])


@pytest.mark.parametrize("phase", PHASES)
def test_a_hang_ends_at_its_deadline_and_shows_its_stack(broken: Project, phase: str) -> None:
    operation, at_call = PHASES[phase]
    break_model(broken, {operation: {"how": "hang", "at_call": at_call}})
    option = "--accel-compile-timeout" if phase == "compile" else "--accel-run-timeout"
    result = broken.run(f"{option}=2", workers=True)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            f"E*DeadlineExceeded: fake: {phase} was still running after 2 s and was killed; {option} gives *",
            "*accelerator's worker*",
            "*in _fail",
        ]
    )


def test_megabytes_of_output_fail_nothing(broken: Project) -> None:
    floods = {"how": "print", "megabytes": 6}
    break_model(broken, {"compile": floods, "load": floods, "stage": floods})
    result = broken.run(workers=True)
    result.assert_outcomes(passed=2)
    assert "scripted line" not in result.stdout.str()


def test_the_end_of_what_a_crashed_worker_printed_is_shown_and_no_more(broken: Project) -> None:
    break_model(broken, {"load": {"how": "print", "megabytes": 12}, "stage": {"how": "sigkill"}})
    result = broken.run(workers=True)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*accelerator's worker*", "last output:", "a scripted line of thirty-two.."])
    assert len(result.stdout.str()) < 30_000


HANGS = """
    import os
    import signal

    from pytest_accel.worker.accelerators.fake import FakeAccelerator

    class Hangs(FakeAccelerator):
        def infer(self, staged):
            if self._calls.get("infer", 0) == {call}:
                with open("hanging", "w") as mark:
                    mark.write(str(os.getpid()))
                signal.pause()
            return super().infer(staged)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_a_run_that_is_ended_while_it_measures(project: Project, ending: signal.Signals) -> None:
    folder = project.pytester.path
    project.pytester.makepyfile(hangs=HANGS.format(call=MEASURED))
    project.pytester.makeconftest("def pytest_accel_accelerators(): return {'fake': 'hangs:Hangs'}")
    project.write_test("p99_ms=5")
    os.mkfifo(folder / "hanging")
    hanging = os.open(folder / "hanging", os.O_RDWR)  # so that opening waits for nobody
    command = [sys.executable, "-m", "pytest", f"--accel-cache-dir={folder / 'cache'}"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert select.select([hanging], [], [], 60)[0], "the measurement never came to the call that hangs"
            worker = psutil.Process(int(os.read(hanging, 100)))
            below = psutil.Process(run.pid).children(recursive=True)
            assert worker in below
            run.send_signal(ending)
            output, _ = run.communicate(timeout=60)
        finally:
            run.kill()
            os.close(hanging)
    assert run.returncode == (pytest.ExitCode.INTERRUPTED if ending == signal.SIGINT else -ending), output
    _, alive = psutil.wait_procs(below, timeout=4)  # execnet alone would take longer
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert_nothing_locked(folder / "cache")
    if ending == signal.SIGINT:  # which leaves time to tidy up
        assert_tidy(folder / "cache")


CANNOT_BE_ASKED = """
    import os

    from pytest_accel.worker.accelerators.fake import FakeAccelerator

    class CannotBeAsked(FakeAccelerator):
        def probe(self):
            with open({asked!r}, "a") as asked:
                asked.write("once\\n")
            {does}
"""
CRASHES = "os.abort()"
HANGS_WHEN_ASKED = "os.read(os.pipe()[0], 1)"


def cannot_be_asked(project: Project, does: str) -> None:
    """Give the project an accelerator whose SDK does this when it is asked whether it is here."""
    project.pytester.makepyfile(sdk=CANNOT_BE_ASKED.format(does=does, asked=str(project.pytester.path / "asked")))
    project.pytester.makeconftest("def pytest_accel_accelerators(): return {'fake': 'sdk:CannotBeAsked'}")


@pytest.mark.parametrize(
    ("does", "message", "stack"),
    [
        (
            CRASHES,
            "fake: the worker was killed by SIGABRT during probe; --accel-in-process *",
            "Fatal Python error: Aborted",
        ),
        (
            HANGS_WHEN_ASKED,
            "fake: probe was still running after 2 s and was killed; --accel-run-timeout gives *",
            "",
        ),
    ],
    ids=["crash", "hang"],
)
def test_an_sdk_that_fails_when_it_is_asked_fails_each_test_and_is_asked_once(
    project: Project, does: str, message: str, stack: str
) -> None:
    project.pytester.makepyfile(test_models=TAIL_TESTS)
    cannot_be_asked(project, does)
    result = project.run("--accel-run-timeout=2", "--accel-report=run.md", workers=True)
    assert (project.pytester.path / "asked").read_text() == "once\n"
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([message, "*accelerator's worker*", f"{stack}*", "*in probe"])
    shown = result.stdout.str()
    assert "pytest_accel/session/session.py" not in shown
    assert "During handling of the above exception" not in shown
    assert "in probe" in (project.pytester.path / "run.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_sdk_that_crashes_hides_no_other_from_the_list(project: Project) -> None:
    cannot_be_asked(project, CRASHES)
    result = project.run("--accel-list", workers=True)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "fake * absent   broken-sdk: fake: the worker was killed by SIGABRT during probe; --accel-in-*",
            " * pytest --accelerator=fake shows more of it",
            "gpu-trt * absent   *",
        ]
    )


def test_in_process_the_real_exception_is_the_cause(project: Project) -> None:
    project.write_model(failures={"load": {"how": "error", "message": "broken driver"}})
    project.write_test()
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*raise *[[]how[]](message)",
            "E*RuntimeError: broken driver",
            "The above exception was the direct cause of the following exception:",
            '>*accel_model("model.fake.json").check()',
            "E*WorkerError: load failed: RuntimeError: broken driver",
            "test_model.py:*: WorkerError",
        ]
    )
