"""An accelerator whose device belongs to one process until that ends: what is measured, saved and compared there."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from pytest_accel.testing import FAKE
from tests.plugin.conftest import Project, Template

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # whole launches take turns

#: The device is a file. A process has it from its first load on, and what it counts is in the file.
DEVICE = """
    import fcntl
    import os
    from typing import ClassVar, Mapping

    from pytest_accel.worker.accelerator import Missing
    from pytest_accel.worker.accelerators.fake import FakeAccelerator


    class Exclusive(FakeAccelerator):
        exclusive: ClassVar[bool] = True
        references: ClassVar[Mapping[str, str]] = {"fake": "plain"}  # which leaves the device alone
        _device = None

        def probe(self):
            with open(os.environ["DEVICE"]) as device:
                try:
                    fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return Missing("busy", "another process has it", "wait")
            return super().probe()

        @classmethod
        def lacking(cls, found, options):
            if options["cores"] <= 4:
                return None
            return Missing("too-few-cores", "it has 4 cores", "ask for fewer")

        def load(self, artefact, options):
            if self._device is None:
                self._device = os.open(os.environ["DEVICE"], os.O_RDWR)
                fcntl.flock(self._device, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return super().load(artefact, options)

        def infer(self, staged):
            if not os.environ.get("COMPUTES_ELSEWHERE"):
                counted = int(os.pread(self._device, 20, 0)) + 1
                os.pwrite(self._device, b"%20d" % counted, 0)
            return super().infer(staged)

        def executions_made(self):
            return 0 if os.environ.get("COUNTS_AT_ONCE") else self._calls.get("infer", 0)

        def executions_counted(self):
            with open(os.environ["DEVICE"]) as device:
                return int(device.read())
"""


@pytest.fixture
def device(project: Project) -> Path:
    """The device; the accelerator ``fake`` runs on it."""
    path = project.pytester.path / "device"
    path.write_text(f"{0:20}", encoding="ascii")
    project.monkeypatch.setenv("DEVICE", str(path))
    project.pytester.makepyfile(device=DEVICE)
    project.pytester.syspathinsert()
    both = {"fake": "device:Exclusive", "plain": FAKE}
    project.pytester.makeconftest(f"def pytest_accel_accelerators(): return {both!r}")
    return path


def is_free(device: Path) -> bool:
    with device.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def saved(project: Project, device: Path, template: Template) -> Project:
    """A project whose model takes 1 ms and has a baseline, which was saved on the device."""
    project.write_test("max_regression=0.05")
    template.copy_to(project, "saved on an exclusive device", ("--accel-save-baseline", "-p", "no:cacheprovider"))
    return project


def test_a_baseline_is_saved_and_nothing_holds_the_device_afterwards(saved: Project, device: Path) -> None:
    assert saved.baseline().exists()
    assert is_free(device)


def test_an_unchanged_model_is_green(saved: Project, device: Path) -> None:
    saved.monkeypatch.setenv("COUNTS_AT_ONCE", "1")  # so that the worker need not end for that
    result = saved.run(workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass * ×1.000 [[]*[]] of baseline*"])
    assert is_free(device)


def test_a_slower_model_is_red(saved: Project, device: Path) -> None:
    saved.write_model(latency_ms=1.3)
    result = saved.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*regressed: model[[]fake[]] 1.300 times the baseline's time*"])
    assert is_free(device)


@pytest.mark.usefixtures("device")
def test_outputs_that_the_device_did_not_compute_are_found_out_when_the_process_has_ended(project: Project) -> None:
    project.monkeypatch.setenv("COMPUTES_ELSEWHERE", "1")
    project.write_test()
    result = project.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*placement failed: NotExecuted: the device counted 0 executions and * were asked*"])


@pytest.mark.usefixtures("device")
def test_the_processes_of_xdist_wait_for_the_device_and_skip_nothing(project: Project) -> None:
    project.pytester.makepyfile(
        test_model="""
        import pytest

        @pytest.mark.accelerator("fake")
        @pytest.mark.parametrize("name", ["one", "other"])
        def test_model(accel_model, name):
            accel_model("model.fake.json", name=name).check()
        """
    )
    project.run("-n", "2", workers=True, subprocess=True).assert_outcomes(passed=2)


@pytest.mark.usefixtures("device")
def test_a_model_can_be_used_after_its_check(project: Project) -> None:
    project.pytester.makepyfile(
        test_model="""
        import numpy as np
        import pytest

        @pytest.mark.accelerator("fake")
        def test_model(accel_model):
            model = accel_model("model.fake.json")
            model.check()
            assert model.predict(np.ones((1, 4), np.float32)).shape == (1, 3)
            assert model.placement().on_device == 1.0
        """
    )
    project.run(workers=True).assert_outcomes(passed=1)


@pytest.mark.usefixtures("device")
def test_a_variant_that_needs_more_than_the_device_has_is_absent(project: Project) -> None:
    project.write_test("cores=[4, 8]")
    result = project.run("-ra")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * fake-cores8 absent: it has 4 cores; ask for fewer"])
    project.run("--accel-strict", "-k", "cores8").assert_outcomes(errors=1)


@pytest.mark.usefixtures("device")
def test_more_than_the_device_has_cannot_be_asked_for_later_either(project: Project) -> None:
    project.pytester.makepyfile(
        test_model="""
        import pytest

        @pytest.mark.accelerator("fake")
        def test_model(accel_model):
            accel_model("model.fake.json", cores=8).check()
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*UsageError: fake-cores8 cannot run here: it has 4 cores; ask for fewer"])
