"""``--accel-resume``: what an interrupted run had finished is not measured again, as long as nothing has changed."""

from __future__ import annotations

import os
import select
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_accel.facts.records import RunRecord
from pytest_accel.report.record import read_record
from pytest_accel.testing import fake_model
from tests.plugin.conftest import Project

#: The third of three variants stops in the middle, once: it tells a pipe, and waits for the end.
STOPS = """
    import os
    import signal

    from pytest_accel.worker.accelerators.fake import FakeAccelerator

    class Stops(FakeAccelerator):
        def load(self, artefact, options):
            self._stops = options["cores"] == 3 and os.path.exists("stopping")
            return super().load(artefact, options)

        def infer(self, staged):
            if self._stops:
                with open("stopping", "w") as mark:
                    mark.write("here")
                signal.pause()
            return super().infer(staged)
"""
TEST = """
    import pytest

    @pytest.mark.accelerator("fake", cores=[1, 2, 3], p99_ms={limit})
    def test_model(accel_model):
        accel_model("model.fake.json").check()
"""
#: So slow that one core takes 8 ms a call, two take 4 and three less than 3: a limit of 5 ms fails the first.
SCRIPT = {"latency_ms": 8.0}


@pytest.fixture
def interrupted(project: Project) -> Project:
    """A project whose model fails with one core and passes with two and three."""
    project.write_model(**SCRIPT)
    project.pytester.makepyfile(stops=STOPS, test_model=TEST.format(limit=5))
    project.pytester.makeconftest("def pytest_accel_accelerators(): return {'fake': 'stops:Stops'}")
    return project


def interrupt(project: Project, ending: signal.Signals, *args: str) -> str:
    """Run the tests and end the run by a signal while the third is measuring; what it printed."""
    folder = project.pytester.path
    os.mkfifo(folder / "stopping")
    stopping = os.open(folder / "stopping", os.O_RDWR)  # so that opening waits for nobody
    with project.start(f"--accel-cache-dir={folder / 'cache'}", *args) as run:
        try:
            assert select.select([stopping], [], [], 120)[0], "the measurement never came to the third variant"
            run.send_signal(ending)
            output, _ = run.communicate(timeout=60)
        finally:
            run.kill()
            os.close(stopping)
    (folder / "stopping").unlink()
    return output


def resume(project: Project, *args: str) -> tuple[pytest.RunResult, RunRecord]:
    result = project.run("--accel-resume", "--accel-report=run.json", *args, workers=True, subprocess=True)
    return result, read_record(project.pytester.path / "run.json")


def resumed(run: RunRecord) -> dict[str, bool]:
    return {test.variant.id: bool(test.resumed) for test in run.tests}


def journals(project: Project) -> list[Path]:
    return sorted((project.pytester.path / "cache" / "journals").rglob("*.jsonl"))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_only_what_is_left_is_measured_and_what_failed_fails_again(
    interrupted: Project, ending: signal.Signals
) -> None:
    output = interrupt(interrupted, ending)
    if ending == signal.SIGINT:  # which leaves time to say so
        assert "interrupted: --accel-resume measures only what is left" in output
    assert len(journals(interrupted)) == 1
    result, run = resume(interrupted)
    result.assert_outcomes(failed=1, passed=2)
    assert resumed(run) == {"fake-cores1": True, "fake-cores2": True, "fake-cores3": False}
    began = run.tests[0].resumed
    result.stdout.fnmatch_lines(
        [
            "E*sla-breach: model[[]fake-cores1[]] p99 >= 8 ms with 95 % confidence *",
            f"E*Measured by the run of {began}; without --accel-resume it is measured again.",
            "  sla-breach *cores1 * resumed",
            "[*] no-baseline *cores3 *[0-9]",
            f"resumed: 2 results are from the run of {began}, which was interrupted",
        ]
    )
    assert journals(interrupted) == []


@pytest.mark.slow
def test_under_xdist_too(interrupted: Project) -> None:
    interrupt(interrupted, signal.SIGTERM, "-n", "1")
    result, run = resume(interrupted, "-n", "2")
    result.assert_outcomes(failed=1, passed=2)
    assert resumed(run) == {"fake-cores1": True, "fake-cores2": True, "fake-cores3": False}


def test_a_run_that_is_stopped_early_can_be_resumed_and_again(interrupted: Project) -> None:
    interrupted.run("-x", workers=True).assert_outcomes(failed=1)
    stopped = ("-x", "--deselect=test_model.py::test_model[fake-cores1]", "--maxfail=1")
    assert len(journals(interrupted)) == 1
    interrupt(interrupted, signal.SIGTERM, "--accel-resume", *stopped)
    assert len(journals(interrupted)) == 2
    _, run = resume(interrupted)
    assert list(resumed(run).values()) == [True, True, False]


def change_model(project: Project) -> None:
    fake_model(project.pytester.path / "model.fake.json", **SCRIPT, load_s=1.0)


def change_test(project: Project) -> None:
    project.pytester.makepyfile(test_model=TEST.format(limit=4.5))


def change_data(project: Project) -> None:
    text = TEST.format(limit=5).replace(".check()", ".check(__import__('data').ROWS)")
    project.pytester.makepyfile(test_model=text)


@pytest.mark.parametrize("change", [change_model, change_test, Project.on_other_hardware])
def test_what_has_changed_is_measured_again(interrupted: Project, change: object) -> None:
    interrupted.run("-x", workers=True)
    assert callable(change)
    change(interrupted)
    _, run = resume(interrupted)
    assert not any(resumed(run).values())


def test_other_data_are_measured_again(interrupted: Project) -> None:
    change_data(interrupted)
    data = interrupted.pytester.path / "data.py"
    data.write_text("import numpy as np\nROWS = np.ones((8, 4), 'float32')", encoding="ascii")
    interrupted.run("-x", workers=True, subprocess=True)
    data.write_text("import numpy as np\nROWS = np.ones((9, 4), 'float32')", encoding="ascii")
    _, run = resume(interrupted)
    assert not any(resumed(run).values())


@pytest.mark.parametrize("args", [[], ["--accel-strict"]])
def test_a_run_that_came_to_its_end_leaves_nothing_to_resume(interrupted: Project, args: list[str]) -> None:
    interrupted.run(*args, workers=True)
    assert journals(interrupted) == []
    _, run = resume(interrupted)
    assert not any(resumed(run).values())


#: The second Ctrl-C comes while pytest still describes the first one.
SECOND_CTRL_C = "def pytest_keyboard_interrupt(excinfo): raise KeyboardInterrupt"
#: The third test ends the run: by Ctrl-C or as a plugin does, with a status of its own.
ENDS_THE_RUN = """
    def pytest_runtest_setup(item):
        if item.name.endswith("cores3]") and os.path.exists("ending"):
            {does}
"""


@pytest.mark.parametrize(
    ("does", "more"),
    [
        ("raise KeyboardInterrupt", ""),
        ("raise KeyboardInterrupt", SECOND_CTRL_C),
        ("pytest.exit('the device is gone', returncode=1)", ""),
        ("pytest.exit('all is well', returncode=0)", ""),
    ],
    ids=["Ctrl-C", "Ctrl-C twice", "exit 1", "exit 0"],
)
def test_whatever_breaks_a_run_off_leaves_all_that_was_finished_before(
    interrupted: Project, does: str, more: str
) -> None:
    interrupted.run("-x", workers=True)
    conftest = interrupted.pytester.path / "conftest.py"
    ends = textwrap.dedent(ENDS_THE_RUN).format(does=does)
    conftest.write_text(f"import os\nimport pytest\n{conftest.read_text()}\n{ends}\n{more}\n")
    (interrupted.pytester.path / "ending").touch()
    interrupted.run("--accel-resume", workers=True, subprocess=True)
    assert len(journals(interrupted)) == 2
    (interrupted.pytester.path / "ending").unlink()
    _, run = resume(interrupted)
    assert list(resumed(run).values()) == [True, True, False]
    assert journals(interrupted) == []


@pytest.mark.parametrize("args", [["-k", "mistyped"], ["-k", "cores3"]])
def test_a_run_of_other_tests_leaves_what_it_did_not_need(interrupted: Project, args: list[str]) -> None:
    interrupted.run("-x", workers=True)
    interrupted.run("--accel-resume", *args, workers=True)
    assert len(journals(interrupted)) == 1


def test_a_bad_line_is_told_and_costs_one_result(interrupted: Project) -> None:
    interrupted.run("-x", workers=True)
    (journal,) = journals(interrupted)
    journal.write_bytes(b"\xff\n" + journal.read_bytes())
    result, run = resume(interrupted)
    assert resumed(run)["fake-cores1"]
    result.stdout.fnmatch_lines(
        [f"the journal {journal} of an interrupted run has lines that cannot be read: line 1 *"]
    )
    assert len(run.warnings) == 1


def test_a_run_without_the_option_measures_everything_and_leaves_the_journal(interrupted: Project) -> None:
    interrupted.run("-x", workers=True)
    interrupted.run("--accel-report=run.json", workers=True)
    assert not any(resumed(read_record(interrupted.pytester.path / "run.json")).values())
    assert len(journals(interrupted)) == 1


def test_what_an_opponent_took_then_cannot_be_resumed(project: Project) -> None:
    result = project.run("--accel-resume", f"--accel-against={sys.executable}", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-resume: an opponent is measured here and now, so leave --accel-*"])
