"""What the controller itself costs for each test, without measuring: beside as many tests that do nothing.

The fake accelerator runs in the process of the tests, in virtual time. Measuring, duets and what else workers do are
counted apart and taken off; looking up artefacts and baselines, evaluating, judging and reporting remain.

A millisecond of CPU time is not the same work at all times: while a neighbour on the same machine uses the other half
of the core, the same loop takes up to 1.8 times as long. So each test is followed by a short loop of which the work is
known, and costs are given at the speed of the fastest of these loops.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from pytest_accel.acceptance.rounds import Costs, Limit, Rounds
from pytest_accel.report.record import read_record
from pytest_accel.store.baselines import Baselines
from pytest_accel.testing import fake_model
from tests.benchmarks import child
from tests.benchmarks.rounds import in_turn, until_decided

pytestmark = pytest.mark.benchmark_suite

#: A gross defect shows in fewer tests, too.
TESTS, TESTS_IN_CI = 1000, 200
COST_LIMIT_MS = Limit.cost(5.0)
#: How much faster than the number of tests the cost may grow: 1 is linear, 2 is quadratic.
GROWTH_LIMIT = Limit.ratio(1.3)
LOOKS = (6,)

CONFTEST = """
import functools, gc, json, time
from pathlib import Path

from pytest_accel.testing import FAKE

measuring_s = 0.0
depth = 0
loops_s = []


def pytest_accel_accelerators():
    return {"fake": FAKE}


def set_apart(owner, name):
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def timed(*args, **params):
        global measuring_s, depth
        depth += 1
        began_s = time.process_time()
        try:
            return inner(*args, **params)
        finally:
            depth -= 1
            if depth == 0:
                measuring_s += time.process_time() - began_s

    setattr(owner, name, timed)


def pytest_configure():
    from pytest_accel.measuring import latency
    from pytest_accel.processes import process
    from pytest_accel.regression import pacemaker

    set_apart(process.InProcessWorker, "request")
    set_apart(latency.Steady, "measure")
    set_apart(pacemaker, "play")


def pytest_collection_finish():
    gc.freeze()  # a worker's heap is small: its garbage collection before a measurement does not look at our tests


def pytest_runtest_logfinish():
    began_s = time.process_time()
    for _ in range(10_000):
        pass
    loops_s.append(time.process_time() - began_s)


def pytest_unconfigure():
    Path("apart.json").write_text(json.dumps({"measuring_s": measuring_s, "loops_s": loops_s}))
"""

TESTS_OF_MODELS = """
import os, pytest

@pytest.mark.parametrize("model", [f"m{i}" for i in range(int(os.environ["TESTS"]))])
@pytest.mark.accelerator("fake", p50_ms=2000)
def test_model(accel_model, model):
    accel_model(f"models/{model}.fake.json").check()
"""

PLAIN_TESTS = """
import os, pytest

@pytest.mark.parametrize("model", [f"m{i}" for i in range(int(os.environ["TESTS"]))])
def test_nothing(model):
    pass
"""


class Apart(msgspec.Struct):
    """CPU seconds of a run that are not the controller's: of all measuring, and of the loop after each test."""

    measuring_s: float
    loops_s: list[float]


@dataclass
class Project:
    """A number of fake models, each with a baseline and in the compile cache."""

    folder: Path
    tests: int
    #: The fastest loop of all runs so far, which had its core for itself.
    full_speed_s: float = inf

    def run(self, file: str, tests: int, *args: str) -> float:
        """CPU seconds of one pytest run outside its measuring, at the core's full speed."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--accel-cache-dir=cache"]
        environ = {"TESTS": str(tests), **child.byte_code_in(self.folder)}
        ended = child.run([*command, file, *args], cwd=self.folder, environ=environ)
        assert f"{tests} passed" in ended.output, ended.output[-2000:]
        apart = msgspec.json.decode((self.folder / "apart.json").read_bytes(), type=Apart)
        self.full_speed_s = min(self.full_speed_s, *apart.loops_s)
        slowdown = fmean(apart.loops_s) / self.full_speed_s
        return (ended.cpu_s - apart.measuring_s - sum(apart.loops_s)) / slowdown

    def with_models(self, tests: int) -> float:
        return self.run("test_models.py", tests, "--accel-in-process", "-p", "no:benchmark")

    def plain(self) -> float:
        return self.run("test_plain.py", self.tests, "-p", "no:benchmark")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, in_ci: bool) -> Project:
    made = Project(tmp_path_factory.mktemp("controller"), TESTS_IN_CI if in_ci else TESTS)
    folder = made.folder
    for name, text in [("conftest", CONFTEST), ("test_models", TESTS_OF_MODELS), ("test_plain", PLAIN_TESTS)]:
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "models").mkdir()
    for number in range(made.tests):
        # A second a call is the slowest that is sensible: the fewest calls fit a duet's blocks.
        fake_model(folder / "models" / f"m{number}.fake.json", latency_ms=1000, weights_seed=number)
    made.run("test_models.py", 1, "--accel-save-baseline")
    baselines = Baselines(folder / "baselines")
    ((_, saved),) = baselines.iterate()
    made.run("test_models.py", made.tests, "--accel-in-process", "--accel-report=run.json")
    for record in read_record(folder / "run.json").tests:
        baselines.save(msgspec.structs.replace(saved, model=record.model, artefact=record.artefact))
    return made


@pytest.fixture(scope="module")
def rounds(project: Project) -> Rounds:
    """Costs of runs with a quarter, half and all of the tests, and of as many plain ones; both tests judge these."""
    numbers = {"quarter": project.tests // 4, "half": project.tests // 2, "all": project.tests}
    runs = {name: partial(project.with_models, tests) for name, tests in numbers.items()}
    return Rounds(in_turn({**runs, "plain": project.plain}))


def test_the_controller_spends_little_on_a_test(
    project: Project, rounds: Rounds, tell: Callable[[str], None], in_ci: bool
) -> None:
    def per_test_ms(costs: Costs) -> float:
        return 1e3 * (costs["all"] - costs["plain"]) / project.tests

    found = until_decided(rounds, per_test_ms, limit=COST_LIMIT_MS, looks=LOOKS, in_ci=in_ci)
    tell(
        f"controller: {found.estimate:.2f} ms [{found.lower:.2f}, {found.upper:.2f}] for each of {project.tests} tests "
        f"with baselines, beside {1e3 * found.typical('plain') / project.tests:.2f} ms for an empty test; "
        f"{found.judged}"
    )
    assert not found.beyond


def test_its_cost_grows_with_the_number_of_tests_and_no_faster(
    project: Project, rounds: Rounds, tell: Callable[[str], None], in_ci: bool
) -> None:
    def growth(costs: Costs) -> float:
        """The cost of a test in the second half of a run beside that of one in its second quarter."""
        return (costs["all"] - costs["half"]) / (2 * (costs["half"] - costs["quarter"]))

    found = until_decided(rounds, growth, limit=GROWTH_LIMIT, looks=LOOKS, in_ci=in_ci)
    tell(
        f"controller: a test in the second half of {project.tests} costs {found.estimate:.2f} "
        f"[{found.lower:.2f}, {found.upper:.2f}] times one in the second quarter; {found.judged}"
    )
    assert not found.beyond
