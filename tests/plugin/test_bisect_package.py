"""``pytest-accel bisect --package``: the version of a package, made for this test, that is to blame."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_accel.commands.main import main
from pytest_accel.testing import FAKE, fake_model
from tests.plugin.test_bisect import WITHOUT
from tests.unit.bisect.wheels import PACKAGE, VERSIONS, offer

#: RUNTIME is an accelerator whose speed and compiler are those of the package beside it.
RUNTIME = f"""
from importlib.metadata import version

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.fake import FakeAccelerator

class Runtime(FakeAccelerator):
    name = "runtime"

    def versions(self):
        return {{"{PACKAGE}": version("{PACKAGE}")}}

    def compile_job(self, job):
        import {PACKAGE}
        if getattr({PACKAGE}, "REFUSES", False):
            raise Refused("quickmath has no such kernel")
        super().compile_job(job)

    def _latency_ns(self, call):
        import {PACKAGE}
        return super()._latency_ns(call) * getattr({PACKAGE}, "FACTOR", 1.0)
"""
CONFTEST = f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}, 'runtime': 'runtime:Runtime'}}\n"
ONE_TEST = """
import pytest

@pytest.mark.accelerator("runtime", max_regression=0.1)
def test_model(accel_model):
    accel_model("model.fake.json").check()
"""
SPAN = f"--package={PACKAGE}=={VERSIONS[0]}..{VERSIONS[-1]}"
TEST = "test_model.py::test_model"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on the runtime. There is no repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in (("runtime.py", RUNTIME), ("conftest.py", CONFTEST), ("test_model.py", ONE_TEST)):
        (folder / name).write_text(text, encoding="utf-8")
    fake_model(folder / "model.fake.json")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{WITHOUT} -o accel_lock_dir={tmp_path / 'locks'}")
    return folder


def run(tmp_path: Path, *words: str) -> int:
    return main(["bisect", f"--cache-dir={tmp_path / 'cache'}", *words, "--", TEST])


@pytest.mark.slow
def test_the_slower_version_of_ten_is_found(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(tmp_path / "wheels", monkeypatch, dict.fromkeys(VERSIONS[6:], "FACTOR = 1.3\n"))
    assert run(tmp_path, SPAN, f"--envs={tmp_path / 'envs'}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(rf"bad        {PACKAGE} 1\.10\.0  ×1\.300 \[.*\]  \(BAD; \d+ s; 5 to go\)$", lines[0])
    assert re.match(rf"good       {PACKAGE} 1\.1\.0  ×1\.000 .* \(GOOD beside itself; \d+ s; 4 to go\)$", lines[1])
    assert re.match(rf"first regressed: {PACKAGE} 1\.7\.0 \(95 % confidence over [456] decisions\)$", lines[-3])
    assert re.match(rf"  there   {PACKAGE} 1\.7\.0  ×1\.300 ", lines[-2])
    assert re.match(rf"  before  {PACKAGE} 1\.6\.0  ×1\.000 ", lines[-1])
    assert len(list((tmp_path / "envs").glob("*/bin/python"))) == len(lines) - 3 + 1, "and one of the opponent"


@pytest.mark.slow
def test_a_version_whose_compiler_refuses_is_found_and_one_that_cannot_be_imported_is_passed_over(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {"1.9.0": "raise ImportError('needs another driver')\n", "1.10.0": "REFUSES = True\n"}
    offer(tmp_path / "wheels", monkeypatch, sources)
    assert run(tmp_path, f"--package={PACKAGE}==1.8.0..1.10.0") == 1
    out = capsys.readouterr().out
    assert re.search(rf"^undecided  {PACKAGE} 1\.9\.0  .*needs another driver", out, re.MULTILINE)
    assert "first refused by the compiler: one of these; all but the last could not be decided" in out
    assert "quickmath has no such kernel" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--package=quickmath",), "write it so: --package="),
        (("--with-deps", "HEAD~1", "HEAD"), "--with-deps and --envs are about the environments of --package"),
        ((SPAN, "--step", "HEAD"), "--step is about commits, so leave --package out"),
        ((SPAN, "HEAD~1"), "call it so: pytest-accel bisect --package=NAME==GOOD..BAD -- tests/test_x.py::test_y"),
    ],
)
def test_calls_that_cannot_be_right(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run(tmp_path, *words) == 2
    assert message in capsys.readouterr().err
