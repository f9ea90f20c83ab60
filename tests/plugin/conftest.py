"""A small project on the fake accelerator, for tests that run pytest inside pytest."""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

import pytest_accel
from pytest_accel.facts.records import TestRecord
from pytest_accel.processes.fork_server import ForkServer
from pytest_accel.testing import FAKE, fake_model
from pytest_accel.verdict.plausibility import others_were_busy
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.plugin import forked_tensorflow, forked_workers
from tests.plugin.forked_runs import ForkedRun, RunServer
from tests.plugin.forked_tensorflow import TensorFlowServers
from tests.plugin.forked_tensorflow import tensorflow_servers as tensorflow_servers

# A run in this process forgets at its end what it was the first to import: the next one would import it again.
for module in pkgutil.walk_packages(pytest_accel.__path__, "pytest_accel."):
    importlib.import_module(module.name)

ONE_TEST = """
    import pytest

    @pytest.mark.accelerator("fake"{marker})
    def test_model(accel_model):
        accel_model("model.fake.json").check({check})
"""


def kinds_of_verdict(record: TestRecord) -> set[str]:
    """The kinds of the record's verdicts, but for a speed that the suite's own other processes left undecided.

    With ``-n 2`` a neighbour may compile or train on the cores that a stand-in computes on.
    """
    busy = record.measurement is not None and others_were_busy(record.measurement)
    undecided = ("measurement", "inconclusive")
    return {each.kind for each in record.verdicts if not (busy and (each.question, each.kind) == undecided)}


class Project:
    """A project in pytester's folder. `write_model` changes its model, `run` runs its tests.

    ``run_server`` gives what forks the runs in processes of their own, and starts it for the first of them. Without it
    these start as users start them.
    """

    def __init__(
        self,
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
        run_server: Callable[[], RunServer] | None = None,
    ) -> None:
        self.monkeypatch = monkeypatch
        self.pytester = pytester
        self._run_server = run_server
        self.baselines = pytester.path / "baselines"
        self.locks = pytester.path / "cache" / "locks"
        # A run inside a test of xdist's is no run of xdist's; pytest-benchmark would switch itself off.
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        # And in CI it must not tell of itself in the job's own summary.
        monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
        # Importing Hypothesis is a quarter of the start of a pytest that needs none.
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
        pytester.makeconftest(f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}")
        self.write_model()

    def write_model(self, **script: Any) -> Path:
        """Give the model another script; the same one is the same model."""
        return fake_model(self.pytester.path / "model.fake.json", **script)

    def write_test(self, marker: str = "", check: str = "") -> None:
        """One test: ``marker`` is added to the marker's keywords, ``check`` is what `check` is called with."""
        self.pytester.makepyfile(test_model=ONE_TEST.format(marker=f", {marker}" if marker else "", check=check))

    def run(self, *args: str, workers: bool = False, subprocess: bool = False) -> pytest.RunResult:
        """Run pytest with a cache and locks of this project's own.

        Only with ``workers`` are models run in processes of their own; without, a speed is never judged. With
        ``subprocess`` pytest is forked, which is a second of imports cheaper than starting it.
        """
        run: Callable[..., pytest.RunResult] = self.pytester.runpytest_inprocess
        if subprocess:
            run = self._run_forked if self._run_server is not None else self.pytester.runpytest_subprocess
        where = [] if workers else ["--accel-in-process"]
        own = [f"--accel-cache-dir={self.pytester.path / 'cache'}", "-o", f"accel_lock_dir={self.locks}"]
        return run(*own, *where, *args)

    def start(self, *args: str, streams: tuple[TextIO, TextIO] | None = None) -> ForkedRun:
        """Fork ``python -m pytest`` with these arguments and no others."""
        assert self._run_server is not None
        folder = self.pytester.path
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        return self._run_server().run(args, folder, {**os.environ, "PYTHONPATH": path}, streams=streams)

    def _run_forked(self, *args: str) -> pytest.RunResult:
        """Fork pytest as `pytest.Pytester.runpytest_subprocess` would start it."""
        folder, began_s = self.pytester.path, time.monotonic()
        paths = folder / "stdout", folder / "stderr"
        with paths[0].open("w") as out, paths[1].open("w") as err:
            status = self.start(f"--basetemp={folder / 'basetemp'}", *args, streams=(out, err)).wait()
        printed, errors = (path.read_text(encoding="utf-8").splitlines() for path in paths)
        print(*printed, *errors, sep="\n")
        return pytest.RunResult(status, printed, errors, time.monotonic() - began_s)

    def on_other_hardware(self) -> None:
        """From now on the fake device is another one."""
        script = json.dumps({"identity_facts": {"model": "Fake 2000", "cores": 8}})
        self.monkeypatch.setenv(ENVIRONMENT_VARIABLE, script)

    def empty_cache(self) -> None:
        """Forget everything that was compiled."""
        shutil.rmtree(self.pytester.path / "cache")

    def baseline(self) -> Path:
        """The only baseline there is."""
        (file,) = self.baselines.rglob("*.json")
        return file


class Template:
    """Folders that runs of pytest have written, each made once; a test gets a copy of its own.

    Saving a baseline takes ten processes, and what they save is the same for every test that starts from it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def copy_to(self, project: Project, name: str, *runs: tuple[str, ...]) -> None:
        """Bring the project to where ``runs`` in processes of their own, each with these arguments, lead it."""
        made = self._folder / name
        if not made.exists():
            for args in runs:
                result = project.run(*args, workers=True)
                assert result.ret == 0, result.stdout.str()
            shutil.copytree(project.pytester.path, made)
        shutil.copytree(made, project.pytester.path, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    yield from forked_workers.fork_server(tmp_path_factory.mktemp("forks"))


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer) -> None:
    """Workers that start in no time, and baselines with as few launches as a comparison needs, without noise."""
    monkeypatch.setattr("pytest_accel.processes.process.Worker", forked_workers.forked_by(fork_server))
    monkeypatch.setattr("pytest_accel.regression.pacemaker.SAVED_LAUNCHES", 2)


@pytest.fixture
def quick_tensorflow(
    monkeypatch: pytest.MonkeyPatch, quick_workers: None, tensorflow_servers: TensorFlowServers
) -> None:
    monkeypatch.setattr("pytest_accel.processes.process.Worker", forked_tensorflow.forked_by(tensorflow_servers.here))


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let speeds be judged beside the suite's own other processes, which scatter calls and disturb launches."""
    monkeypatch.setattr("pytest_accel.machine.conditions.ForeignLoad.cores", lambda _: 0.0)
    for limit in ("MAX_RATE_SPREAD", "MAX_RATE_RATIO"):
        monkeypatch.setattr(f"pytest_accel.verdict.plausibility.{limit}", math.inf)
    monkeypatch.setattr("pytest_accel.regression.duet.DISTURBED_CORES", math.inf)


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Iterator[RunServer]:
    server = RunServer(tmp_path_factory.mktemp("runs"), fork_server, os.environ)
    yield server
    server.close()


@pytest.fixture
def project(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    quick_workers: None,
    request: pytest.FixtureRequest,
) -> Project:
    return Project(pytester, monkeypatch, lambda: request.getfixturevalue("run_server"))
