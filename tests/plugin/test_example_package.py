"""An accelerator that another package brings: found by its entry point, sent to the worker, held to the contract.

The package is ``tests/examples/pytest-accel-example``; authors of accelerators may start from a copy of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # pip installs the package

EXAMPLE = Path(__file__).parents[1] / "examples" / "pytest-accel-example"

TEST = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator("example", precision=["fp32", "fp64"])
    def test_model(accel_model):
        assert accel_model.session.registry.reference("example") == "pytest_accel_example.accelerator:Example"
        accel_model("model.dense.json").check(np.ones((20, 4), "float32"))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example; the environment of this run does not get it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("example")
    copy = shutil.copytree(EXAMPLE, folder / "source")  # builds leave files behind
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", f"--target={folder / 'site'}", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def project(pytester: pytest.Pytester, installed: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in whose environment the example is installed, but whose worker runs in another one."""
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=os.pathsep)
    python = pytester.path / "python"
    python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -P "$@"\n')
    python.chmod(0o755)
    pytester.makeini("[pytest]\naccel_python = example=python\naccel_cache_dir = cache")
    pytester.path.joinpath("model.dense.json").write_text(json.dumps({"weights": [[1, 0], [0, 1], [2, 0], [0, 2]]}))
    pytester.makepyfile(TEST)
    return pytester


def test_it_is_listed(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--accel-list")
    result.stdout.fnmatch_lines(["example * present  example device"])


def test_its_module_is_sent_to_the_worker(project: pytest.Pytester) -> None:
    missing = subprocess.run([project.path / "python", "-c", "import pytest_accel_example"], check=False, cwd="/")
    assert missing.returncode == 1, "the worker's interpreter must not have it of its own"
    result = project.runpytest_subprocess("--accelerator=example")
    result.assert_outcomes(passed=2)
    # A busy machine may leave a speed undecided, which the verdict of its row then is.
    result.stdout.fnmatch_lines(["no-baseline: No baseline for *model[[]example-fp32[]], model[[]example-fp64[]])"])


def test_its_own_tests_hold_it_to_the_contract(project: pytest.Pytester) -> None:
    shutil.copytree(EXAMPLE / "tests", project.path / "tests")
    result = project.runpytest_subprocess("tests", "-rs")
    assert result.ret == 0
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") >= 14
    assert outcomes == {"skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED * example has no profiler that tells them"])
